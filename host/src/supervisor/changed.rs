//! A file of the ext-dir that has changed under an added extension.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Supervisor;
use super::extension::Extension;
use crate::event::{CommandError, Event, Notice, Rejected, Swap, Took};
use crate::registry::canonical;

/// A changed file that cannot be taken at the moment is looked at again after so long.
const LOOKS_AGAIN: Duration = Duration::from_secs(5);

impl Supervisor {
    /// A file of the ext-dir has changed: the extension of its name is swapped, unless the
    /// file has what was considered already.
    pub(super) fn file_changed(&mut self, file: &Path) {
        let name = file.file_stem().and_then(|stem| stem.to_str());
        let Some(place) = name.and_then(|name| self.place_of(&canonical(name)).ok()) else {
            return;
        };
        let name = self.extensions[place].name().to_owned();
        let found = match self.find(&name, None) {
            Ok(found) => found,
            Err(error) => return self.not_read(place, file, &error),
        };
        let extension = &mut self.extensions[place];
        let now = (found.file.clone(), found.hash);
        if extension.considered.as_ref() == Some(&now) {
            return;
        }
        if extension.version.compiled.hash == found.hash {
            extension.considered = Some(now);
            return;
        }
        if let Err(error) = self.check_untried(place) {
            // It is looked at again when the trial has ended.
            let extension = &mut self.extensions[place];
            tracing::warn!(extension = name, error = %error, "a changed file is not taken yet");
            extension.is_file_due = true;
            extension.reject(found.file, error.to_string());
            return;
        }
        let (how, mut took) = (Swap::default(), Took::default());
        let swapped = self.take_file(place, found, &how, &mut took);
        let is_passing = swapped.as_ref().is_err_and(CommandError::is_passing);
        // Why not is in the log, and in the list.
        let _ = self.swapped(place, Some(file.to_owned()), swapped);
        if is_passing {
            self.extensions[place].considered = None;
            self.look_again(file.to_owned());
        }
    }

    /// Has a file looked at again after a moment.
    fn look_again(&self, file: PathBuf) {
        let events = self.events.clone();
        let remind = move || {
            std::thread::sleep(LOOKS_AGAIN);
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::Notice(Notice::FileChanged(file)));
        };
        let reminder = std::thread::Builder::new().name("ipqext-reminder".to_owned());
        if let Err(error) = reminder.spawn(remind) {
            tracing::warn!(error = %error, "a changed file waits for its next change");
        }
    }

    /// Tells of a changed file that cannot be read. One that is gone changes nothing.
    fn not_read(&mut self, place: usize, file: &Path, error: &CommandError) {
        let is_gone = match error {
            CommandError::Unreadable { source, .. } => source.kind() == ErrorKind::NotFound,
            error => matches!(error, CommandError::Unknown { .. }),
        };
        let reason = error.to_string();
        let extension = &mut self.extensions[place];
        let is_told = |rejected: &Rejected| rejected.hash.is_none() && rejected.reason == reason;
        if is_gone || extension.rejected.as_ref().is_some_and(is_told) {
            return;
        }
        tracing::error!(
            extension = extension.name(),
            file = %file.display(),
            error = %error,
            "a changed file is not taken"
        );
        extension.reject(file.to_owned(), reason);
    }
}

impl Extension {
    /// Notes why a version does not run.
    pub(super) fn reject(&mut self, file: PathBuf, reason: String) {
        let considered = self.considered.as_ref();
        let considered = considered.filter(|(of, _)| *of == file);
        self.rejected = Some(Rejected {
            at: SystemTime::now(),
            hash: considered.map(|(_, hash)| hash.to_string()),
            file,
            reason,
        });
    }
}
