//! The ext-dir: which extensions it has, by name.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::event::CommandError;

mod watch;

pub use watch::{FileWatcher, Watching};

/// The longest `.wasm` that is read, in bytes. Interpreters for scripting
/// languages come to some 20 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A directory of `.wasm` files.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// Takes a directory.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub fn open(dir: &Path) -> Result<Self, CommandError> {
        let registry = Self {
            dir: dir.to_owned(),
        };
        registry.files().map(|_| registry.clone())
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The one file that is the extension of this name.
    ///
    /// # Errors
    /// There is none, there are two, or the directory cannot be read.
    pub fn find(&self, name: &str) -> Result<PathBuf, CommandError> {
        let files = self.files()?;
        let mut of_name = files.iter().filter(|(known, _)| known == name);
        match (of_name.next(), of_name.next()) {
            (Some((_, file)), None) => Ok(file.clone()),
            (Some((_, one)), Some((_, other))) => Err(CommandError::Ambiguous {
                name: name.to_owned(),
                files: [one.clone(), other.clone()],
            }),
            (None, _) => {
                let mut known: Vec<String> = files.into_iter().map(|(known, _)| known).collect();
                known.dedup();
                Err(CommandError::Unknown {
                    name: name.to_owned(),
                    dir: self.dir.clone(),
                    known,
                })
            }
        }
    }

    /// All `.wasm` files with the names of their extensions, sorted.
    fn files(&self) -> Result<Vec<(String, PathBuf)>, CommandError> {
        let unreadable = |source| CommandError::Unreadable {
            path: self.dir.clone(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                files.extend(stem.map(|stem| (canonical(stem), path.clone())));
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The extension's name by its file's: `ipqext_icmp_drop` is `icmp-drop`. What
/// operators type is read with the same eyes.
pub fn canonical(name: &str) -> String {
    let name = name.replace('_', "-");
    match name.strip_prefix("ipqext-") {
        Some(rest) => rest.to_owned(),
        None => name,
    }
}

/// Reads a file of an extension, once: a second read may see another.
///
/// # Errors
/// It cannot be read, is no regular file, or is absurdly long.
pub fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    read_bounded(file).map_err(|source| CommandError::Unreadable {
        path: file.to_owned(),
        source,
    })
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for its other end.
    let metadata = fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    if metadata.len() <= FILE_BYTES_MAX {
        // It may have grown since.
        File::open(file)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
    }
    let length = metadata.len().max(bytes.len() as u64);
    if length > FILE_BYTES_MAX {
        let text = format!(
            "it has {length} bytes, and {} MiB are the most that is read; \
             build it with --release, and strip it of debug information",
            FILE_BYTES_MAX >> 20
        );
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_file_names_are_one_extension() {
        for name in [
            "icmp-drop",
            "icmp_drop",
            "ipqext-icmp-drop",
            "ipqext_icmp_drop",
        ] {
            let dir = dir_with(&[name, "count"]);
            let registry = Registry::open(dir.path()).unwrap();
            let file = registry.find("icmp-drop").unwrap();
            assert_eq!(file, dir.path().join(format!("{name}.wasm")));
        }
    }

    #[test]
    fn two_files_of_one_name_are_both_named() {
        let dir = dir_with(&["icmp-drop", "icmp_drop"]);
        let error = Registry::open(dir.path()).unwrap().find("icmp-drop");
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("icmp-drop.wasm") && text.contains("icmp_drop.wasm"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_name_is_told_what_is_there() {
        let dir = dir_with(&["count", "ipqext_icmp_drop"]);
        let error = Registry::open(dir.path()).unwrap().find("../count");
        let text = error.unwrap_err().to_string();
        assert!(text.ends_with("there are count, icmp-drop"), "{text}");
    }

    #[test]
    fn a_directory_is_no_file_to_read() {
        let dir = dir_with(&[]);

        assert!(read(dir.path()).is_err());
        assert!(Registry::open(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_unread() {
        let dir = dir_with(&["long"]);
        let registry = Registry::open(dir.path()).unwrap();
        let long = registry.find("long").unwrap();
        // Nothing of it stands on the disk.
        let sized = |length| File::create(&long).unwrap().set_len(length).unwrap();
        sized(200 << 20);

        let error = read(&long).unwrap_err();
        let text = match error {
            CommandError::Unreadable { source, .. } => source.to_string(),
            other => panic!("{other}"),
        };
        assert!(text.contains("209715200 bytes"), "{text}");
        sized(FILE_BYTES_MAX + 1);
        assert!(read(&long).is_err());
        sized(FILE_BYTES_MAX);
        assert!(read(&long).is_ok());
    }

    fn dir_with(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(format!("{name}.wasm")), b"").unwrap();
        }
        dir
    }
}
