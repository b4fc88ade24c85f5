//! Verdicts that the `nfq` crate cannot give: with new bytes that are not copied once
//! more, and to another queue without the packet being lost where nobody serves it.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use nix::sys::socket::{MsgFlags, send};

use crate::packet::Settlement;

/// Subsystem of NFQUEUE and its verdict message, in the two bytes of a netlink type
/// (`NFNL_SUBSYS_QUEUE`, `NFQNL_MSG_VERDICT` in `<linux/netfilter/nfnetlink_queue.h>`).
const MESSAGE_TYPE: u16 = (3 << 8) | 1;
/// `NLM_F_REQUEST` of `<linux/netlink.h>`.
const REQUEST: u16 = 1;
/// `NFQA_VERDICT_HDR`, `NFQA_MARK` and `NFQA_PAYLOAD`.
const VERDICT_HEADER: u16 = 2;
const MARK: u16 = 3;
const PAYLOAD: u16 = 10;
/// The verdict `NF_QUEUE`, and the flag beside it that has the packet go on if nobody
/// serves the queue (`NF_VERDICT_FLAG_QUEUE_BYPASS`, `<linux/netfilter.h>`).
const QUEUE: u32 = 3;
const QUEUE_BYPASS: u32 = 0x8000;

/// Writes verdict messages to the socket of a queue. Its memory is used again.
#[derive(Debug)]
pub(super) struct VerdictWriter {
    queue: u16,
    /// The socket, which the crate keeps open as long as the queue lives.
    socket: RawFd,
    message: Vec<u8>,
}

impl VerdictWriter {
    /// For a queue and the descriptor of its netlink socket.
    pub(super) fn new(queue: u16, socket: RawFd) -> Self {
        Self {
            queue,
            socket,
            message: Vec::new(),
        }
    }

    /// Gives a verdict, with the new mark and the new bytes if there are any.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub(super) fn send(
        &mut self,
        id: u32,
        settlement: Settlement,
        mark: Option<u32>,
        payload: Option<&[u8]>,
    ) -> io::Result<()> {
        self.encode(id, settlement, mark, payload);
        // SAFETY: the queue, and with it the descriptor, lives as long as its source,
        // of which this is a part.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket) };
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        send(fd, &self.message, MsgFlags::empty())?;
        Ok(())
    }

    /// `struct nlmsghdr`, `struct nfgenmsg`, then attributes.
    fn encode(
        &mut self,
        id: u32,
        settlement: Settlement,
        mark: Option<u32>,
        payload: Option<&[u8]>,
    ) {
        let message = &mut self.message;
        message.clear();
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&MESSAGE_TYPE.to_ne_bytes());
        message.extend_from_slice(&REQUEST.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        // No family, version 0, and the queue's number in network order.
        message.extend_from_slice(&[0; 2]);
        message.extend_from_slice(&self.queue.to_be_bytes());
        let mut header = [0; 8];
        header[..4].copy_from_slice(&number(settlement).to_be_bytes());
        header[4..].copy_from_slice(&id.to_be_bytes());
        attribute(message, VERDICT_HEADER, &header);
        if let Some(mark) = mark {
            attribute(message, MARK, &mark.to_be_bytes());
        }
        if let Some(payload) = payload {
            attribute(message, PAYLOAD, payload);
        }
        let length = (message.len() as u32).to_ne_bytes();
        message[..4].copy_from_slice(&length);
    }
}

/// Appends an attribute, and the padding behind it.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The verdict as the kernel numbers it (`<linux/netfilter.h>`).
fn number(settlement: Settlement) -> u32 {
    match settlement {
        Settlement::Drop => 0,
        Settlement::Accept => 1,
        Settlement::Queue(queue) => u32::from(queue) << 16 | QUEUE_BYPASS | QUEUE,
        Settlement::Repeat => 4,
        Settlement::Stop => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_lengths_and_its_attributes_in_place() {
        let mut writer = VerdictWriter::new(0x0102, -1);
        writer.encode(7, Settlement::Queue(5), Some(0xaabbccdd), Some(b"12345"));
        let message = &writer.message;
        let length = u32::from_ne_bytes(message[..4].try_into().unwrap());
        assert_eq!(length as usize, message.len());
        assert_eq!(message.len(), 16 + 4 + 12 + 8 + 12);
        assert_eq!(message[18..20], [1, 2], "the queue's number");
        assert_eq!(message[24..32], [0, 5, 0x80, 3, 0, 0, 0, 7]);
        assert_eq!(message[36..40], [0xaa, 0xbb, 0xcc, 0xdd]);
        assert_eq!(message[40..42], 9u16.to_ne_bytes());
        assert_eq!(message[44..], *b"12345\0\0\0");
        // A verdict alone.
        writer.encode(7, Settlement::Stop, None, None);
        assert_eq!(writer.message.len(), 32);
        assert_eq!(writer.message[24..28], [0, 0, 0, 5]);
    }
}
