//! Where datagrams are received: slots in the batch's area, each for one message.

use std::mem::zeroed;

use nix::libc;

use crate::packet::BATCH_MAX;

/// What a message has beside a packet's bytes at most: headers, and the attributes that
/// the kernel may put there. A security context has at most 4 KiB, but is not asked for.
pub(super) const MESSAGE_BYTES: usize = 512;
/// Slots begin where no other slot's first lines share a set of the processor's cache.
const SLOT_ALIGN: usize = 64;

/// Where datagrams are received.
pub(super) struct Slots {
    pub(super) stride: usize,
    /// What would do, once the queue has been empty.
    pub(super) wanted: usize,
    pub(super) headers: SlotHeaders,
}

impl Slots {
    pub(super) fn new(copy_range: u32) -> Self {
        let stride = stride(copy_range);
        Self {
            stride,
            wanted: stride,
            headers: SlotHeaders::new(),
        }
    }
}

/// How far slots are apart for messages with so many bytes of a packet.
pub(super) fn stride(copy_range: u32) -> usize {
    let longest = MESSAGE_BYTES + copy_range as usize;
    // An odd number of cache lines: were they a power of two apart, the beginnings of all
    // slots would fight for the same few places of the cache.
    (longest.next_multiple_of(2 * SLOT_ALIGN)) + SLOT_ALIGN
}

/// How much of a slot a datagram took.
pub(super) struct Received {
    pub(super) length: usize,
    /// Whether it was longer than the slot.
    pub(super) is_cut: bool,
}

/// What the system call is told of slots, and tells of them. It is written only when the
/// slots are others.
pub(super) struct SlotHeaders {
    headers: Box<[libc::mmsghdr; BATCH_MAX]>,
    vectors: Box<[libc::iovec; BATCH_MAX]>,
    /// The area that they point to, and how far slots are apart there.
    written_for: (usize, usize),
    count: libc::c_uint,
}

// SAFETY: where the pointers point to is borrowed anew for each call; in between nobody
// follows them.
unsafe impl Send for SlotHeaders {}

impl SlotHeaders {
    pub(super) fn new() -> Self {
        // SAFETY: all bits zero are a value of these plain structures.
        let (headers, vectors) = unsafe { (Box::new(zeroed()), Box::new(zeroed())) };
        Self {
            headers,
            vectors,
            written_for: (0, 0),
            count: 0,
        }
    }

    /// The headers, as the system call takes them.
    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::mmsghdr {
        self.headers.as_mut_ptr()
    }

    /// Has them point to the slots of an area. Gives how many there are.
    pub(super) fn point_to(&mut self, area: &mut [u8], stride: usize) -> libc::c_uint {
        let key = (area.as_ptr().addr(), stride);
        if self.written_for != key || (self.count as usize) * stride > area.len() {
            self.written_for = key;
            self.count = 0;
            let each = self.vectors.iter_mut().zip(self.headers.iter_mut());
            for (slot, (vector, header)) in area.chunks_exact_mut(stride).zip(each) {
                vector.iov_base = slot.as_mut_ptr().cast();
                vector.iov_len = slot.len();
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                self.count += 1;
            }
        }
        self.count
    }

    /// What came into a slot at the last call.
    pub(super) fn received(&self, slot: usize) -> Received {
        let header = &self.headers[slot];
        Received {
            length: header.msg_len as usize,
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}
