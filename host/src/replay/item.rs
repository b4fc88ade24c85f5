//! One frame, and what became of it.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::chain::{Chain, Saying};
use crate::packet::{Batch, Links, Settlement};
use crate::source::pcap::{Content, Framed, Sheet};
use crate::trace::{Record, Said};

/// One frame, and what became of the packet in it. Used again and again: it keeps its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) framed: Framed,
    /// What stands before the packet, and behind it.
    pub(super) header: Vec<u8>,
    pub(super) padding: Vec<u8>,
    /// The packet; of a frame without one there is nothing in it.
    pub(super) record: Record,
}

impl Item {
    /// Writes down the frame at a place of a batch that the chain has evaluated with its journal
    /// open.
    pub(super) fn fill(
        &mut self,
        sheet: &Sheet,
        links: &Arc<Links>,
        batch: &Batch,
        place: usize,
        chain: &Chain,
    ) {
        let framed = &sheet.frames()[place];
        self.framed.clone_from(framed);
        self.header.clear();
        self.header.extend_from_slice(sheet.header(framed));
        self.padding.clear();
        self.padding.extend_from_slice(sheet.padding(framed));
        self.record.fill(0, links, batch, place, chain);
    }

    /// Whether there is an IP packet in it.
    pub(super) fn is_ip(&self) -> bool {
        self.framed.content == Content::Ip
    }

    /// Whether it goes on.
    pub(super) fn survives(&self) -> bool {
        !matches!(
            self.record.settlement,
            Settlement::Drop | Settlement::DropFlow
        )
    }

    /// The packet's bytes as they went back, and what follows them: a packet that was altered
    /// has no padding.
    pub(super) fn bytes(&self) -> [&[u8]; 2] {
        match self.record.is_altered {
            true => [&self.record.altered, &[]],
            false => [&self.record.bytes, &self.padding],
        }
    }

    /// How many bytes the frame has on the wire as it went back.
    pub(super) fn length(&self) -> u32 {
        match self.record.is_altered {
            true => (self.header.len() + self.record.altered.len()) as u32,
            false => self.framed.original_length,
        }
    }

    /// The new mark, if it is another.
    pub(super) fn new_mark(&self) -> Option<u32> {
        let Record { came, mark, .. } = &self.record;
        (*mark != came.mark).then_some(*mark)
    }
}

/// What became of a packet and who said what, for a comment: `drop by icmp-drop; count: pass,
/// icmp-drop: drop`.
pub(super) struct Comment<'a>(pub(super) &'a Item);

impl Display for Comment<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(item) = self;
        if !item.is_ip() {
            return f.write_str("not IP: passed on, no extension asked");
        }
        let record = &item.record;
        f.write_str(record.settlement.name())?;
        if let Some(by) = &record.by {
            write!(f, " by {by}")?;
        }
        if let Some(mark) = item.new_mark() {
            write!(f, ", mark {:#x} -> {mark:#x}", record.came.mark)?;
        }
        if record.said.is_empty() {
            return f.write_str("; no extension asked");
        }
        for (place, said) in record.said.iter().enumerate() {
            f.write_str(if place == 0 { "; " } else { ", " })?;
            one(f, said)?;
        }
        Ok(())
    }
}

/// `rewrite: pass (edited, mark 0x1)`.
fn one(f: &mut Formatter<'_>, said: &Said) -> fmt::Result {
    let word = match said.saying {
        Saying::Verdict(verdict) => verdict.name(),
        Saying::Skipped(_) => "skipped",
        Saying::Fault(_) => "fault",
    };
    write!(f, "{}: {word}", said.extension)?;
    let mut opening = " (";
    let mut note = |f: &mut Formatter<'_>, text: fmt::Arguments<'_>| {
        f.write_str(std::mem::replace(&mut opening, ", "))?;
        f.write_fmt(text)
    };
    if said.edited {
        note(f, format_args!("edited"))?;
    }
    if let Some(mark) = said.mark {
        note(f, format_args!("mark {mark:#x}"))?;
    }
    if let Some(fault) = &said.fault {
        note(f, format_args!("{fault}"))?;
    }
    if opening == ", " {
        f.write_str(")")?;
    }
    Ok(())
}
