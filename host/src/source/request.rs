//! Requests to the kernel's NFQUEUE, as they stand on a netlink socket
//! (`<linux/netlink.h>`, `<linux/netfilter/nfnetlink_queue.h>`; the kernel's side is
//! `net/netfilter/nfnetlink_queue.c`).

use nix::libc;

use crate::packet::Settlement;

/// The verdict `NF_QUEUE`, and the flag beside it that has the packet go on if nobody
/// serves the queue (`NF_VERDICT_FLAG_QUEUE_BYPASS`, `<linux/netfilter.h>`).
const QUEUE: u32 = 3;
const QUEUE_BYPASS: u32 = 0x8000;

/// Requests for one queue, one behind the other, to go in one system call. The memory is
/// used again.
#[derive(Debug)]
pub(super) struct Requests {
    queue: u16,
    bytes: Vec<u8>,
    /// Where the request at hand begins.
    began: usize,
}

/// How a queue is to be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    /// How many bytes of each packet the kernel copies.
    pub(super) copy_range: u32,
    /// Whether it hands over packets that it has yet to segment.
    pub(super) gso: bool,
    /// Whether it accepts what the queue has no room for.
    pub(super) fail_open: bool,
    /// How many packets may wait.
    pub(super) max_length: u32,
}

impl Requests {
    /// No request yet.
    pub(super) fn new(queue: u16) -> Self {
        Self {
            queue,
            bytes: Vec::new(),
            began: 0,
        }
    }

    /// All requests, as they are sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets them, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Binds the queue, and sets it up in the same step: in between it would drop
    /// everything. The kernel answers with this sequence number.
    pub(super) fn bind(&mut self, configuration: Configuration, sequence: u32) {
        self.begin(
            libc::NFQNL_MSG_CONFIG,
            libc::NLM_F_REQUEST | libc::NLM_F_ACK,
            sequence,
        );
        // struct nfqnl_msg_config_cmd: command, padding, family.
        self.attribute(
            libc::NFQA_CFG_CMD,
            &[libc::NFQNL_CFG_CMD_BIND as u8, 0, 0, 0],
        );
        self.configuration(configuration);
        self.end();
    }

    /// Sets up a queue that is bound. The kernel answers with this sequence number.
    pub(super) fn configure(&mut self, configuration: Configuration, sequence: u32) {
        self.begin(
            libc::NFQNL_MSG_CONFIG,
            libc::NLM_F_REQUEST | libc::NLM_F_ACK,
            sequence,
        );
        self.configuration(configuration);
        self.end();
    }

    fn configuration(&mut self, configuration: Configuration) {
        // struct nfqnl_msg_config_params, packed. The kernel takes a range of 0 for all.
        let mut params = [0; 5];
        params[..4].copy_from_slice(&configuration.copy_range.max(1).to_be_bytes());
        params[4] = libc::NFQNL_COPY_PACKET as u8;
        self.attribute(libc::NFQA_CFG_PARAMS, &params);
        self.attribute(
            libc::NFQA_CFG_QUEUE_MAXLEN,
            &configuration.max_length.to_be_bytes(),
        );
        let all = (libc::NFQA_CFG_F_FAIL_OPEN | libc::NFQA_CFG_F_GSO) as u32;
        let mut flags = 0;
        if configuration.fail_open {
            flags |= libc::NFQA_CFG_F_FAIL_OPEN as u32;
        }
        if configuration.gso {
            flags |= libc::NFQA_CFG_F_GSO as u32;
        }
        self.attribute(libc::NFQA_CFG_FLAGS, &flags.to_be_bytes());
        self.attribute(libc::NFQA_CFG_MASK, &all.to_be_bytes());
    }

    /// Gives one packet its verdict, with the new mark and the new bytes if there are any.
    pub(super) fn verdict(
        &mut self,
        id: u32,
        settlement: Settlement,
        mark: Option<u32>,
        payload: Option<&[u8]>,
    ) {
        self.begin(libc::NFQNL_MSG_VERDICT, libc::NLM_F_REQUEST, 0);
        self.verdict_header(number(settlement), id);
        if let Some(mark) = mark {
            self.attribute(libc::NFQA_MARK, &mark.to_be_bytes());
        }
        if let Some(payload) = payload {
            self.attribute(libc::NFQA_PAYLOAD, payload);
        }
        self.end();
    }

    /// Accepts all packets that wait for a verdict, up to this one.
    pub(super) fn accept_up_to(&mut self, id: u32) {
        self.settle_up_to(id, Settlement::Accept, 0);
    }

