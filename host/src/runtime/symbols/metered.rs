//! Debug information read with an allowance: a file may have been made to be read for ever,
//! as with a million units that share one long table.

use std::borrow::Cow;
use std::cell::Cell;

use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};

/// So many bytes of a text cost as much as one read.
const BYTES_A_READ: u64 = 8;

/// How much may still be read, by all readers that share it.
#[derive(Debug)]
pub(super) struct Allowance(Cell<u64>);

impl Allowance {
    /// So many reads.
    pub(super) fn new(reads: u64) -> Self {
        Self(Cell::new(reads))
    }

    /// Whether something was not read for the want of it.
    pub(super) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.0.get()
    }
}

/// A reader of bytes that pays for each read out of an allowance, and fails when that is
/// used up.
#[derive(Clone, Debug)]
pub(super) struct Metered<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    allowance: &'a Allowance,
}

impl<'a> Metered<'a> {
    /// Reads from the beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8], allowance: &'a Allowance) -> Self {
        Self {
            bytes: EndianSlice::new(bytes, LittleEndian),
            allowance,
        }
    }

    fn pay(&self, bytes: usize) -> Result<()> {
        let Allowance(left) = self.allowance;
        let cost = 1 + bytes as u64 / BYTES_A_READ;
        left.set(left.get().saturating_sub(cost));
        if left.get() == 0 {
            return Err(Error::UnexpectedEof(self.bytes.offset_id()));
        }
        Ok(())
    }
}

impl Reader for Metered<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.bytes.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.bytes.offset_from(base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = Reader::find(&self.bytes, byte)?;
        self.pay(found)?;
        Ok(found)
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.pay(0)?;
        self.bytes.skip(len)
    }

    fn split(&mut self, len: usize) -> Result<Self> {
        self.pay(0)?;
        Ok(Self {
            bytes: self.bytes.split(len)?,
            allowance: self.allowance,
        })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.pay(self.bytes.len())?;
        Reader::to_string(&self.bytes)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        self.pay(self.bytes.len())?;
        Reader::to_string_lossy(&self.bytes)
    }

    fn read_slice(&mut self, buf: &mut [u8]) -> Result<()> {
        self.pay(buf.len())?;
        Reader::read_slice(&mut self.bytes, buf)
    }
}
