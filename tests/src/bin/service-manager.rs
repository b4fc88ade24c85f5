//! `service-manager NOTIFY_SOCKET LOG COMMAND...`: what systemd does with a service of
//! `Type=notify` that has a descriptor store, for tests where there is none. It runs the
//! command, hears what that says on the socket, keeps the descriptors that come with
//! `FDSTORE=1`, and when the process is killed starts the command again with them. It ends
//! when the main process ends by itself, with its exit code, and closes what it kept.
//!
//! What happens is written to the log, a line each: `started PID`, `heard STATE` with commas
//! for ends of lines, `stored NAME`, `removed NAME`, `killed`, `ended CODE`.

use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Where descriptors stand meanwhile: beyond all others.
const HIGH: RawFd = 200;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, log, command @ ..] = &arguments[..] else {
        anyhow::bail!("usage: service-manager NOTIFY_SOCKET LOG COMMAND...");
    };
    // The main process may become one that another process started: then it is ours.
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let listening = UnixDatagram::bind(socket)?;
    listening.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut manager = Manager {
        listening,
        socket: socket.clone(),
        log: File::create(log)?,
        kept: Vec::new(),
        main: 0,
    };
    manager.start(command)?;
    loop {
        manager.hear()?;
        if let Some(code) = manager.look(command)? {
            std::process::exit(code);
        }
    }
}

struct Manager {
    listening: UnixDatagram,
    socket: String,
    log: File,
    kept: Vec<(String, OwnedFd)>,
    main: i32,
}

impl Manager {
    fn note(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self.log.write_all(format!("{line}\n").as_bytes())?)
    }

    fn start(&mut self, command: &[String]) -> anyhow::Result<()> {
        let names: Vec<&str> = self.kept.iter().map(|(name, _)| &**name).collect();
        let descriptors: Vec<RawFd> = self.kept.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        // Only the process itself knows its number.
        let mut shell = Command::new("sh");
        shell.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]);
        shell.args(command);
        shell.env("NOTIFY_SOCKET", &self.socket);
        if !descriptors.is_empty() {
            shell.env("LISTEN_FDS", descriptors.len().to_string());
            shell.env("LISTEN_FDNAMES", names.join(":"));
        }
        // SAFETY: only system calls are made, none of which allocates.
        unsafe {
            shell.pre_exec(move || {
                for (at, descriptor) in descriptors.iter().enumerate() {
                    libc::dup2(*descriptor, HIGH + at as RawFd);
                }
                for at in 0..descriptors.len() as RawFd {
                    libc::dup2(HIGH + at, 3 + at);
                    libc::close(HIGH + at);
                }
                Ok(())
            });
        }
        let child: Child = shell.spawn().context("the command")?;
        self.main = child.id() as i32;
        self.note(&format!("started {}", self.main))
    }

    /// Hears one message, if there is one.
    fn hear(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 4096];
        let mut room = nix::cmsg_space!([RawFd; 16]);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let fd = self.listening.as_raw_fd();
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(fd, &mut into, Some(&mut room), flags) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut came = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = control {
                for descriptor in descriptors {
                    // SAFETY: it has just come, and nobody else has it.
                    came.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
                }
            }
        }
        let length = message.bytes;
        let state = String::from_utf8_lossy(&bytes[..length]).into_owned();
        self.note(&format!("heard {}", state.replace('\n', ",")))?;
        let value = |name: &str| {
            let mut lines = state.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        if let Some(pid) = value("MAINPID").and_then(|pid| pid.parse().ok()) {
            self.main = pid;
        }
        let name = value("FDNAME").unwrap_or("stored").to_owned();
        if value("FDSTORE") == Some("1") {
            for descriptor in came {
                if !self.has(&descriptor)? {
                    self.kept.push((name.clone(), descriptor));
                    self.note(&format!("stored {name}"))?;
                }
            }
        } else if value("FDSTOREREMOVE") == Some("1") {
            self.kept.retain(|(known, _)| *known != name);
            self.note(&format!("removed {name}"))?;
        }
        // What came with BARRIER=1 is closed here.
        Ok(())
    }

    /// Whether it is a descriptor of a socket that is kept already.
    fn has(&self, descriptor: &OwnedFd) -> anyhow::Result<bool> {
        let number =
            |fd: &OwnedFd| Ok::<_, std::io::Error>(File::from(fd.try_clone()?).metadata()?.ino());
        let number_of = number(descriptor)?;
        for (_, kept) in &self.kept {
            if number(kept)? == number_of {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks after the main process. Gives its exit code if it ended by itself.
    fn look(&mut self, command: &[String]) -> anyhow::Result<Option<i32>> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == Pid::from_raw(self.main) => {
                    self.note(&format!("ended {code}"))?;
                    return Ok(Some(code));
                }
                Ok(WaitStatus::Signaled(pid, ..)) if pid == Pid::from_raw(self.main) => {
                    self.note("killed")?;
                    self.start(command)?;
                }
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
