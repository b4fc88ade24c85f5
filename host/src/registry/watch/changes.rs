//! Which files have changed and then rested for long enough to be told of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::REST;
use super::file::Look;

/// What is known of files.
#[derive(Debug, Default)]
pub(super) struct Changes {
    files: BTreeMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    look: Look,
    /// When it was last seen to change, until that is told.
    changed: Option<Instant>,
}

impl Changes {
    /// Takes files for known as they are.
    pub(super) fn begin(&mut self, files: Vec<(PathBuf, Look)>) {
        let known = files.into_iter().map(|(file, look)| {
            let changed = None;
            (file, Known { look, changed })
        });
        self.files = known.collect();
    }

    /// Takes note of how all files are now. What is gone is forgotten: should it come
    /// back, it has changed.
    pub(super) fn see(&mut self, files: Vec<(PathBuf, Look)>, now: Instant) {
        let mut before = std::mem::take(&mut self.files);
        for (file, look) in files {
            let known = match before.remove(&file) {
                Some(known) if known.look == look => known,
                _ => Known {
                    look,
                    changed: Some(now),
                },
            };
            self.files.insert(file, known);
        }
    }

    /// Those that have rested for as long as `rest` says, and when to ask again for others. It is
    /// not asked about those that have not even rested for the shortest time.
    pub(super) fn due(
        &mut self,
        now: Instant,
        rest: impl Fn(&Path, &Look) -> Duration,
    ) -> (Vec<PathBuf>, Option<Instant>) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (file, known) in &mut self.files {
            let Some(changed) = known.changed else {
                continue;
            };
            let mut at = changed + REST;
            if at <= now {
                at = changed + rest(file, &known.look);
            }
            if at <= now {
                known.changed = None;
                due.push(file.clone());
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, u64)]) -> Vec<(PathBuf, Look)> {
        let files = files.iter();
        let looks = files.map(|(name, length)| (name.into(), Look::of_length(*length)));
        looks.collect()
    }

    /// Tells what is due at this millisecond, and after how many more to ask again.
    fn due(changes: &mut Changes, began: Instant, at: u64, rest: u64) -> (Vec<PathBuf>, u64) {
        let now = began + Duration::from_millis(at);
        let (due, next) = changes.due(now, |_, _| Duration::from_millis(rest));
        let more = next.map_or(0, |next| (next - now).as_millis() as u64);
        (due, more)
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_change_is_told_once_after_a_rest() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut changes = Changes::default();
        changes.begin(files(&[("a", 1), ("b", 1)]));
        assert_eq!(due(&mut changes, began, 0, 200), (paths(&[]), 0));
        changes.see(files(&[("a", 2), ("b", 1)]), at(100));
        assert_eq!(due(&mut changes, began, 100, 200), (paths(&[]), 200));
        changes.see(files(&[("a", 2), ("b", 1)]), at(299));
        assert_eq!(due(&mut changes, began, 299, 200), (paths(&[]), 1));
        assert_eq!(due(&mut changes, began, 300, 200), (paths(&["a"]), 0));
        assert_eq!(due(&mut changes, began, 900, 200), (paths(&[]), 0));
    }

    #[test]
    fn each_further_change_begins_the_rest_anew() {
        let began = Instant::now();
        let mut changes = Changes::default();
        changes.begin(files(&[("a", 0)]));
        for piece in 1..=50 {
            let now = began + Duration::from_millis(piece * 100);
            changes.see(files(&[("a", piece)]), now);
            assert_eq!(due(&mut changes, began, piece * 100, 2000).0, paths(&[]));
        }
        assert_eq!(due(&mut changes, began, 6000, 2000), (paths(&[]), 1000));
        assert_eq!(due(&mut changes, began, 7000, 2000), (paths(&["a"]), 0));
    }

    #[test]
    fn one_that_comes_to_its_end_need_not_rest_so_long() {
        let began = Instant::now();
        let mut changes = Changes::default();
        changes.begin(files(&[("a", 0)]));
        changes.see(files(&[("a", 1)]), began);
        assert_eq!(due(&mut changes, began, 500, 30_000), (paths(&[]), 29_500));
        assert_eq!(due(&mut changes, began, 600, 200), (paths(&["a"]), 0));
    }

    #[test]
    fn one_that_is_gone_is_forgotten_and_told_when_it_is_back() {
        let began = Instant::now();
        let mut changes = Changes::default();
        changes.begin(files(&[("a", 1)]));
        changes.see(files(&[]), began);
        assert_eq!(due(&mut changes, began, 1000, 200), (paths(&[]), 0));
        changes.see(files(&[("a", 1), ("new", 1)]), began);
        let told = due(&mut changes, began, 1000, 200);
        assert_eq!(told, (paths(&["a", "new"]), 0));
    }
}
