//! `ipqext-host new`: makes the crate of a new extension from the template.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod name;
mod template;

use name::{BadName, Name};
use template::{File, Sdk};

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The extension's name: lower-case letters, digits and hyphens, as icmp-drop.
    name: String,

    /// The directory in which a directory of that name is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// The directory guest-sdk of a checkout of ipqext [default: that of the checkout
    /// from which this program was built].
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Why there is no new crate. Nothing of it was left behind.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name will not do.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The crate needs the SDK, which is not published.
    #[error(
        "the SDK is not at {}: {why}; give the directory guest-sdk of a checkout of ipqext \
         with --sdk",
        dir.display()
    )]
    NoSdk {
        /// Where it was looked for.
        dir: PathBuf,
        /// What is wrong there.
        why: String,
    },
    /// Something is there already.
    #[error("{} exists already; choose another name or --dir", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// There is no place for it.
    #[error("cannot make {}: {source}", path.display())]
    Unwritable {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Makes the crate, and gives the text that says how to build, test and add it.
///
/// # Errors
/// The name will not do, the place is taken, or there is no SDK.
pub(super) fn new(new: New) -> Result<String, NewError> {
    let name = Name::new(&new.name)?;
    let sdk = Sdk::find(new.sdk.as_deref())?;
    let path = match new.dir.to_str() {
        Some(".") => PathBuf::from(name.as_str()),
        _ => new.dir.join(name.as_str()),
    };
    if path.symlink_metadata().is_ok() {
        return Err(NewError::Exists { path });
    }
    let unwritable = |source| NewError::Unwritable {
        path: path.clone(),
        source,
    };
    let dir = new.dir.canonicalize().map_err(unwritable)?;
    let is_member = sdk.has_members_in(&dir);
    let files = if is_member {
        template::member(&name)
    } else {
        template::crate_of_its_own(&name, &sdk)
    };
    let half_made = dir.join(format!(".{name}.{}", std::process::id()));
    make(&half_made, &path, &files).map_err(unwritable)?;
    Ok(next_steps(&name, &path, is_member))
}

/// Writes the files beside their place, and moves them there in one step.
fn make(half_made: &Path, path: &Path, files: &[File]) -> io::Result<()> {
    fs::create_dir(half_made)?;
    let written = write(half_made, files).and_then(|()| fs::rename(half_made, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(half_made);
    }
    written
}

fn write(dir: &Path, files: &[File]) -> io::Result<()> {
    let mut files = files.iter();
    files.try_for_each(|file| {
        let path = dir.join(file.path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, &file.content)
    })
}

fn next_steps(name: &Name, path: &Path, is_member: bool) -> String {
    let target = match std::env::var("CARGO_TARGET_DIR") {
        Ok(target) if !target.is_empty() => target,
        _ if is_member => "../../target".to_owned(),
        _ => "target".to_owned(),
    };
    let built = format!("{target}/wasm32-wasip1/release/{}.wasm", name.file_stem());
    format!(
        "{} is made. Build it:\n\
         \x20   cd {} && cargo build --release --target wasm32-wasip1\n\
         Run the cases in cases/ against what was built, and a capture through it:\n\
         \x20   ipqext-host test\n\
         \x20   ipqext-host replay CAPTURE --ext {built}\n\
         Add it to a daemon that runs with --ext-dir DIR:\n\
         \x20   cp {built} DIR && ipqext add {name}\n",
        path.display(),
        quoted(&path.to_string_lossy()),
        built = quoted(&built),
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            File::new("src/lib.rs", ""),
            File::new("src/lib.rs/is/no/directory", ""),
        ];
        let half_made = dir.path().join("half");
        let path = dir.path().join("whole");
        assert!(make(&half_made, &path, &files).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn words_are_quoted_for_the_shell_if_need_be() {
        assert_eq!(quoted("../a-b/c_1.wasm"), "../a-b/c_1.wasm");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted("$HOME"), "'$HOME'");
    }
}
