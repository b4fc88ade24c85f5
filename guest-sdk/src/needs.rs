//! What an extension declares, and is held to.

use crate::bindings::ipqext::packet::types as wit;
use crate::verdict::Verdicts;

/// What an extension needs, and is held to: anything beyond it is a fault.
///
/// Ask for little. The host copies, and the kernel hands over, no more of a packet
/// than some extension needs, and the operator sees the list before the extension
/// runs. Start from one of the first three functions and add to it:
///
/// ```
/// # use ipqext_sdk::prelude::*;
/// const NEEDS: Needs = Needs::headers()
///     .verdicts(Verdicts::DROP)
///     .mark_mask(0xff00)
///     .on_fault(OnFault::Drop);
/// # assert_eq!(NEEDS.snap_length, 128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// How many bytes of each packet it reads, counted from the IP header; at most
    /// 65,535.
    pub snap_length: u32,
    /// What it changes in packets.
    pub edits: Edits,
    /// The verdicts it gives besides [`Verdict::Pass`](crate::Verdict::Pass).
    pub verdicts: Verdicts,
    /// The bits of the mark that it sets.
    pub mark_mask: u32,
    /// The author's advice what to do with its packets when it fails.
    pub on_fault: OnFault,
}

/// How much of a packet an extension may change; each kind includes the ones before
/// it. Checksums and length fields follow by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edits {
    /// Nothing.
    #[default]
    None,
    /// TTL or hop limit, DSCP, ECN; the identification of an IPv4 packet that is no
    /// fragment, and the flow label of IPv6.
    IpFields,
    /// Addresses and the fields of transport headers: ports, sequence numbers, flags,
    /// window and urgent pointer of TCP; type, code and the rest of the header of ICMP.
    Headers,
    /// Any bytes behind the headers and the options of TCP, and for UDP the length.
    Any,
}

/// What becomes of the packets that an extension failed on. It is the author's
/// advice: the operator has the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// They go on as if the extension had not been there.
    #[default]
    Pass,
    /// They are accepted.
    Accept,
    /// They are dropped.
    Drop,
}

/// An IPv6 header (40 bytes), 28 bytes of extension headers and the longest TCP
/// header (60 bytes) fit.
const HEADERS_LENGTH: u32 = 128;

/// No IP packet is longer, but for jumbograms, which netfilter queues cannot carry.
const LONGEST_PACKET: u32 = 65_535;

impl Needs {
    /// No bytes at all: enough for one that goes by marks, devices, lengths and
    /// times.
    pub const fn none() -> Self {
        Needs {
            snap_length: 0,
            edits: Edits::None,
            verdicts: Verdicts::empty(),
            mark_mask: 0,
            on_fault: OnFault::Pass,
        }
    }

    /// The first 128 bytes: enough for all headers of nearly every packet, and the
    /// cheapest that is.
    pub const fn headers() -> Self {
        Self::none().snap_length(HEADERS_LENGTH)
    }

    /// The whole packet.
    pub const fn whole() -> Self {
        Self::none().snap_length(LONGEST_PACKET)
    }

    /// The first `bytes` bytes of each packet.
    ///
    /// # Panics
    ///
    /// If `bytes` is more than 65,535; in a constant that is a compile error.
    pub const fn snap_length(mut self, bytes: u32) -> Self {
        assert!(
            bytes <= LONGEST_PACKET,
            "no packet is longer than 65,535 bytes"
        );
        self.snap_length = bytes;
        self
    }

    /// What it changes in packets. The host then gives it only packets that are all
    /// there; it can change no more bytes than it reads.
    pub const fn edits(mut self, edits: Edits) -> Self {
        self.edits = edits;
        self
    }

    /// The verdicts it gives. [`Verdict::Pass`](crate::Verdict::Pass) need not be
    /// declared. Several are joined with `union`, see [`Verdicts`].
    pub const fn verdicts(mut self, verdicts: Verdicts) -> Self {
        self.verdicts = verdicts;
        self
    }

    /// The bits of the mark that it sets with
    /// [`Packet::set_mark`](crate::Packet::set_mark).
    pub const fn mark_mask(mut self, mask: u32) -> Self {
        self.mark_mask = mask;
        self
    }

    /// What to do with its packets when it fails; [`OnFault::Pass`] if it does not
    /// say.
    pub const fn on_fault(mut self, policy: OnFault) -> Self {
        self.on_fault = policy;
        self
    }
}

impl From<Needs> for wit::Needs {
    fn from(needs: Needs) -> Self {
        wit::Needs {
            snap_length: needs.snap_length,
            edits: needs.edits.into(),
            verdicts: needs.verdicts.into(),
            mark_mask: needs.mark_mask,
            on_fault: needs.on_fault.into(),
        }
    }
}

impl From<Edits> for wit::Edits {
    fn from(edits: Edits) -> Self {
        match edits {
            Edits::None => wit::Edits::None,
            Edits::IpFields => wit::Edits::IpFields,
            Edits::Headers => wit::Edits::Headers,
            Edits::Any => wit::Edits::Any,
        }
    }
}

impl From<OnFault> for wit::OnFault {
    fn from(policy: OnFault) -> Self {
        match policy {
            OnFault::Pass => wit::OnFault::Pass,
            OnFault::Accept => wit::OnFault::Accept,
            OnFault::Drop => wit::OnFault::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Edits, Needs, OnFault, wit};
    use crate::verdict::Verdicts;

    #[test]
    fn the_starting_points_differ_in_the_bytes_only() {
        assert_eq!(Needs::none().snap_length, 0);
        assert_eq!(Needs::headers(), Needs::none().snap_length(128));
        assert_eq!(Needs::whole(), Needs::none().snap_length(65_535));
    }

    #[test]
    fn needs_are_told_to_the_host() {
        const NEEDS: Needs = Needs::headers()
            .verdicts(Verdicts::DROP.union(Verdicts::ACCEPT))
            .mark_mask(0xf0)
            .edits(Edits::Headers)
            .on_fault(OnFault::Accept);
        let told = wit::Needs::from(NEEDS);
        assert_eq!(told.snap_length, 128);
        assert_eq!(told.edits, wit::Edits::Headers);
        assert_eq!(told.verdicts, wit::Verdicts::DROP | wit::Verdicts::ACCEPT);
        assert_eq!(told.mark_mask, 0xf0);
        assert_eq!(told.on_fault, wit::OnFault::Accept);
    }

    #[test]
    #[should_panic(expected = "no packet is longer than 65,535 bytes")]
    fn a_longer_snap_length_than_any_packet_is_refused() {
        let _ = Needs::none().snap_length(65_536);
    }
}
