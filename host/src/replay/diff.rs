//! Two versions over the same packets: where they differ, and what each costs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::golden::{Difference, Differences, Words};
use super::item::Item;
use crate::capture::CaptureError;
use crate::chain::cpu_time;
use crate::embed::Chain;
use crate::packet::{Batch, Fate, Hook};
use crate::source::pcap::{Choice, Content, Frames, Intake, PcapSource, Reading};
use crate::source::{PacketSource, Received, SourceError};

/// How two chains are compared.
#[derive(Debug, Default)]
pub struct Diff {
    /// The captures, one after the other.
    pub inputs: Vec<PathBuf>,
    /// The hooks of packets, see [`Intake::new`].
    pub hooks: Vec<Choice<Hook>>,
    /// Their devices.
    pub devices: Vec<Choice<String>>,
    /// Their marks.
    pub marks: Vec<Choice<u32>>,
    /// How many come at a time, up to 64.
    pub batch: usize,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// How many frames were read.
    pub packets: u64,
    /// How many of them are not IP, and were given to neither.
    pub not_ip: u64,
    /// Where they differ: `expected` is what the first one made of a packet, `came` what the
    /// second one did.
    pub differences: Differences,
    /// What each took.
    pub sides: [Side; 2],
    /// The captures that could not be read to their end.
    pub damage: Vec<CaptureError>,
}

/// What one of two chains took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The CPU time of its decisions.
    pub cpu: Duration,
    /// How often its extensions failed.
    pub faults: u64,
}

/// One of two chains at work.
struct Work {
    chain: Chain,
    batch: Batch,
    item: Item,
    words: String,
    side: Side,
}

impl Work {
    fn new(chain: Chain) -> Self {
        Self {
            chain,
            batch: Batch::new(),
            item: Item::default(),
            words: String::new(),
            side: Side::default(),
        }
    }

    /// Takes the packets of a batch as they came.
    fn copy(&mut self, from: &Batch) {
        self.batch.begin(from.now_ns());
        for (place, entry) in from.entries().iter().enumerate() {
            let came = entry.came();
            self.batch.push(*came, from.bytes_of(came));
            if let Fate::Decided(settlement) = entry.fate {
                self.batch.decide(place, settlement);
            }
        }
    }

    fn evaluate(&mut self) {
        let began = cpu_time();
        self.chain.evaluate(&mut self.batch);
        self.side.cpu += cpu_time().saturating_sub(began);
        self.side.faults += self.chain.take_faults().len() as u64;
    }

    /// What became of the packet at a place, in words without names.
    fn say(&mut self, reading: &Reading, place: usize) {
        let (chain, links) = self.chain.parts();
        let sheet = reading.sheet();
        self.item.fill(&sheet, links, &self.batch, place, chain);
        self.words.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.words, "{}", Words(&self.item, false));
    }
}

/// Gives two chains the same packets, and compares what becomes of them.
///
/// # Errors
/// None of a source that reads files. A capture that is damaged is read as far as can be, which
/// the result tells.
pub fn diff(chains: [Chain; 2], diff: Diff) -> Result<Compared, SourceError> {
    let reading = Arc::<Reading>::default();
    let (news, devices) = channel();
    let mut source = PcapSource::new(
        Frames::new(diff.inputs, 1),
        Intake::new(diff.hooks, diff.devices, diff.marks),
        diff.batch,
        Box::new(move |links| {
            // It lives as long as the source.
            let _ = news.send(links);
        }),
        reading.clone(),
    );
    let mut works = chains.map(Work::new);
    let mut batch = Batch::new();
    let mut compared = Compared::default();
    let mut is_turned = false;
    loop {
        match source.recv(&mut batch)? {
            Received::End => break,
            Received::Woken => {
                for links in devices.try_iter() {
                    for work in &mut works {
                        work.chain.set_links((*links).clone());
                    }
                }
                continue;
            }
            Received::Packets => {}
        }
        for work in &mut works {
            work.copy(&batch);
        }
        // Each is the first as often as the other: that one finds the caches cold.
        let [one, other] = &mut works;
        let (first, second) = if is_turned {
            (other, one)
        } else {
            (one, other)
        };
        first.evaluate();
        second.evaluate();
        is_turned = !is_turned;
        let frames = reading.sheet().frames().to_vec();
        compared.packets += frames.len() as u64;
        let others = frames
            .iter()
            .filter(|framed| framed.content == Content::Other);
        compared.not_ip += others.count() as u64;
        for (place, framed) in frames.iter().enumerate() {
            let [one, other] = &mut works;
            one.say(&reading, place);
            other.say(&reading, place);
            if one.words != other.words {
                compared.differences.add(|| Difference {
                    number: framed.number,
                    bytes: one.item.record.bytes.clone(),
                    length: one.item.record.came.original_length,
                    expected: Some(one.words.clone()),
                    came: Some(other.words.clone()),
                });
            }
        }
    }
    compared.sides = works.map(|work| work.side);
    compared.damage = reading.take_damage();
    Ok(compared)
}
