//! Whether a failing extension is still asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::policy::Quarantine;

/// How an extension on one worker stands after what it did.
#[derive(Debug, Default)]
pub(super) struct Standing {
    condition: Condition,
    /// When it failed last, the latest last; as many as would be too many.
    failed: VecDeque<Instant>,
    /// How long the last quarantine was, and when it ended.
    last: Option<(Duration, Instant)>,
}

/// Whether it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is.
    #[default]
    Sound,
    /// It failed, and what takes its place is not there yet.
    Awaited,
    /// It failed too often: it is not asked before that time.
    Quarantined(Instant),
}

impl Standing {
    pub(super) fn condition(&self) -> Condition {
        self.condition
    }

    pub(super) fn is_sound(&self) -> bool {
        self.condition == Condition::Sound
    }

    pub(super) fn is_quarantined(&self) -> bool {
        matches!(self.condition, Condition::Quarantined(_))
    }

    /// It failed. Whether that is once too often.
    pub(super) fn fails(&mut self, rule: Option<Quarantine>, now: Instant) -> bool {
        if self.is_quarantined() {
            return false;
        }
        self.condition = Condition::Awaited;
        let Some(rule) = rule else {
            self.failed.clear();
            return false;
        };
        let most = rule.faults as usize;
        while self.failed.len() >= most {
            self.failed.pop_front();
        }
        self.failed.push_back(now);
        let first = self.failed.front().copied().unwrap_or(now);
        self.failed.len() == most && now.saturating_duration_since(first) <= rule.window
    }

    /// It is not asked for some time, which is told: twice the last one, if it failed
    /// again as soon as it was tried.
    pub(super) fn quarantine(&mut self, rule: Quarantine, now: Instant) -> Duration {
        let again = self
            .last
            .filter(|(_, ended)| now.saturating_duration_since(*ended) <= rule.window);
        let time = again.map_or(rule.retry, |(last, _)| (last * 2).min(rule.retry_max));
        let until = now + time;
        self.condition = Condition::Quarantined(until);
        self.last = Some((time, until));
        self.failed.clear();
        time
    }

    /// It cannot be asked as it is.
    pub(super) fn breaks(&mut self) {
        if self.is_sound() {
            self.condition = Condition::Awaited;
        }
    }

    /// It can be asked, unless it is quarantined.
    pub(super) fn mends(&mut self) {
        if self.condition == Condition::Awaited {
            self.condition = Condition::Sound;
        }
    }

    /// What takes its place is there.
    pub(super) fn recovers(&mut self, now: Instant) {
        if let (Condition::Quarantined(_), Some((_, ended))) = (self.condition, &mut self.last) {
            *ended = now;
        }
        self.condition = Condition::Sound;
    }

    /// All is forgotten.
    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Quarantine = Quarantine {
        faults: 3,
        window: Duration::from_secs(10),
        retry: Duration::from_secs(1),
        retry_max: Duration::from_secs(3),
    };

    #[test]
    fn only_faults_within_the_window_count() {
        let mut standing = Standing::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (second, too_many) in [(0, false), (6, false), (12, false), (15, true)] {
            assert_eq!(standing.fails(Some(RULE), at(second)), too_many, "{second}");
            assert_eq!(standing.condition(), Condition::Awaited);
        }
        for second in 0..100 {
            assert!(!standing.fails(None, at(second)), "it is off");
        }
    }

    #[test]
    fn who_fails_again_at_once_waits_longer_and_longer() {
        let mut standing = Standing::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 3, 3] {
            let time = standing.quarantine(RULE, now);
            assert_eq!(time, Duration::from_secs(seconds));
            assert_eq!(standing.condition(), Condition::Quarantined(now + time));
            now += time;
            standing.recovers(now);
            assert!(standing.is_sound());
        }
        now += Duration::from_secs(11);
        assert_eq!(standing.quarantine(RULE, now), RULE.retry, "it did well");
    }
}
