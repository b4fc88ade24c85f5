//! Whose rule it is.

use std::fmt;
use std::fs;
use std::ops::RangeInclusive;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::queues;

/// The comment of each rule begins so.
const MARK: &str = "ipqext queue=";

/// A process that installed rules for itself, told apart from later ones of the same
/// number by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    /// In clock ticks since the system started (proc(5), /proc/PID/stat, field 22).
    started: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// Another process that runs.
    pub fn of(pid: u32) -> Self {
        Self {
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    /// A process that never was.
    #[cfg(test)]
    pub(super) fn of_nobody() -> Self {
        Self { pid: 0, started: 0 }
    }

    /// Whether the process still runs.
    pub fn lives(self) -> bool {
        match started(self.pid) {
            Some(started) => started == self.started,
            // Those of other users may be hidden (proc(5), hidepid). One of that number may be
            // another process; its rules stay all the same.
            None => is_hidden(self.pid),
        }
    }
}

/// Whether there is such a process, and it cannot be seen.
fn is_hidden(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err_and(|errno| errno == Errno::EPERM))
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, in parentheses, is a name that may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The comment of a rule of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// The queue, or the first and the last of several.
    pub(super) queue: String,
    /// The daemon that installed it for itself; none if an operator did.
    pub(super) owner: Option<Owner>,
}

impl Comment {
    /// Reads a comment; `None` if the rule is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MARK)?;
        let (queue, run) = match rest.split_once(" run=") {
            Some((queue, run)) => (queue, Some(run)),
            None => (rest, None),
        };
        let owner = match run {
            Some(run) => {
                let (pid, started) = run.split_once(':')?;
                let (pid, started) = (pid.parse().ok()?, started.parse().ok()?);
                Some(Owner { pid, started })
            }
            None => None,
        };
        Some(Self {
            queue: queue.to_owned(),
            owner,
        })
    }

    /// The queues that it is for.
    pub(super) fn queues(&self) -> Option<RangeInclusive<u16>> {
        queues::parse(&self.queue).ok()
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}", self.queue)?;
        match self.owner {
            Some(Owner { pid, started }) => write!(f, " run={pid}:{started}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_and_an_earlier_one_of_its_number_does_not() {
        let this = Owner::this();
        assert!(this.lives());
        let before = Owner {
            started: this.started - 1,
            ..this
        };
        assert!(!before.lives());
        assert!(!Owner::of_nobody().lives());
    }

    #[test]
    fn a_comment_is_read_as_it_was_written_and_others_are_not_ours() {
        for owner in [None, Some(Owner::this())] {
            let queue = "4:7".to_owned();
            let comment = Comment { queue, owner };
            assert_eq!(Comment::parse(&comment.to_string()), Some(comment.clone()));
            assert_eq!(comment.queues(), Some(4..=7));
        }
        for other in ["", "ipqext", "my ipqext queue=0", "ipqext queue=0 run=x"] {
            assert_eq!(Comment::parse(other), None, "{other:?}");
        }
    }
}
