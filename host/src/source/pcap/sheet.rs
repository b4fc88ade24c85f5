//! What a capture has of the packets of a batch that a kernel's queue has not: their frames.

use std::ops::Range;
use std::sync::Arc;

use crate::capture::Interface;

/// The frames of the packets of one batch, place by place. Its memory is used again.
#[derive(Debug, Default)]
pub struct Sheet {
    frames: Vec<Framed>,
    /// Link headers and paddings.
    bytes: Vec<u8>,
    interfaces: Arc<Vec<Interface>>,
}

/// What a frame has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// An IP packet, which is in the batch.
    Ip,
    /// Something else, or an IP packet longer than there can be, or nothing. All of it counts
    /// as link header.
    #[default]
    Other,
}

/// One frame, without the packet in it.
#[derive(Clone, Debug, Default)]
pub struct Framed {
    /// Its number in all that is read, from 1.
    pub number: u64,
    /// Its interface, by the number in [`Sheet::interfaces`].
    pub interface: u32,
    /// When it was captured, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// How many bytes it had on the wire.
    pub original_length: u32,
    /// What is in it.
    pub content: Content,
    pub(super) header: Range<usize>,
    pub(super) padding: Range<usize>,
}

impl Sheet {
    /// Forgets the batch before.
    pub fn begin(&mut self, interfaces: &Arc<Vec<Interface>>) {
        self.frames.clear();
        self.bytes.clear();
        self.describe(interfaces);
    }

    /// All interfaces that frames name.
    pub fn describe(&mut self, interfaces: &Arc<Vec<Interface>>) {
        if !Arc::ptr_eq(&self.interfaces, interfaces) {
            self.interfaces.clone_from(interfaces);
        }
    }

    /// Adds a frame, with what stands before its packet and behind it.
    pub(super) fn push(&mut self, framed: Framed, header: &[u8], padding: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(header);
        let behind = self.bytes.len();
        self.bytes.extend_from_slice(padding);
        self.frames.push(Framed {
            header: at..behind,
            padding: behind..self.bytes.len(),
            ..framed
        });
    }

    /// The frames, in the order of their packets.
    pub fn frames(&self) -> &[Framed] {
        &self.frames
    }

    /// The interfaces that frames name.
    pub fn interfaces(&self) -> &Arc<Vec<Interface>> {
        &self.interfaces
    }

    /// What stands before a frame's packet: its link header.
    pub fn header(&self, framed: &Framed) -> &[u8] {
        &self.bytes[framed.header.clone()]
    }

    /// What stands behind it.
    pub fn padding(&self, framed: &Framed) -> &[u8] {
        &self.bytes[framed.padding.clone()]
    }
}