    /// Gives one verdict to all packets that wait for one, up to this one. Where there are
    /// none the kernel says so, with this sequence number.
    pub(super) fn settle_up_to(&mut self, id: u32, settlement: Settlement, sequence: u32) {
        self.begin(libc::NFQNL_MSG_VERDICT_BATCH, libc::NLM_F_REQUEST, sequence);
        self.verdict_header(number(settlement), id);
        self.end();
    }

    /// `struct nfqnl_msg_verdict_hdr`
    fn verdict_header(&mut self, verdict: u32, id: u32) {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&verdict.to_be_bytes());
        header[4..].copy_from_slice(&id.to_be_bytes());
        self.attribute(libc::NFQA_VERDICT_HDR, &header);
    }

    /// `struct nlmsghdr`, whose length comes at the end, and `struct nfgenmsg`: no family,
    /// version 0, and the queue's number in network order.
    fn begin(&mut self, kind: i32, flags: i32, sequence: u32) {
        self.began = self.bytes.len();
        let [low, high] = self.queue.to_be_bytes();
        let kind = (libc::NFNL_SUBSYS_QUEUE << 8 | kind) as u16;
        let mut header = [0; 20];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
        header[18..].copy_from_slice(&[low, high]);
        self.bytes.extend_from_slice(&header);
    }

    /// Appends an attribute, and the padding behind it.
    fn attribute(&mut self, kind: i32, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind as u16).to_ne_bytes());
        self.bytes.extend_from_slice(value);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    fn end(&mut self) {
        let length = (self.bytes.len() - self.began) as u32;
        self.bytes[self.began..][..4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The verdict as the kernel numbers it (`<linux/netfilter.h>`).
fn number(settlement: Settlement) -> u32 {
    match settlement {
        Settlement::Drop => 0,
        Settlement::Accept => 1,
        Settlement::Queue(queue) => u32::from(queue) << 16 | QUEUE_BYPASS | QUEUE,
        Settlement::Repeat | Settlement::AcceptFlow | Settlement::DropFlow => 4,
        Settlement::Stop => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_its_lengths_and_its_attributes_in_place() {
        let mut requests = Requests::new(0x0102);
        requests.verdict(7, Settlement::Queue(5), Some(0xaabbccdd), Some(b"12345"));
        let message = requests.bytes();
        let length = u32::from_ne_bytes(message[..4].try_into().unwrap());
        assert_eq!(length as usize, message.len());
        assert_eq!(message.len(), 16 + 4 + 12 + 8 + 12);
        assert_eq!(message[18..20], [1, 2], "the queue's number");
        assert_eq!(message[24..32], [0, 5, 0x80, 3, 0, 0, 0, 7]);
        assert_eq!(message[36..40], [0xaa, 0xbb, 0xcc, 0xdd]);
        assert_eq!(message[40..42], 9u16.to_ne_bytes());
        assert_eq!(message[44..], *b"12345\0\0\0");
        // A verdict alone.
        requests.clear();
        requests.verdict(7, Settlement::Stop, None, None);
        assert_eq!(requests.bytes().len(), 32);
        assert_eq!(requests.bytes()[24..28], [0, 0, 0, 5]);
    }

    #[test]
    fn requests_stand_one_behind_the_other_each_with_its_length() {
        let mut requests = Requests::new(1);
        requests.verdict(1, Settlement::Drop, None, Some(b"odd"));
        let second = requests.bytes().len();
        requests.accept_up_to(9);
        let message = &requests.bytes()[second..];
        assert_eq!(message[..4], (message.len() as u32).to_ne_bytes());
        assert_eq!(message[4], libc::NFQNL_MSG_VERDICT_BATCH as u8);
        assert_eq!(message[24..32], [0, 0, 0, 1, 0, 0, 0, 9]);
    }

    #[test]
    fn a_queue_is_bound_and_set_up_by_one_message() {
        let mut requests = Requests::new(3);
        let configuration = Configuration {
            copy_range: 0,
            gso: true,
            fail_open: false,
            max_length: 8192,
        };
        requests.bind(configuration, 77);
        let message = requests.bytes();
        assert_eq!(message[..4], (message.len() as u32).to_ne_bytes());
        assert_eq!(message[8..12], 77u32.to_ne_bytes());
        assert_eq!(message[24], 1, "BIND");
        // The kernel would take 0 for everything.
        assert_eq!(
            message[32..37],
            [0, 0, 0, 1, 2],
            "the copy range and its mode"
        );
        assert_eq!(message[44..48], 8192u32.to_be_bytes());
        assert_eq!(message[52..56], 4u32.to_be_bytes(), "GSO");
        assert_eq!(message[60..64], 5u32.to_be_bytes(), "of GSO and fail-open");
    }
}
