//! Instances that trapped, as files for a debugger of WebAssembly: memories, globals and the
//! stack of functions (WebAssembly tool conventions, `Coredump.md`).

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::guest::Guest;

/// How many are written of one extension. Each may be as large as its memory.
const DUMPS_MAX: u32 = 16;

/// A directory for core dumps.
pub(super) struct CoreDumps {
    dir: PathBuf,
    /// By extension: how many there are.
    written: HashMap<String, u32>,
    has_complained: bool,
}

impl CoreDumps {
    /// Takes a directory; it is made, for this user only, if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or nothing can be written to it.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        access(dir, AccessFlags::W_OK | AccessFlags::X_OK)?;
        Ok(Self {
            // The daemon's own may change.
            dir: fs::canonicalize(dir)?,
            written: HashMap::new(),
            has_complained: false,
        })
    }

    /// Writes a dead instance of an extension, if it trapped and there are not many yet.
    pub(super) fn write(&mut self, extension: &str, dead: &mut Guest) {
        if !dead.has_core() {
            return;
        }
        let count = self.written.entry(extension.to_owned()).or_default();
        if *count >= DUMPS_MAX {
            return;
        }
        *count += 1;
        let name = format!("{extension}-{}-{count}.coredump", std::process::id());
        let path = self.dir.join(name);
        let is_last = *count == DUMPS_MAX;
        // What it reads is thrown away afterwards.
        let core = catch_unwind(AssertUnwindSafe(|| dead.take_core(extension)));
        let written = match core {
            Ok(Some(core)) => write_new(&path, &core),
            Ok(None) => return,
            Err(_) => Err(io::Error::other("a bug in what makes it")),
        };
        match written {
            Ok(()) => {
                let file = path.display();
                tracing::info!(extension, file = %file, is_last, "core dump written");
            }
            Err(error) if !self.has_complained => {
                self.has_complained = true;
                let file = path.display();
                tracing::error!(extension, file = %file, error = %error, "cannot write a core dump");
            }
            Err(_) => {}
        }
    }
}

/// Writes a file that only this user may read, whole or not at all. What an extension had in
/// its memory are other people's packets.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file.write_all(bytes);
    if written.is_err() {
        // The first error is what is told.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_made_for_this_user_only_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        CoreDumps::open(&inner).map(|_| ()).unwrap();
        let mode = fs::metadata(&inner).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(CoreDumps::open(&file).is_err());
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"one").unwrap();
        let error = write_new(&path, b"two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
