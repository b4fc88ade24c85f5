//! What an extension says is held against the contract, against what it declared, and
//! against what the operator lets it do. Nothing of it is applied before all of it
//! was found right.

use ipqext_wire::{Edit as WireEdit, Kind, rewrite};

use super::fault::{Fault, FaultKind};
use super::selection::Selection;
use crate::packet::{
    Batch, Decision, Edit, Edits, Entry, FlowBits, Grant, Needs, Outcome, PacketFlags, Settlement,
    Verdict,
};

/// The rules that an extension is held to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// What it declares.
    pub(super) needs: Needs,
    /// What the operator lets it do of that.
    pub(super) grant: Grant,
}

/// What the kernel is told for a verdict; `None` for those that end no packet's way. Where
/// no rules listen to bits of the mark, the rest of a connection is not spoken of.
pub(super) fn settlement(verdict: Verdict, flows: Option<FlowBits>) -> Option<Settlement> {
    match verdict {
        Verdict::AcceptFlow if flows.is_some() => Some(Settlement::AcceptFlow),
        Verdict::DropFlow if flows.is_some() => Some(Settlement::DropFlow),
        Verdict::Accept | Verdict::AcceptFlow => Some(Settlement::Accept),
        Verdict::Drop | Verdict::DropFlow | Verdict::Reject => Some(Settlement::Drop),
        Verdict::Repeat => Some(Settlement::Repeat),
        Verdict::Stop => Some(Settlement::Stop),
        Verdict::Queue(number) => Some(Settlement::Queue(number)),
        Verdict::Pass | Verdict::Hold(_) => None,
    }
}

impl Rules {
    /// Checks the decisions of an outcome, and makes `accept` a `pass` where it is not
    /// granted. `mark_mask` are the bits of marks that extensions may change.
    pub(super) fn check_decisions(
        &self,
        outcome: &mut Outcome,
        selection: &Selection,
        batch: &Batch,
        mark_mask: u32,
    ) -> Result<(), Fault> {
        let places = selection.places();
        let mut least = 0;
        for decision in &mut outcome.decisions {
            let place = decision.packet;
            check_place(
                FaultKind::InvalidDecision,
                "a decision",
                place,
                places.len(),
            )?;
            if place < least {
                let detail =
                    format!("decisions must ascend by packet, each once; {place} does not");
                return Err(Fault::new(FaultKind::InvalidDecision, detail));
            }
            least = place + 1;
            self.check_granted(decision)?;
            if decision.verdict == Verdict::Repeat {
                check_repeat(
                    decision,
                    &batch.entries()[places[place as usize]],
                    mark_mask,
                )?;
            }
        }
        Ok(())
    }

    fn check_granted(&self, decision: &mut Decision) -> Result<(), Fault> {
        let verdict = decision.verdict;
        let name = verdict.name();
        let ungranted = |detail| Err(Fault::new(FaultKind::Ungranted, detail));
        if !self.needs.verdicts.contains(verdict.needed()) {
            return ungranted(format!(
                "it gave the verdict {name} without declaring it; add {name} to its needs"
            ));
        }
        if let Verdict::Hold(_) = verdict {
            let detail = "the verdict hold is not supported yet";
            return Err(Fault::new(FaultKind::Unsupported, detail));
        }
        if !self.grant.verdicts.contains(verdict.needed()) {
            if verdict != Verdict::Accept {
                return ungranted(format!(
                    "it gave the verdict {name}, which it is not granted; ipqext grant lets it"
                ));
            }
            decision.verdict = Verdict::Pass;
        }
        let mask = decision.mark.map_or(0, |change| change.mask);
        let beyond = mask & !self.needs.mark_mask;
        if beyond != 0 {
            return ungranted(format!(
                "it set mark bits {beyond:#x} without declaring them"
            ));
        }
        let beyond = mask & !self.grant.mark_mask;
        if beyond != 0 {
            return ungranted(format!(
                "it set mark bits {beyond:#x}, which it is not granted; ipqext grant lets it"
            ));
        }
        Ok(())
    }

