//! Starts the program that is to take this daemon's place.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::supervisor::Successor;

/// What has a daemon take another one's place, among the options of `ipqext-host run`.
const UPGRADE: &str = "--upgrade";

/// Starts it with the arguments of this process: the same program, or another one.
pub(super) fn starter(own: Option<Vec<OsString>>) -> Box<Successor> {
    Box::new(move |program| match &own {
        Some(own) => start(program, own),
        None => Err(io::Error::other("this daemon is part of another program")),
    })
}

fn start(program: Option<&Path>, own: &[OsString]) -> io::Result<Child> {
    let program = match program {
        Some(program) => program.to_owned(),
        None => own_program(env::current_exe()?),
    };
    Command::new(program)
        .args(arguments(own))
        .stdin(Stdio::null())
        // They are this process's own.
        .env_remove("WATCHDOG_PID")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .spawn()
}

fn arguments(own: &[OsString]) -> Vec<OsString> {
    let others = own.iter().filter(|argument| *argument != UPGRADE);
    let mut arguments: Vec<_> = others.cloned().collect();
    arguments.push(UPGRADE.into());
    arguments
}

/// Where the program was started from: what is there now, where another one has taken the
/// name (proc(5), /proc/PID/exe).
fn own_program(exe: PathBuf) -> PathBuf {
    const DELETED: &[u8] = b" (deleted)";
    match exe.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) if !exe.exists() => OsStr::from_bytes(name).to_owned().into(),
        Some(_) | None => exe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_by_its_name() {
        let path = |name: &str| own_program(PathBuf::from(name));
        assert_eq!(
            path("/nowhere/ipqext-host"),
            Path::new("/nowhere/ipqext-host")
        );
        let replaced = path("/nowhere/ipqext-host (deleted)");
        assert_eq!(replaced, Path::new("/nowhere/ipqext-host"));
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("x (deleted)");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(own_program(odd.clone()), odd);
    }

    #[test]
    fn it_is_told_once_to_upgrade() {
        for own in [&["run", "-e", "x"][..], &["run", "--upgrade", "-e", "x"]] {
            let own: Vec<_> = own.iter().map(OsString::from).collect();
            assert_eq!(arguments(&own), ["run", "-e", "x", "--upgrade"]);
        }
    }
}
