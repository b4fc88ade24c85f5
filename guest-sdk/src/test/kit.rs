//! A stand-in for the host.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ipqext_wire::Kind;

use super::packet::{Handed, TestPacket};
use crate::bindings::ipqext::packet::types as wit;
use crate::component::Instance;
use crate::extension::{Context, Extension};
use crate::link::Link;
use crate::needs::{Edits, Needs};
use crate::stateful::Stateful;
use crate::verdict::{Verdict, Verdicts};

/// No batch of the host is larger.
const LARGEST_BATCH: usize = 64;

/// 2023-11-14 22:13:20 UTC: a time that looks like one.
const START_NS: u64 = 1_700_000_000_000_000_000;

/// The host takes no longer state, unless the operator allows it.
const STATE_BYTES_MAX: usize = 1 << 20;

/// What the host treats as faults, though they are in the contract.
const FAULTS_OF_HOST_0_1: Verdicts = Verdicts::HOLD;

/// Runs an extension as the host does: added and started, one instance.
///
/// Most functions panic where the host would find a fault, with its reason, so that
/// the test fails. The extension's own panics come through as they are.
pub struct Kit<E> {
    instance: Instance<E>,
    links: Rc<RefCell<Vec<Link>>>,
    links_version: u32,
    next_id: u32,
    now_ns: u64,
    is_started: bool,
}

/// What the extension said about one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to happen to it.
    pub verdict: Verdict,
    /// The mark that it has afterwards.
    pub mark: u32,
    /// Its bytes afterwards, with lengths and checksums as the host sets them; `None`
    /// if they are as they were.
    pub edited: Option<Vec<u8>>,
}

impl<E: Extension> Kit<E> {
    /// Adds and starts the extension without parameters.
    ///
    /// # Errors
    ///
    /// The text with which its `init` or `start` refused.
    pub fn new() -> Result<Self, String> {
        Self::with_params("")
    }

    /// Adds and starts the extension with these parameters.
    ///
    /// # Errors
    ///
    /// The text with which its `init` or `start` refused.
    pub fn with_params(params: &str) -> Result<Self, String> {
        Self::with_context(&Context::new(params))
    }

    /// Adds and starts the extension in this context.
    ///
    /// # Errors
    ///
    /// The text with which its `init` or `start` refused.
    pub fn with_context(context: &Context) -> Result<Self, String> {
        let mut kit = Self::initialised(context)?;
        kit.start()?;
        Ok(kit)
    }

    fn initialised(context: &Context) -> Result<Self, String> {
        let links = Rc::new(RefCell::new(Vec::new()));
        let source = Rc::clone(&links);
        Ok(Kit {
            instance: Instance::init(context, move || source.borrow().clone())?,
            links,
            links_version: 0,
            next_id: 1,
            now_ns: START_NS,
            is_started: false,
        })
    }

    /// Hands over one packet and gives the verdict.
    ///
    /// # Panics
    ///
    /// As [`decide_batch`](Self::decide_batch).
    pub fn proc(&mut self, packet: TestPacket) -> Verdict {
        self.decide(packet).verdict
    }

    /// Hands over one packet and gives the verdict, the mark and the new bytes.
    ///
    /// # Panics
    ///
    /// As [`decide_batch`](Self::decide_batch).
    pub fn decide(&mut self, packet: TestPacket) -> Decision {
        let mut decisions = self.decide_batch([packet]);
        decisions.pop().expect("one packet, one decision")
    }

    /// Hands over packets together, in batches of 64 at most, and gives the decision
    /// on each.
    ///
    /// The extension sees no more of a packet than it declared. One that is
    /// [truncated](TestPacket::truncated) to less is handed over all the same, while
    /// the host skips the extension for it.
    ///
    /// # Panics
    ///
    /// If the extension is stopped, and where the host would find a fault: a verdict,
    /// bits of the mark or edits that were not declared, a verdict that host 0.1 does not
    /// carry out, a `repeat` that leaves the mark, an edit that makes no right packet.
    /// One of a truncated packet panics too: the host does not give those to who edits.
    pub fn decide_batch(&mut self, packets: impl IntoIterator<Item = TestPacket>) -> Vec<Decision> {
        assert!(
            self.is_started,
            "the host hands no packets to a stopped extension"
        );
        let handed: Vec<Handed> = packets.into_iter().map(|packet| packet.hand()).collect();
        handed
            .chunks(LARGEST_BATCH)
            .flat_map(|chunk| self.call(chunk))
            .collect()
    }