    /// Checks the edits of an outcome, and writes the packets as they will be.
    pub(super) fn check_edits(
        &self,
        outcome: &Outcome,
        selection: &Selection,
        batch: &Batch,
        rewritten: &mut Rewritten,
    ) -> Result<(), Fault> {
        rewritten.clear();
        let mut least = 0;
        for edits in outcome.edits.chunk_by(|a, b| a.packet == b.packet) {
            let Some(packet) = edits.first().map(|edit| edit.packet) else {
                continue;
            };
            check_place(
                FaultKind::InvalidEdit,
                "an edit",
                packet,
                selection.places().len(),
            )?;
            if packet < least {
                let detail = format!("edits must ascend by packet; {packet} does not");
                return Err(Fault::new(FaultKind::InvalidEdit, detail));
            }
            least = packet + 1;
            let seen = selection.packets()[packet as usize].captured_length;
            for edit in edits {
                check_inside(edit, seen, outcome.bytes.len())?;
            }
            let place = selection.places()[packet as usize];
            let entry = &batch.entries()[place];
            let kind = rewritten
                .add(place, entry, batch, edits, &outcome.bytes)
                .map_err(|invalid| {
                    let detail = format!("packet {packet}: {invalid}");
                    Fault::new(FaultKind::InvalidEdit, detail)
                })?;
            if kind > allowed(self.needs.edits) {
                let detail = format!(
                    "it edited {0} of packet {packet} without declaring it; its needs must say \
                     edits {0}",
                    kind.name()
                );
                return Err(Fault::new(FaultKind::Ungranted, detail));
            }
        }
        Ok(())
    }
}

fn check_place(kind: FaultKind, what: &str, place: u32, count: usize) -> Result<(), Fault> {
    if (place as usize) < count {
        return Ok(());
    }
    let detail = format!("{what} names packet {place}, but the batch has {count}");
    Err(Fault::new(kind, detail))
}

/// A packet that goes through its hook again as it came meets the same rule, and comes
/// back for ever.
fn check_repeat(decision: &Decision, entry: &Entry, mark_mask: u32) -> Result<(), Fault> {
    let mark = entry.packet.mark;
    let after = decision
        .mark
        .map_or(mark, |change| change.within(mark_mask).apply(mark));
    if after != entry.came().mark {
        return Ok(());
    }
    let detail = format!(
        "it gave the verdict repeat, but the mark stays {after:#x} as the packet came with: it \
         would come back for ever; change a bit of the mark that the daemon may touch \
         ({mark_mask:#x}), and have the rule look at it"
    );
    Err(Fault::new(FaultKind::InvalidDecision, detail))
}

/// An edit must be of bytes that were given, and its new bytes must be there.
fn check_inside(edit: &Edit, seen: u32, bytes: usize) -> Result<(), Fault> {
    let invalid = |detail| Err(Fault::new(FaultKind::InvalidEdit, detail));
    let Edit {
        packet, at, remove, ..
    } = *edit;
    if at.checked_add(remove).is_none_or(|end| end > seen) {
        return invalid(format!(
            "packet {packet}: an edit of {remove} bytes at {at} goes beyond the {seen} bytes \
             that it was given"
        ));
    }
    let (insert, length) = (edit.insert as usize, edit.insert_length as usize);
    if insert.checked_add(length).is_none_or(|end| end > bytes) {
        return invalid(format!(
            "packet {packet}: an edit takes {length} bytes at {insert} of its {bytes} new bytes"
        ));
    }
    Ok(())
}

fn allowed(edits: Edits) -> Kind {
    match edits {
        Edits::None => Kind::Nothing,
        Edits::IpFields => Kind::IpFields,
        Edits::Headers => Kind::Headers,
        Edits::Any => Kind::Any,
    }
}

/// Packets as they will be, once all of an outcome was found right.
#[derive(Default)]
pub(super) struct Rewritten {
    bytes: Vec<u8>,
    /// Place in the batch, and where the packet ends in `bytes`.
    packets: Vec<(usize, usize)>,
}

impl Rewritten {
    /// Empties it, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }

    fn add(
        &mut self,
        place: usize,
        entry: &Entry,
        batch: &Batch,
        edits: &[Edit],
        inserts: &[u8],
    ) -> Result<Kind, ipqext_wire::Invalid> {
        let start = self.bytes.len();
        let edits = edits.iter().map(|edit| WireEdit {
            at: edit.at as usize,
            remove: edit.remove as usize,
            insert: &inserts[edit.insert as usize..][..edit.insert_length as usize],
        });
        let partial = entry.packet.flags.contains(PacketFlags::CHECKSUM_PARTIAL);
        let kind = rewrite(
            batch.bytes_of(&entry.packet),
            edits,
            partial,
            &mut self.bytes,
        )?;
        if kind == Kind::Nothing {
            self.bytes.truncate(start);
        } else {
            self.packets.push((place, self.bytes.len()));
        }
        Ok(kind)
    }

    /// How many packets will be other than they were.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets, each with its place in the batch.
    pub(super) fn packets(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let starts = std::iter::once(0).chain(self.packets.iter().map(|(_, end)| *end));
        let packets = self.packets.iter().zip(starts);
        packets.map(|((place, end), start)| (*place, &self.bytes[start..*end]))
    }
}
