//! Where the control socket is when nobody says.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The socket's name in its directory.
const NAME: &str = "control.sock";

/// The directories that may hold the socket, the preferred one first.
fn directories() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let own = runtime.map(|dir| Path::new(&dir).join("ipqext"));
    let shared = PathBuf::from("/run/ipqext");
    let temporary = PathBuf::from(format!("/tmp/ipqext-{}", nix::unistd::geteuid()));
    own.into_iter().chain([shared, temporary]).collect()
}

/// The first place where a daemon of this user can make its socket; the directory
/// is made if need be.
///
/// # Errors
/// There is none: the text names all that were tried, and why not.
pub fn to_create() -> Result<PathBuf, String> {
    let mut refusals = Vec::new();
    for directory in directories() {
        match usable(&directory) {
            Ok(()) => return Ok(directory.join(NAME)),
            Err(error) => refusals.push(format!("{}: {error}", directory.display())),
        }
    }
    Err(refusals.join("; "))
}

/// The places where a daemon's socket may be, the preferred one first: those whose
/// directory belongs to this user or to root. Whoever owns the directory is who
/// answers.
pub fn to_connect() -> Vec<PathBuf> {
    let trusted = |directory: &PathBuf| match std::fs::symlink_metadata(directory) {
        Ok(metadata) => [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid()),
        Err(_) => true,
    };
    let directories = directories().into_iter().filter(trusted);
    directories.map(|directory| directory.join(NAME)).collect()
}

/// Makes sure that the directory is there, is ours, and that nobody else can put
/// a socket into it.
fn usable(directory: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o750).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = std::fs::symlink_metadata(directory)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write to it"));
    }
    Ok(())
}