    /// Starts the extension after a [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// The text with which it refused; it stays stopped.
    pub fn start(&mut self) -> Result<(), String> {
        self.instance.extension.start()?;
        self.is_started = true;
        Ok(())
    }

    /// Stops the extension.
    ///
    /// # Errors
    ///
    /// The text with which it complained; it is stopped all the same.
    pub fn stop(&mut self) -> Result<(), String> {
        self.is_started = false;
        self.instance.extension.stop()
    }

    /// Clears the extension's state.
    ///
    /// # Errors
    ///
    /// The text with which it refused.
    pub fn reset(&mut self) -> Result<(), String> {
        self.instance.extension.reset()
    }

    /// Stops the extension, if it is started, and deletes it.
    ///
    /// # Errors
    ///
    /// The text with which its `stop` or else its `fini` complained; it is gone all
    /// the same.
    pub fn fini(mut self) -> Result<(), String> {
        let stopped = if self.is_started { self.stop() } else { Ok(()) };
        let finished = self.instance.extension.fini();
        stopped.and(finished)
    }

    /// The extension's state, as the operator reads it.
    pub fn info(&self) -> Option<String> {
        self.instance.extension.info()
    }

    /// The extension's usage, as the operator reads it.
    pub fn help(&self) -> Option<String> {
        E::help()
    }

    /// What the extension declares.
    pub fn needs(&self) -> Needs {
        E::NEEDS
    }

    /// The extension itself, to look into.
    pub fn extension(&self) -> &E {
        &self.instance.extension
    }

    /// Sets the time of the next batches, in nanoseconds since the Unix epoch. It
    /// does not go on by itself.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Lets so much time go by.
    pub fn advance(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.now_ns = self.now_ns.saturating_add(ns);
    }

    /// The time of the next batch, in nanoseconds since the Unix epoch.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn call(&mut self, packets: &[Handed]) -> Vec<Decision> {
        let batch = self.batch(packets);
        let outcome = self.instance.proc(&batch);
        let mut decisions: Vec<Decision> = batch
            .packets
            .iter()
            .map(|packet| Decision {
                verdict: Verdict::Pass,
                mark: packet.mark,
                edited: None,
            })
            .collect();
        for decided in outcome.decisions {
            let decision = &mut decisions[decided.packet as usize];
            decision.verdict = decided.verdict.into();
            hold_to_verdicts(E::NEEDS, decision.verdict);
            if let Some(change) = decided.mark {
                hold_to_mark_mask(E::NEEDS, change.mask);
                decision.mark = (decision.mark & !change.mask) | (change.value & change.mask);
            }
            let mark = batch.packets[decided.packet as usize].mark;
            assert!(
                decision.verdict != Verdict::Repeat || decision.mark != mark,
                "a fault in the host: the verdict Repeat leaves the mark {mark:#x}, so the packet \
                 would come back for ever"
            );
        }
        for edits in outcome.edits.chunk_by(|a, b| a.packet == b.packet) {
            let place = edits[0].packet as usize;
            decisions[place].edited = edited(&packets[place], edits, &outcome.bytes, E::NEEDS);
        }
        decisions
    }

    fn batch(&mut self, packets: &[Handed]) -> wit::Batch {
        let mut metas = Vec::new();
        let mut area = Vec::new();
        for packet in packets {
            for link in &packet.links {
                self.know(link);
            }
            let captured = packet.bytes.len().min(E::NEEDS.snap_length as usize);
            let mut meta = packet.meta;
            meta.id = packet.id.unwrap_or(self.next_id);
            meta.arrived_ns = packet.arrived_ns.unwrap_or(self.now_ns);
            meta.offset = length_u32(area.len());
            meta.captured_length = length_u32(captured);
            self.next_id = meta.id.wrapping_add(1);
            area.extend_from_slice(&packet.bytes[..captured]);
            metas.push(meta);
        }
        wit::Batch {
            now_ns: self.now_ns,
            links_version: self.links_version,
            packets: metas,
            bytes: area,
        }
    }

    /// Takes a device up into the table, in place of the one of its index.
    fn know(&mut self, link: &Link) {
        let mut links = self.links.borrow_mut();
        if links.contains(link) {
            return;
        }
        links.retain(|known| known.index != link.index);
        links.push(link.clone());
        self.links_version += 1;
    }
}

