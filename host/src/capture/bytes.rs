//! Numbers in the byte order that a file or a section was written in.

/// A byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    /// The number of 16 bits at a place.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let mut two = [0; 2];
        two.copy_from_slice(&bytes[at..at + 2]);
        match self {
            Self::Big => u16::from_be_bytes(two),
            Self::Little => u16::from_le_bytes(two),
        }
    }

    /// The number of 32 bits at a place.
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[at..at + 4]);
        match self {
            Self::Big => u32::from_be_bytes(four),
            Self::Little => u32::from_le_bytes(four),
        }
    }

    /// The number of 64 bits at a place.
    pub(super) fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        match self {
            Self::Big => u64::from_be_bytes(eight),
            Self::Little => u64::from_le_bytes(eight),
        }
    }
}
