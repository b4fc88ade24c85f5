//! The network devices of the daemon's namespace, and word of their changes, over
//! rtnetlink(7).

use std::io;

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkHeader, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};

use crate::event::{Event, Events, Notice};
use crate::packet::Link;

/// The multicast group that tells of devices.
const RTNLGRP_LINK: u32 = 1;
/// The message that describes a device (`<linux/rtnetlink.h>`).
const RTM_NEWLINK: u16 = 16;
/// The attribute with its name (`<linux/if_link.h>`).
const IFLA_IFNAME: u16 = 3;
/// The length of `struct ifinfomsg`, which stands before the attributes.
const IFINFOMSG_BYTES: usize = 16;

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
        let message = NetlinkBuffer::new_checked(bytes).map_err(garbled)?;
        match message.message_type() {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let error = ErrorBuffer::new_checked(message.payload()).map_err(garbled)?;
                let code = error.code().map_or(0, |code| code.get());
                return Err(io::Error::from_raw_os_error(code.abs()));
            }
            RTM_NEWLINK => links.extend(device(message.payload())?),
            _ => {}
        }
        // Messages are aligned to four bytes (NLMSG_ALIGN).
        let length = (message.length() as usize).next_multiple_of(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(true)
}

/// Reads what we want of a device and nothing else: some driver's attribute that the
/// library does not understand must not hide the device.
fn device(payload: &[u8]) -> io::Result<Option<Link>> {
    let header = LinkHeader::parse(payload).map_err(garbled)?;
    let attributes = payload.get(IFINFOMSG_BYTES..).unwrap_or_default();
    let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
    let name = attributes.find(|attribute| attribute.kind() == IFLA_IFNAME);
    Ok(name.map(|name| {
        let name = name.value().split(|byte| *byte == 0).next();
        Link {
            index: header.index,
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            hardware_type: header.link_layer_type.into(),
        }
    }))
}

fn garbled(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
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
            if events
                .send(Event::Notice(Notice::Links(snapshot()?)))
                .is_err()
            {
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
    #[test]
    fn an_attribute_that_nobody_understands_does_not_hide_the_device() {
        let mut message = vec![0; 16];
        // struct ifinfomsg: family, padding, type 65534 (ARPHRD_NONE), index 7.
        message.extend([0, 0]);
        message.extend(65534_u16.to_ne_bytes());
        message.extend(7_u32.to_ne_bytes());
        message.extend([0; 8]);
        // IFLA_MTU (4) of one byte instead of four, padded.
        message.extend([5_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat());
        message.extend([1, 0, 0, 0]);
        message.extend([9_u16.to_ne_bytes(), IFLA_IFNAME.to_ne_bytes()].concat());
        message.extend(*b"tun0\0\0\0\0");
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        assert!(NetlinkMessage::<RouteNetlinkMessage>::deserialize(&message).is_err());

        let mut links = Vec::new();
        assert!(read_dump(&message, &mut links).unwrap());
        let tunnel = Link {
            index: 7,
            name: "tun0".to_owned(),
            hardware_type: 65534,
        };
        assert_eq!(links, [tunnel]);
    }

    #[test]
    fn damaged_messages_are_errors() {
        for length in 1..64 {
            let mut links = Vec::new();
            assert!(read_dump(&vec![0xff; length], &mut links).is_err());
            assert!(read_dump(&vec![0; length], &mut links).is_err());
        }
    }
}
