//! Hears from inotify(7) that something happens in directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::{Config, INotifyWatcher, RecursiveMode, Watcher};

use super::{LOOK_AGAIN, Word};

/// Listens at directories.
pub(super) struct Ear {
    /// None where the system does not give one.
    inotify: Option<INotifyWatcher>,
    /// Which directories, as their device and inode: another may come to have the path.
    dirs: BTreeMap<PathBuf, (u64, u64)>,
    /// Where it was told that there is nothing to be heard.
    deaf_at: BTreeSet<PathBuf>,
}

impl Ear {
    /// One that says what it hears there.
    pub(super) fn new(words: Sender<Word>) -> Self {
        let inotify = INotifyWatcher::new(
            move |heard: notify::Result<notify::Event>| {
                let event = heard.unwrap_or_else(|error| {
                    tracing::debug!(error = %error, "inotify failed");
                    notify::Event::default().set_flag(notify::event::Flag::Rescan)
                });
                // The watcher has ended, and this ends with it.
                let _ = words.send(Word::Heard(event));
            },
            Config::default(),
        );
        if let Err(error) = &inotify {
            tracing::warn!(
                error = %error,
                "changed files are seen up to {} s late: there is no inotify instance; sysctl \
                 fs.inotify.max_user_instances allows more",
                LOOK_AGAIN.as_secs()
            );
        }
        Self {
            inotify: inotify.ok(),
            dirs: BTreeMap::new(),
            deaf_at: BTreeSet::new(),
        }
    }

    /// Whether it listens at this directory.
    pub(super) fn hears(&self, dir: &Path) -> bool {
        self.dirs.contains_key(dir)
    }

    /// Listens at these directories, and nowhere else.
    pub(super) fn listen_at(&mut self, dirs: BTreeSet<PathBuf>) {
        let Some(inotify) = &mut self.inotify else {
            return;
        };
        let wanted: BTreeMap<PathBuf, (u64, u64)> = dirs
            .into_iter()
            .filter_map(|dir| {
                let metadata = fs::metadata(&dir).ok()?;
                Some((dir, (metadata.dev(), metadata.ino())))
            })
            .collect();
        self.deaf_at.retain(|dir| wanted.contains_key(dir));
        self.dirs.retain(|dir, known| {
            let stays = wanted.get(dir) == Some(known);
            if !stays {
                // The kernel takes it away by itself with the directory.
                let _ = inotify.unwatch(dir);
            }
            stays
        });
        for (dir, identity) in wanted {
            if self.dirs.contains_key(&dir) {
                continue;
            }
            match inotify.watch(&dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.deaf_at.remove(&dir);
                    self.dirs.insert(dir, identity);
                }
                Err(error) => {
                    if self.deaf_at.insert(dir.clone()) {
                        tracing::warn!(
                            dir = %dir.display(),
                            error = %error,
                            "changes there are seen up to {} s late; sysctl \
                             fs.inotify.max_user_watches allows more watches",
                            LOOK_AGAIN.as_secs()
                        );
                    }
                }
            }
        }
    }
}
