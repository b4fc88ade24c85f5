//! The network devices of the daemon's namespace, and word of their changes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::event::{Event, Events};
use crate::packet::Link;

/// The multicast group of rtnetlink(7) that tells of devices.
const RTMGRP_LINK: u32 = 1;

/// All devices, by index.
///
/// # Errors
/// The kernel does not list them (getifaddrs(3)).
pub fn snapshot() -> io::Result<Vec<Link>> {
    let mut links: Vec<Link> = nix::ifaddrs::getifaddrs()?
        .filter_map(|interface| {
            let address = interface.address?;
            let link = address.as_link_addr()?;
            Some(Link {
                index: link.ifindex() as u32,
                name: interface.interface_name,
                hardware_type: link.hatype(),
            })
        })
        .collect();
    links.sort_by_key(|link| link.index);
    links.dedup();
    Ok(links)
}

/// Hears of changed devices.
pub struct LinkWatcher {
    socket: AsyncFd<OwnedFd>,
}

impl LinkWatcher {
    /// Subscribes. Changes after this call are heard.
    ///
    /// # Errors
    /// The kernel refuses the socket.
    pub fn subscribe() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK))?;
        // SAFETY: the descriptor is owned by the `AsyncFd`, and nothing closes or
        // replaces it while it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Sends an event with all devices whenever any of them changes, for ever.
    ///
    /// # Errors
    /// The socket or the list fails.
    pub async fn watch(self, events: Events) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            // What a message says is not read: the list is taken anew, and so
            // neither a lost message nor a full buffer matters.
            let mut message = [0; 8192];
            loop {
                match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
                    Ok(_) | Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EINTR) => {}
                    Err(nix::errno::Errno::EAGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if events.send(Event::Links(snapshot()?)).is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_listed() {
        const ARPHRD_LOOPBACK: u16 = 772;
        let links = snapshot().unwrap();
        let loopback = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(loopback.hardware_type, ARPHRD_LOOPBACK);
        assert_ne!(loopback.index, 0);
    }
}