/// Of extensions whose state can be carried over.
impl<E: Stateful> Kit<E> {
    /// Adds the extension with these parameters, hands over what instances of that
    /// version saved, and starts it: what the host does after a fault, and when another
    /// version takes a place.
    ///
    /// # Errors
    ///
    /// The text with which its `init`, `restore` or `start` refused. After a fault the
    /// host would go on without the state if it was `restore`.
    pub fn restored(
        params: &str,
        version: &str,
        parts: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, String> {
        let mut kit = Self::initialised(&Context::new(params))?;
        let parts = parts.into_iter().collect();
        kit.instance.extension.restore(version, parts)?;
        kit.start()?;
        Ok(kit)
    }

    /// The extension's state.
    ///
    /// # Errors
    ///
    /// The text with which it refused.
    ///
    /// # Panics
    ///
    /// If it is longer than the host takes by default, 1 MiB.
    pub fn save(&self) -> Result<Vec<u8>, String> {
        let saved = self.instance.extension.save()?;
        assert!(
            saved.len() <= STATE_BYTES_MAX,
            "refused by the host: the state has {} bytes, and may have {STATE_BYTES_MAX}",
            saved.len()
        );
        Ok(saved)
    }
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a batch of test packets is far below 4 GiB")
}

fn hold_to_verdicts(needs: Needs, verdict: Verdict) {
    let declaration = verdict.declaration();
    assert!(
        needs.verdicts.contains(declaration),
        "a fault in the host: the extension gave the verdict {verdict:?}, but declares {:?} only",
        needs.verdicts
    );
    assert!(
        !FAULTS_OF_HOST_0_1.intersects(declaration),
        "a fault in the host: version 0.1 does not carry out the verdict {verdict:?}"
    );
}

/// The bytes of a packet after its edits, as the host would make them.
fn edited(packet: &Handed, edits: &[wit::Edit], bytes: &[u8], needs: Needs) -> Option<Vec<u8>> {
    assert!(
        packet.bytes.len() == packet.meta.original_length as usize,
        "the host gives a packet that is not all there to no extension that edits"
    );
    let edits = edits.iter().map(|edit| ipqext_wire::Edit {
        at: edit.at as usize,
        remove: edit.remove as usize,
        insert: &bytes[edit.insert as usize..][..edit.insert_length as usize],
    });
    let partial = packet
        .meta
        .packet_flags
        .contains(wit::PacketFlags::CHECKSUM_PARTIAL);
    let mut new = Vec::new();
    let kind = ipqext_wire::rewrite(&packet.bytes, edits, partial, &mut new)
        .unwrap_or_else(|invalid| panic!("a fault in the host: {invalid}"));
    let declared = match needs.edits {
        Edits::None => Kind::Nothing,
        Edits::IpFields => Kind::IpFields,
        Edits::Headers => Kind::Headers,
        Edits::Any => Kind::Any,
    };
    assert!(
        kind <= declared,
        "a fault in the host: the extension edited {}, but declares {} only",
        kind.name(),
        declared.name()
    );
    (kind != Kind::Nothing).then_some(new)
}

fn hold_to_mark_mask(needs: Needs, mask: u32) {
    assert!(
        mask & !needs.mark_mask == 0,
        "a fault in the host: the extension set the bits {mask:#x} of the mark, but declares {:#x} only",
        needs.mark_mask
    );
}

#[cfg(test)]
#[path = "kit_tests.rs"]
mod tests;
