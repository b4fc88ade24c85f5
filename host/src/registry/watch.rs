//! Sees which files of the ext-dir change, however they do: written over, renamed or linked
//! into their place, or by a symbolic link on the way that leads elsewhere.
//!
//! inotify(7) only says that it is time to look; what has changed is told by what the files
//! look like (`file.rs`). So nothing depends on which events a way to change a file causes,
//! and what caused none is found some seconds later: changes made by another machine in a
//! network file system, or through another name of the same file.
//!
//! A file is told of once it has rested (`changes.rs`): for a short time if nobody has it open
//! for writing and it is all there, and longer if its end is missing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::Registry;
use crate::event::{Event, Events, Notice};

mod changes;
mod ear;
mod file;
mod trail;

use changes::Changes;
use ear::Ear;
use file::Look;
use trail::trail;

/// When it looks though nobody said that there is something to see.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// For how long words of changes gather before it looks.
const GATHER: Duration = Duration::from_millis(20);
/// How long a file rests that is all there.
const REST: Duration = Duration::from_millis(200);
/// How long one rests the end of which is missing.
const REST_OF_PART: Duration = Duration::from_secs(2);
/// How long one rests that somebody has open who wrote to it.
const REST_OF_OPEN: Duration = Duration::from_secs(30);

/// What the watcher hears.
enum Word {
    /// Something happened in a directory.
    Heard(notify::Event),
    /// It is to end.
    End,
}

/// Watches the files of an ext-dir.
pub struct FileWatcher {
    registry: Registry,
    words: Receiver<Word>,
    /// To end it.
    end: Sender<Word>,
    ear: Ear,
    changes: Changes,
    /// Real paths the change of which changes a file: the files and links on the way to them.
    names: BTreeSet<PathBuf>,
    /// The ext-dir's real path.
    dir: PathBuf,
    /// Real paths of files that were written to and not closed since.
    open: BTreeSet<PathBuf>,
    is_gone: bool,
}

/// A watcher at work; it ends with this value.
pub struct Watching(Sender<Word>);

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.send(Word::End);
    }
}

impl FileWatcher {
    /// Takes the files as they are now: what changes from here on is told.
    pub fn subscribe(registry: &Registry) -> Self {
        let (end, words) = mpsc::channel();
        let mut watcher = Self {
            registry: registry.clone(),
            words,
            ear: Ear::new(end.clone()),
            end,
            changes: Changes::default(),
            names: BTreeSet::new(),
            dir: PathBuf::new(),
            open: BTreeSet::new(),
            is_gone: false,
        };
        if let Some(files) = watcher.look() {
            watcher.changes.begin(files);
        }
        watcher
    }

    /// Sends an event for each file that has changed, in a thread of its own.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn watch(mut self, events: Events) -> io::Result<Watching> {
        let watching = Watching(self.end.clone());
        thread::Builder::new()
            .name("ipqext-watcher".to_owned())
            .spawn(move || self.run(&events))?;
        Ok(watching)
    }

    fn run(&mut self, events: &Events) {
        let mut next = Instant::now() + LOOK_AGAIN;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            match self.words.recv_timeout(wait) {
                Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
                // What is due must not wait for an end of what does not concern it.
                Ok(Word::Heard(event)) if !self.heed(&event) && !wait.is_zero() => continue,
                Ok(Word::Heard(_)) => {
                    thread::sleep(GATHER);
                    while let Ok(word) = self.words.try_recv() {
                        match word {
                            Word::Heard(event) => self.heed(&event),
                            Word::End => return,
                        };
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(files) = self.look() {
                self.changes.see(files, Instant::now());
            }
            let (changed, due) = self
                .changes
                .due(Instant::now(), |file, look| rest_of(file, look, &self.open));
            for file in changed {
                if events
                    .send(Event::Notice(Notice::FileChanged(file)))
                    .is_err()
                {
                    return;
                }
            }
            let regular = Instant::now() + LOOK_AGAIN;
            next = due.map_or(regular, |due| due.min(regular));
        }
    }

    /// Takes note of what happened; false if it is nothing to it.
    fn heed(&mut self, event: &notify::Event) -> bool {
        use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
        if event.need_rescan() {
            // Words were lost, perhaps that of a file that was closed.
            self.open.clear();
            return true;
        }
        let is_closed = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            // Reading changes nothing.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => false,
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                return event.paths.iter().any(|path| self.concerns(path));
            }
            // Another file has the name now, or none.
            _ => true,
        };
        let mut concerns = false;
        for path in &event.paths {
            if !self.concerns(path) {
                continue;
            }
            concerns = true;
            match is_closed {
                true => self.open.remove(path),
                false => self.open.insert(path.clone()),
            };
        }
        concerns
    }

    fn concerns(&self, path: &Path) -> bool {
        path.parent() == Some(&self.dir) || self.names.contains(path) || self.ear.hears(path)
    }

    /// Looks at all files, and listens where they can change; none if they cannot be seen.
    fn look(&mut self) -> Option<Vec<(PathBuf, Look)>> {
        let mut names = BTreeSet::new();
        let mut dirs = BTreeSet::new();
        let mut way = |path: &Path| {
            let mut trail = trail(path);
            let end = trail.pop();
            dirs.extend(
                trail
                    .iter()
                    .filter_map(|link| Some(link.parent()?.to_owned())),
            );
            names.extend(trail);
            end.unwrap_or_else(|| path.to_owned())
        };
        let dir = way(self.registry.dir());
        let listed = self.registry.files().map(|files| {
            let files = files.into_iter().filter_map(|(_, file)| {
                let end = way(&file);
                let look = Look::at(&file, &end)?;
                Some((file, look))
            });
            files.collect::<Vec<_>>()
        });
        dirs.insert(dir.clone());
        for (_, look) in listed.iter().flatten() {
            dirs.extend(look.end.parent().map(Path::to_owned));
            names.insert(look.end.clone());
        }
        self.ear.listen_at(dirs);
        (self.names, self.dir) = (names, dir);
        match listed {
            Ok(files) => {
                if std::mem::take(&mut self.is_gone) {
                    tracing::info!(dir = %self.registry.dir().display(), "the ext-dir is there again");
                }
                self.open.retain(|path| self.names.contains(path));
                Some(files)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_gone, true) {
                    tracing::warn!(
                        error = %error,
                        "the ext-dir cannot be read: extensions run on as they are, and it is \
                         looked at again every {} s",
                        LOOK_AGAIN.as_secs()
                    );
                }
                None
            }
        }
    }
}

/// How long a file has to rest that is as it is now.
fn rest_of(file: &Path, look: &Look, open: &BTreeSet<PathBuf>) -> Duration {
    if open.contains(&look.end) {
        return REST_OF_OPEN;
    }
    match file::is_whole(file) {
        Ok(true) => REST,
        // One that cannot be read yet, too.
        Ok(false) | Err(_) => REST_OF_PART,
    }
}

#[cfg(test)]
mod tests;
