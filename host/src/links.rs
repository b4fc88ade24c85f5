//! The network devices of the daemon's namespace, and word of their changes, over
//! rtnetlink(7).

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};

use crate::event::{Event, Events};
use crate::packet::Link;

/// The multicast group that tells of devices.
const RTNLGRP_LINK: u32 = 1;

/// All devices, by index.
///
/// # Errors
/// The kernel does not list them.
pub fn snapshot() -> io::Result<Vec<Link>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&dump_request(), 0)?;
    let mut links = Vec::new();
    while read_dump(&socket.recv_from_full()?.0, &mut links)? {}
    links.sort_by_key(|link: &Link| link.index);
    links.dedup();
    Ok(links)
}

fn dump_request() -> Vec<u8> {
    let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), question.into());
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes the devices from one datagram of a dump; false after the last.
fn read_dump(mut bytes: &[u8], links: &mut Vec<Link>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        // Messages are aligned to four bytes (NLMSG_ALIGN).
        let length = (message.header.length as usize).next_multiple_of(4);
        bytes = bytes.get(length.max(4)..).unwrap_or_default();
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(false),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                links.extend(device(link));
            }
            _ => {}
        }
    }
    Ok(true)
}

fn device(message: LinkMessage) -> Option<Link> {
    let name = message
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
    Some(Link {
        index: message.header.index,
        name: name?,
        hardware_type: message.header.link_layer_type.into(),
    })
}

/// Hears of changed devices.
pub struct LinkWatcher {
    socket: TokioSocket,
}

impl LinkWatcher {
    /// Subscribes. Changes after this call are heard. Must be called in the context
    /// of a tokio runtime.
    ///
    /// # Errors
    /// The kernel refuses the socket.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(RTNLGRP_LINK)?;
        Ok(Self { socket })
    }

    /// Sends an event with all devices whenever any of them changes, for ever.
    ///
    /// # Errors
    /// The socket or the list fails.
    pub async fn watch(self, events: Events) -> io::Result<()> {
        loop {
            // What a message says is not read: the list is taken anew, and so a lost
            // message does not matter, nor a full buffer.
            match self.socket.recv_from_full().await {
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => {
                    return Err(error);
                }
                _ => {}
            }
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
