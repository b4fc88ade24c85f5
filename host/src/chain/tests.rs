use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::guarded::Guarded;
use super::*;
use crate::packet::{
    Decision, Edit, Edits, Entry, Fallback, Fate, Grant, Group, HardwareAddress, Hook, MarkChange,
    PacketFlags, Settlement, Verdict, Verdicts,
};
use crate::telemetry::StageCounters;

mod hand_over;
mod trials;

#[test]
fn the_first_extension_sees_the_whole_batch_before_the_second_sees_any() {
    let asked = Asked::default();
    let stage = |id, name| {
        let asked = asked.clone();
        let notes = move |view: &View<'_>, _: &mut Vec<Decision>| {
            let packets = view.packets.iter();
            packets.for_each(|packet| asked.note(format!("{name}{}", packet.id)));
            Ok(())
        };
        Bench::new(id, nothing()).on_proc(notes).stage
    };
    let mut chain = chain([stage(1, "a"), stage(2, "b")]);
    evaluate(&mut chain, &mut batch([1, 2, 3]));
    assert_eq!(asked.taken(), ["a1", "a2", "a3", "b1", "b2", "b3"]);
}

#[test]
fn a_group_looks_at_the_mark_as_it_is_now() {
    let asked = Asked::default();
    let marks_even = Bench::new(1, drops_and_marks()).on_proc(|view, decisions| {
        for (place, packet) in (0..).zip(view.packets) {
            if packet.id % 2 == 0 {
                decisions.push(marked(place, 0b100, 0b111));
            }
        }
        Ok(())
    });
    let of_mark_4 = Bench::new(2, nothing()).group(0b100).notes_ids(&asked);
    let of_mark_1 = Bench::new(3, nothing()).group(0b001).notes_ids(&asked);
    let mut chain = chain([marks_even.stage, of_mark_4.stage, of_mark_1.stage]);

    let mut batch = Batch::new();
    for id in 1..=4 {
        batch.push(packet(id, 0b001), &[]);
    }
    evaluate(&mut chain, &mut batch);
    assert_eq!(asked.taken(), ["2", "4", "1", "3"]);
    let marks: Vec<_> = batch.entries().iter().map(Entry::new_mark).collect();
    assert_eq!(marks, [None, Some(0b100), None, Some(0b100)]);
}

#[test]
fn what_one_extension_decided_the_next_does_not_see() {
    let asked = Asked::default();
    let verdicts = [
        (Verdict::Pass, Settlement::Accept),
        (Verdict::Accept, Settlement::Accept),
        (Verdict::AcceptFlow, Settlement::Accept),
        (Verdict::Drop, Settlement::Drop),
        (Verdict::DropFlow, Settlement::Drop),
        (Verdict::Reject, Settlement::Drop),
        (Verdict::Queue(9), Settlement::Queue(9)),
    ];
    let needs = Needs {
        verdicts: Verdicts::all(),
        ..nothing()
    };
    let decides = Bench::new(1, needs).on_proc(move |_, decisions| {
        let each = (0..).zip(verdicts);
        decisions.extend(each.map(|(place, (verdict, _))| decided(place, verdict)));
        Ok(())
    });
    let counters = decides.counters.clone();
    let after = Bench::new(2, nothing()).notes_ids(&asked);
    let mut chain = chain([decides.stage, after.stage]);

    let mut batch = batch(0..verdicts.len() as u32);
    evaluate(&mut chain, &mut batch);
    assert_eq!(asked.taken(), ["0"]);
    let settled: Vec<_> = batch.entries().iter().map(Entry::settlement).collect();
    assert_eq!(settled, verdicts.map(|(_, settlement)| settlement));
    assert_eq!(tally(&counters), [7, 1, 2, 3]);
    assert_eq!(counters.queued.get(), 1);
    // All decided: nobody is called any more.
    evaluate(&mut chain, &mut batch);
    assert_eq!(asked.taken(), ["0"]);
}

#[test]
fn a_mark_changes_in_its_bits_only_also_with_a_verdict() {
    let sets = Bench::new(1, drops_and_marks()).on_proc(|_, decisions| {
        decisions.push(Decision {
            verdict: Verdict::Drop,
            ..marked(0, u32::MAX, 0x0f)
        });
        Ok(())
    });
    let mut batch = Batch::new();
    batch.push(packet(1, 0xa0), &[]);
    evaluate(&mut chain([sets.stage]), &mut batch);
    assert_eq!(batch.entries()[0].new_mark(), Some(0xaf));
    assert_eq!(batch.entries()[0].settlement(), Settlement::Drop);
}

#[test]
fn an_extension_never_sees_more_bytes_than_it_declared() {
    let contents: [&[u8]; 4] = [b"0123456789", b"abc", b"", b"ABCDEFGH"];
    for (snap_length, expected) in [
        (0, ["", "", "", ""]),
        (4, ["0123", "abc", "", "ABCD"]),
        (8, ["01234567", "abc", "", "ABCDEFGH"]),
        (65_535, ["0123456789", "abc", "", "ABCDEFGH"]),
    ] {
        let asked = Asked::default();
        let needs = Needs {
            snap_length,
            ..Needs::default()
        };
        let reads = Bench::new(1, needs).notes_bytes(&asked);
        let mut batch = Batch::new();
        for bytes in contents {
            batch.push(whole(bytes.len() as u32, bytes), bytes);
        }
        evaluate(&mut chain([reads.stage]), &mut batch);
        assert_eq!(asked.taken(), expected, "with {snap_length} bytes declared");
        // What the next extension and the kernel are told is not clipped.
        for (entry, bytes) in batch.entries().iter().zip(contents) {
            assert_eq!(&batch.bytes()[entry.packet.range()], bytes);
        }
    }
}

#[test]
fn bytes_of_other_groups_are_not_in_the_view() {
    let asked = Asked::default();
    let needs = Needs {
        snap_length: 65_535,
        ..Needs::default()
    };
    let reads = Bench::new(1, needs).group(0b10).on_proc({
        let asked = asked.clone();
        move |view, _| {
            asked.note(String::from_utf8_lossy(view.bytes).into_owned());
            Ok(())
        }
    });
    let mut batch = Batch::new();
    for (mark, bytes) in [
        (1, b"secret"),
        (2, b"public"),
        (1, b"hidden"),
        (3, b"common"),
    ] {
        batch.push(packet(0, mark), bytes);
    }
    evaluate(&mut chain([reads.stage]), &mut batch);
    assert_eq!(asked.taken(), ["publiccommon"]);
}

#[test]
fn a_packet_cut_shorter_than_declared_is_skipped_and_counted() {
    let asked = Asked::default();
    let needs = Needs {
        snap_length: 64,
        ..Needs::default()
    };
    let reads = Bench::new(1, needs).notes_ids(&asked);
    let counters = reads.counters.clone();
    let mut batch = Batch::new();
    for (id, captured, original) in [(1, 20, 100), (2, 20, 20), (3, 64, 100), (4, 63, 64)] {
        let mut packet = packet(id, 0);
        packet.original_length = original;
        batch.push(packet, &vec![0; captured]);
    }
    evaluate(&mut chain([reads.stage]), &mut batch);
    assert_eq!(asked.taken(), ["2", "3"]);
    assert_eq!(counters.skipped.get(), 2);
    assert_eq!(tally(&counters), [2, 2, 0, 0]);
    let accepted = |entry: &Entry| entry.settlement() == Settlement::Accept;
    assert!(batch.entries().iter().all(accepted));
}

/// A drop and a mark that are right, then what is wrong, in a batch of three.
fn wrong_outcomes() -> Vec<(Needs, Vec<Decision>, FaultKind, &'static str)> {
    use FaultKind::{InvalidDecision, Ungranted, Unsupported};
    let needs = Needs {
        verdicts: Verdicts::all() - Verdicts::ACCEPT - Verdicts::ACCEPT_FLOW,
        mark_mask: 0b0011,
        ..Needs::default()
    };
    let right = Decision {
        verdict: Verdict::Drop,
        ..marked(0, 1, 1)
    };
    let wrong = |decisions: &[Decision], kind, words| {
        let outcome = [&[right], decisions].concat();
        (needs, outcome, kind, words)
    };
    vec![
        wrong(&[decided(3, Verdict::Drop)], InvalidDecision, "packet 3"),
        wrong(
            &[decided(u32::MAX, Verdict::Pass)],
            InvalidDecision,
            "packet 4294967295",
        ),
        wrong(&[right], InvalidDecision, "each once"),
        wrong(
            &[decided(2, Verdict::Drop), decided(1, Verdict::Drop)],
            InvalidDecision,
            "ascend",
        ),
        wrong(&[decided(1, Verdict::Accept)], Ungranted, "verdict accept"),
        wrong(&[decided(1, Verdict::AcceptFlow)], Ungranted, "accept-flow"),
        wrong(&[marked(1, 0, 0b0110)], Ungranted, "mark bits 0x4"),
        wrong(&[decided(1, Verdict::Repeat)], InvalidDecision, "for ever"),
        wrong(&[decided(1, Verdict::Stop)], Ungranted, "not granted"),
        wrong(&[decided(1, Verdict::Hold(1))], Unsupported, "hold"),
    ]
}

#[test]
fn a_wrong_decision_is_a_fault_of_its_kind() {
    for (needs, decisions, kind, words) in wrong_outcomes() {
        let says = Bench::new(1, needs).says(move |view, outcome| {
            if view.packets.len() == 3 {
                outcome.decisions.extend(&decisions);
            }
            Ok(())
        });
        let fault = fault_of(says, &mut batch([1, 2, 3]));
        assert!(fault.starts_with(kind.name()), "{fault}");
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn after_a_wrong_decision_nothing_of_the_outcome_is_applied() {
    for (needs, decisions, _, words) in wrong_outcomes() {
        let asked = Asked::default();
        let wrong = Bench::new(1, needs).on_proc(move |view, out| {
            if view.packets.len() == 3 {
                out.extend(&decisions);
            }
            Ok(())
        });
        let (counters, calls) = (wrong.counters.clone(), wrong.calls.clone());
        let after = Bench::new(2, nothing()).notes_ids(&asked);
        let mut batch = batch([1, 2, 3]);
        evaluate(&mut chain([wrong.stage, after.stage]), &mut batch);

        assert_eq!(asked.taken(), ["1", "2", "3"], "{words}");
        for entry in batch.entries() {
            assert_eq!(entry.settlement(), Settlement::Accept, "{words}");
            assert_eq!(entry.new_mark(), None, "{words}");
        }
        assert_eq!(tally(&counters), [3, 3, 0, 0], "{words}");
        assert_eq!(counters.faults.get(), 1, "{words}");
        assert_eq!(calls.taken(), ["recover, stopped"], "{words}");
    }
}

#[test]
fn what_a_failed_call_decided_is_forgotten() {
    let mut failing = true;
    let fails_once = Bench::new(1, drops()).on_proc(move |_, decisions| {
        if std::mem::take(&mut failing) {
            decisions.push(decided(0, Verdict::Drop));
            return Err(Fault::new(FaultKind::Trap, "on purpose"));
        }
        Ok(())
    });
    let mut chain = chain([fails_once.stage]);
    for _ in 0..2 {
        let mut batch = batch([1]);
        evaluate(&mut chain, &mut batch);
        assert_eq!(batch.entries()[0].settlement(), Settlement::Accept);
    }
}

#[test]
fn who_cannot_start_again_is_quarantined_until_it_is_reset_or_started() {
    for call in [Lifecycle::Reset, Lifecycle::Start] {
        let broken = Arc::new(AtomicBool::new(true));
        let fails = Bench::new(1, drops()).broken_while(&broken);
        let (counters, calls) = (fails.counters.clone(), fails.calls.clone());
        let mut chain = chain([fails.stage]);

        evaluate(&mut chain, &mut batch([1, 2]));
        assert!(counters.quarantined.load(Ordering::Relaxed));
        assert_eq!(
            counters.faults.get(),
            2,
            "its own, and that of starting again"
        );
        let mut skipped = batch([3, 4, 5]);
        evaluate(&mut chain, &mut skipped);
        assert_eq!(skipped.entries()[0].settlement(), Settlement::Accept);
        assert_eq!(counters.skipped.get(), 3);
        assert_eq!(tally(&counters), [2, 2, 0, 0]);

        let stage = chain.stage_mut(StageId(1)).unwrap();
        assert!(matches!(
            stage.lifecycle(call),
            Err(LifecycleError::Fault(Fault {
                kind: FaultKind::Restart,
                ..
            }))
        ));
        assert!(counters.quarantined.load(Ordering::Relaxed), "still broken");

        broken.store(false, Ordering::Relaxed);
        calls.taken();
        let stage = chain.stage_mut(StageId(1)).unwrap();
        stage.lifecycle(call).unwrap();
        assert!(!counters.quarantined.load(Ordering::Relaxed));
        assert_eq!(
            calls.taken(),
            ["recover, stopped".to_owned(), format!("{call:?}")]
        );
        evaluate(&mut chain, &mut batch([6]));
        assert_eq!(tally(&counters), [3, 2, 0, 1]);
        assert_eq!(counters.skipped.get(), 3);
    }
}

#[test]
fn a_quarantined_extension_is_not_called_to_hear_that_it_ends() {
    let broken = Arc::new(AtomicBool::new(true));
    let fails = Bench::new(1, drops()).broken_while(&broken);
    let calls = fails.calls.clone();
    let mut chain = chain([fails.stage]);
    evaluate(&mut chain, &mut batch([1]));
    calls.taken();
    let stage = chain.stage_mut(StageId(1)).unwrap();
    assert_eq!(stage.lifecycle(Lifecycle::Stop).unwrap(), None);
    assert_eq!(stage.lifecycle(Lifecycle::Fini).unwrap(), None);
    assert!(calls.taken().is_empty());
}

/// It was started twice: by the recovery, which did not know of the stop, and by
/// the start that had asked for it.
#[test]
fn who_was_stopped_in_quarantine_is_started_once() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = Bench::new(1, drops()).broken_while(&broken);
    let calls = fails.calls.clone();
    let mut chain = chain([fails.stage]);
    let stage = chain.stage_mut(StageId(1)).unwrap();
    stage.lifecycle(Lifecycle::Start).unwrap();
    broken.store(true, Ordering::Relaxed);
    evaluate(&mut chain, &mut batch([1]));
    assert_eq!(calls.taken(), ["Start", "recover, started"]);

    broken.store(false, Ordering::Relaxed);
    let stage = chain.stage_mut(StageId(1)).unwrap();
    stage.lifecycle(Lifecycle::Stop).unwrap();
    stage.lifecycle(Lifecycle::Start).unwrap();
    assert_eq!(calls.taken(), ["recover, stopped", "Start"]);
}

#[test]
fn a_fault_outside_of_packets_recovers_to_what_the_extension_was() {
    let mut bench = Bench::new(1, nothing());
    let calls = bench.calls.clone();
    bench.stage.lifecycle(Lifecycle::Start).unwrap();
    bench.fails_in_lifecycle.store(true, Ordering::Relaxed);
    assert!(bench.stage.lifecycle(Lifecycle::Info).is_err());
    assert!(bench.stage.lifecycle(Lifecycle::Stop).is_err());
    let expected = [
        "Start",
        "Info",
        "recover, started",
        "Stop",
        "recover, stopped",
    ];
    assert_eq!(calls.taken(), expected);
    assert_eq!(bench.counters.faults.get(), 2);
}

#[test]
fn a_new_generation_moves_stages_and_hands_back_the_retired() {
    let stage = |id| Bench::new(id, nothing()).stage;
    let place = |id, incoming| Place {
        id: StageId(id),
        terms: Terms::default(),
        incoming,
    };
    let mut chain = Chain::default();
    assert!(
        chain
            .rearrange(vec![place(1, Some(stage(1))), place(2, Some(stage(2)))])
            .is_empty()
    );
    assert_eq!(chain_ids(&chain), [1, 2]);

    let retired = chain.rearrange(vec![
        place(2, None),
        place(3, Some(stage(3))),
        place(1, None),
    ]);
    assert!(retired.is_empty());
    assert_eq!(chain_ids(&chain), [2, 3, 1]);

    let retired = chain.rearrange(vec![place(1, None)]);
    let mut retired: Vec<_> = retired.iter().map(|stage| stage.id.0).collect();
    retired.sort_unstable();
    assert_eq!(retired, [2, 3]);

    // A swap: the stage that stood there comes back, the new one takes its place.
    let retired = chain.rearrange(vec![place(1, Some(stage(1)))]);
    assert_eq!(retired.len(), 1);
    assert_eq!(chain_ids(&chain), [1]);

    // A place that nobody fills is no place.
    assert!(
        chain
            .rearrange(vec![place(9, None), place(1, None)])
            .is_empty()
    );
    assert_eq!(chain_ids(&chain), [1]);
    assert_eq!(chain.into_stages().len(), 1);
}

#[test]
fn a_new_generation_brings_the_group() {
    let asked = Asked::default();
    let notes = Bench::new(1, nothing()).notes_ids(&asked);
    let mut chain = chain([notes.stage]);
    evaluate(&mut chain, &mut batch([1]));
    chain.rearrange(vec![Place {
        id: StageId(1),
        terms: Terms {
            group: Group::Mask(NonZeroU32::MIN),
            ..Terms::default()
        },
        incoming: None,
    }]);
    evaluate(&mut chain, &mut batch([2]));
    assert_eq!(asked.taken(), ["1"], "packet 2 has no mark");
}

#[test]
fn a_chain_needs_what_all_its_stages_need() {
    let of = |snap_length, verdicts, mark_mask| Needs {
        snap_length,
        verdicts,
        mark_mask,
        on_fault: Fallback::Pass,
        ..Needs::default()
    };
    let small = Bench::new(1, of(40, Verdicts::DROP, 1)).stage;
    let large = Bench::new(2, of(1500, Verdicts::ACCEPT, 2)).stage;
    let chain = chain([small, large]);
    assert_eq!(
        chain.needs(),
        of(1500, Verdicts::DROP | Verdicts::ACCEPT, 3)
    );
    assert_eq!(Chain::default().needs(), Needs::default());
}

/// An IPv4 packet with a UDP datagram and right checksums.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    bytes.extend_from_slice(&[0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0]);
    bytes.extend_from_slice(payload);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[24..26].copy_from_slice(&(length - 20).to_be_bytes());
    bytes
}

fn edits(edits: Edits) -> Needs {
    Needs {
        snap_length: 65_535,
        edits,
        verdicts: Verdicts::DROP,
        ..Needs::default()
    }
}

/// Replaces bytes of the packet at a place.
fn edit(outcome: &mut Outcome, packet: u32, at: u32, remove: u32, with: &[u8]) {
    outcome.edits.push(Edit {
        packet,
        at,
        remove,
        insert: outcome.bytes.len() as u32,
        insert_length: with.len() as u32,
    });
    outcome.bytes.extend_from_slice(with);
}

fn datagrams(payloads: &[&[u8]]) -> Batch {
    let mut batch = Batch::new();
    for (id, payload) in (0..).zip(payloads) {
        let bytes = datagram(payload);
        batch.push(whole(id, &bytes), &bytes);
    }
    batch
}

fn payload(batch: &Batch, place: usize) -> &[u8] {
    &batch.bytes_of(&batch.entries()[place].packet)[28..]
}

#[test]
fn extensions_after_an_edit_see_the_new_bytes_and_others_nothing_else() {
    let asked = Asked::default();
    let first = Bench::new(1, edits(Edits::Any)).says(|_, outcome| {
        edit(outcome, 0, 28, 3, b"longer");
        edit(outcome, 2, 28, 1, b"");
        Ok(())
    });
    let counters = first.counters.clone();
    let second = Bench::new(2, edits(Edits::Any)).says(|view, outcome| {
        assert!(view.packets[0].flags.contains(PacketFlags::ALTERED));
        assert!(!view.packets[1].flags.contains(PacketFlags::ALTERED));
        edit(outcome, 0, 28, 0, b"even ");
        Ok(())
    });
    let notes = {
        let asked = asked.clone();
        move |view: &View<'_>, _: &mut Vec<Decision>| {
            for packet in view.packets {
                let text = String::from_utf8_lossy(&view.bytes[packet.range()][28..]);
                asked.note(text.into_owned());
                assert_eq!(packet.captured_length, packet.original_length);
            }
            let shown: usize = view.packets.iter().map(|packet| packet.range().len()).sum();
            assert_eq!(view.bytes.len(), shown, "the area has no old bytes");
            Ok(())
        }
    };
    let third = Bench::new(3, edits(Edits::None)).on_proc(notes);
    let mut batch = datagrams(&[b"old", b"same", b"xy"]);
    evaluate(
        &mut chain([first.stage, second.stage, third.stage]),
        &mut batch,
    );
    assert_eq!(asked.taken(), ["even longer", "same", "y"]);
    assert_eq!(counters.edited.get(), 2);
    let altered: Vec<_> = batch.entries().iter().map(Entry::is_altered).collect();
    assert_eq!(altered, [true, false, true]);
    assert_eq!(payload(&batch, 0), b"even longer");
    assert_eq!(batch.bytes_of(batch.entries()[0].came()), datagram(b"old"));
    batch.undecide();
    assert_eq!(payload(&batch, 0), b"old");
}

#[test]
fn an_edit_that_is_not_right_is_a_fault_and_nothing_of_the_call_is_applied() {
    use FaultKind::{InvalidEdit, Ungranted};
    type Says = fn(&mut Outcome);
    let cases: [(Edits, Says, FaultKind, &str); 9] = [
        (
            Edits::Any,
            |out| edit(out, 3, 28, 1, b"x"),
            InvalidEdit,
            "packet 3",
        ),
        (
            Edits::Any,
            |out| edit(out, 0, 28, 1, b"x"),
            InvalidEdit,
            "ascend",
        ),
        (
            Edits::Any,
            |out| edit(out, 2, 28, 9, b"x"),
            InvalidEdit,
            "beyond the 31 bytes",
        ),
        (
            Edits::Any,
            |out| edit(out, 2, u32::MAX, 9, b"x"),
            InvalidEdit,
            "beyond the 31",
        ),
        (
            Edits::Any,
            |out| edit(out, 2, 9, 1, b"\x06"),
            InvalidEdit,
            "the protocol",
        ),
        (
            Edits::Any,
            |out| edit(out, 2, 10, 21, b"x"),
            InvalidEdit,
            "below the end",
        ),
        (
            Edits::IpFields,
            |out| edit(out, 2, 20, 1, b"x"),
            Ungranted,
            "edits headers",
        ),
        (
            Edits::None,
            |out| edit(out, 2, 8, 1, b"x"),
            Ungranted,
            "edits ip-fields",
        ),
        (
            Edits::Any,
            |out| {
                edit(out, 2, 28, 1, b"x");
                out.bytes.clear();
            },
            InvalidEdit,
            "takes 1 bytes at 0 of its 0 new bytes",
        ),
    ];
    for (kind, says, fault_kind, words) in cases {
        let wrong = Bench::new(1, edits(kind)).says(move |view, outcome| {
            if view.packets.len() < 3 {
                return Ok(());
            }
            if kind == Edits::Any {
                edit(outcome, 1, 28, 1, b"X");
            }
            outcome.decisions.push(decided(0, Verdict::Drop));
            says(outcome);
            Ok(())
        });
        let counters = wrong.counters.clone();
        let mut batch = datagrams(&[b"one", b"two", b"six"]);
        let fault = fault_of(wrong, &mut batch);
        assert!(fault.starts_with(fault_kind.name()), "{fault}");
        assert!(
            fault.contains(words),
            "{fault:?} does not tell of {words:?}"
        );
        assert!(!batch.entries().iter().any(|entry| entry.is_altered()));
        assert_eq!(batch.entries()[0].settlement(), Settlement::Accept);
        assert_eq!((counters.edited.get(), counters.faults.get()), (0, 1));
    }
}

#[test]
fn a_packet_that_is_not_all_there_is_not_given_to_who_edits() {
    let asked = Asked::default();
    let needs = Needs {
        snap_length: 28,
        ..edits(Edits::IpFields)
    };
    let bench = Bench::new(1, needs).notes_ids(&asked);
    let counters = bench.counters.clone();
    let mut batch = datagrams(&[b"whole"]);
    let bytes = datagram(b"cut off");
    batch.push(whole(1, &bytes), &bytes[..30]);
    evaluate(&mut chain([bench.stage]), &mut batch);
    assert_eq!(asked.taken(), ["0"]);
    assert_eq!(counters.skipped.get(), 1);
}

#[test]
fn a_packet_is_repeated_only_with_another_mark() {
    let needs = Needs {
        verdicts: Verdicts::REPEAT,
        mark_mask: u32::MAX,
        ..Needs::default()
    };
    let repeats = |value, mask| {
        Bench::new(1, needs).on_proc(move |_, decisions| {
            decisions.push(Decision {
                verdict: Verdict::Repeat,
                ..marked(0, value, mask)
            });
            Ok(())
        })
    };
    let with = |mark_mask, bench: Bench| {
        let mut chain = Chain::new(mark_mask);
        chain.rearrange(vec![Place {
            id: StageId(1),
            terms: Terms::of(needs),
            incoming: Some(bench.stage),
        }]);
        let mut batch = batch([1]);
        evaluate(&mut chain, &mut batch);
        let entry = batch.entries()[0];
        (entry.settlement(), entry.new_mark())
    };
    assert_eq!(
        with(u32::MAX, repeats(5, 0xf)),
        (Settlement::Repeat, Some(5))
    );
    assert_eq!(with(u32::MAX, repeats(0, 0xf)), (Settlement::Accept, None));
    // The operator's mask takes the change away, and with it what ends the loop.
    assert_eq!(with(0xf0, repeats(5, 0xf)), (Settlement::Accept, None));
}

#[test]
fn bits_outside_of_the_mark_mask_of_the_daemon_are_never_touched() {
    let asked = Asked::default();
    let sets = Bench::new(1, drops_and_marks()).on_proc(|_, decisions| {
        decisions.push(marked(0, 0xabcd, u32::MAX));
        Ok(())
    });
    let counters = sets.counters.clone();
    let after = Bench::new(2, nothing()).group(0x00cd).notes_ids(&asked);
    let mut masked = Chain::new(0xff00);
    let places = [sets.stage, after.stage].map(|stage| Place {
        id: stage.id,
        terms: stage.terms(),
        incoming: Some(stage),
    });
    masked.rearrange(places.into());
    let mut batch = Batch::new();
    batch.push(packet(1, 0x1_0000), &[]);
    evaluate(&mut masked, &mut batch);
    assert_eq!(batch.entries()[0].new_mark(), Some(0x1_ab00));
    assert!(asked.taken().is_empty(), "groups see the mark as it is");
    assert_eq!(counters.faults.get(), 0);
}

#[test]
fn what_is_not_granted_is_a_pass_for_accept_and_a_fault_for_the_rest() {
    let needs = Needs {
        verdicts: Verdicts::all(),
        mark_mask: 0xff,
        ..Needs::default()
    };
    let grant = Grant {
        verdicts: Verdicts::DROP,
        mark_mask: 0x0f,
    };
    let says = |decision: Decision| {
        let bench = Bench::new(1, needs).on_proc(move |_, decisions| {
            decisions.push(decision);
            Ok(())
        });
        let counters = bench.counters.clone();
        let mut chain = Chain::default();
        chain.rearrange(vec![Place {
            id: StageId(1),
            terms: Terms {
                grant,
                ..Terms::of(needs)
            },
            incoming: Some(bench.stage),
        }]);
        let mut batch = batch([1]);
        evaluate(&mut chain, &mut batch);
        let entry = batch.entries()[0];
        (entry.fate, entry.new_mark(), counters.faults.get())
    };
    let fate = |settlement| Fate::Decided(settlement);
    assert_eq!(
        says(decided(0, Verdict::Accept)),
        (Fate::Undecided, None, 0)
    );
    assert_eq!(
        says(decided(0, Verdict::Drop)),
        (fate(Settlement::Drop), None, 0)
    );
    for verdict in [
        Verdict::AcceptFlow,
        Verdict::Stop,
        Verdict::Queue(1),
        Verdict::Reject,
    ] {
        assert_eq!(
            says(decided(0, verdict)),
            (Fate::Undecided, None, 1),
            "{verdict:?}"
        );
    }
    assert_eq!(
        says(marked(0, 0xff, 0x0f)),
        (Fate::Undecided, Some(0x0f), 0)
    );
    assert_eq!(says(marked(0, 0xff, 0x10)), (Fate::Undecided, None, 1));
}

#[test]
fn stop_is_not_granted_unless_the_operator_says_so() {
    let needs = Needs {
        verdicts: Verdicts::all(),
        ..Needs::default()
    };
    assert_eq!(Grant::of(needs).verdicts, Verdicts::all() - Verdicts::STOP);
}

#[test]
fn the_journal_tells_who_said_what_in_order() {
    let marks = Bench::new(1, drops_and_marks()).on_proc(|_, decisions| {
        decisions.push(marked(1, 4, 4));
        Ok(())
    });
    let fails = Bench::new(2, nothing())
        .group(4)
        .says(|_, _| Err(Fault::new(FaultKind::Trap, "on purpose")));
    let edits_first = Bench::new(3, edits(Edits::Any)).says(|_, outcome| {
        edit(outcome, 0, 28, 1, b"x");
        outcome.decisions.push(decided(1, Verdict::Drop));
        Ok(())
    });
    let mut chain = chain([marks.stage, fails.stage, edits_first.stage]);
    evaluate(&mut chain, &mut datagrams(&[b"one", b"two"]));
    assert_eq!(chain.journal().of(0).count(), 0, "nobody watches");
    chain.keep_journal(true);
    evaluate(&mut chain, &mut datagrams(&[b"one", b"two"]));
    let told = |place| {
        let notes = chain.journal().of(place);
        let told = notes.map(|note| (note.stage, note.saying, note.mark, note.edited));
        told.collect::<Vec<_>>()
    };
    let said = |verdict| Saying::Verdict(verdict);
    assert_eq!(
        told(0),
        [
            (0, said(Verdict::Pass), None, false),
            (2, said(Verdict::Pass), None, true)
        ]
    );
    assert_eq!(
        told(1),
        [
            (0, said(Verdict::Pass), Some(4), false),
            (1, Saying::Fault(Fallback::Pass), None, false),
            (2, said(Verdict::Drop), None, false),
        ]
    );
    assert_eq!(chain.journal().fault(1, 0), Some("trap: on purpose"));
    assert_eq!(chain.name(2).map(|name| &**name), Some("stage-3"));
}

/// What a filter of the property test does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Decides,
    Traps,
    RepeatsAPlace,
    NamesAPacketTooMany,
    GivesTooMuch,
}

#[derive(Clone, Debug)]
struct Plan {
    group: u32,
    snap_length: u32,
    /// By the packet's number.
    moods: Vec<Mood>,
    on_fault: Fallback,
    on_overload: Fallback,
    /// By the packet's number.
    decisions: Vec<(Verdict, Option<MarkChange>)>,
}

impl Plan {
    const NEEDS: Needs = Needs {
        snap_length: 0,
        edits: Edits::None,
        verdicts: Verdicts::ACCEPT
            .union(Verdicts::DROP)
            .union(Verdicts::REJECT),
        mark_mask: 0b111,
        on_fault: Fallback::Pass,
    };

    fn mood(&self, id: u32) -> Mood {
        self.moods[id as usize % self.moods.len()]
    }

    fn decision(&self, id: u32) -> (Verdict, Option<MarkChange>) {
        self.decisions[id as usize % self.decisions.len()]
    }

    fn group(&self) -> Group {
        NonZeroU32::new(self.group).map_or(Group::All, Group::Mask)
    }

    fn stage(&self, id: u64) -> (Stage, Arc<StageCounters>) {
        let plan = self.clone();
        let needs = Needs {
            snap_length: self.snap_length,
            ..Self::NEEDS
        };
        let bench = Bench::new(id, needs)
            .group(self.group)
            .on_terms(|terms| {
                terms.policy.on_fault = self.on_fault;
                terms.policy.on_overload = self.on_overload;
                terms.policy.quarantine = None;
            })
            .on_proc(move |view, decisions| plan.act(view, decisions));
        (bench.stage, bench.counters)
    }

    fn act(&self, view: &View<'_>, decisions: &mut Vec<Decision>) -> Result<(), Fault> {
        for (place, packet) in (0..).zip(view.packets) {
            assert!(packet.captured_length <= self.snap_length);
            // Bytes are the packet's number: a wrong offset shows.
            assert!(
                view.bytes[packet.range()]
                    .iter()
                    .all(|byte| *byte == packet.id as u8)
            );
            let (verdict, mark) = self.decision(packet.id);
            decisions.push(Decision {
                packet: place,
                verdict,
                mark,
            });
        }
        let moods = view.packets.iter().map(|packet| self.mood(packet.id));
        match moods.enumerate().find(|(_, mood)| *mood != Mood::Decides) {
            None | Some((_, Mood::Decides)) => {}
            Some((_, Mood::Traps)) => return Err(Fault::new(FaultKind::Trap, "planned")),
            Some((_, Mood::RepeatsAPlace)) => decisions.push(decided(0, Verdict::Drop)),
            Some((_, Mood::NamesAPacketTooMany)) => {
                decisions.push(decided(view.packets.len() as u32, Verdict::Drop));
            }
            Some((place, Mood::GivesTooMuch)) => decisions[place].verdict = Verdict::Stop,
        }
        Ok(())
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let mood = prop_oneof![
        30 => Just(Mood::Decides),
        1 => Just(Mood::Traps),
        1 => Just(Mood::RepeatsAPlace),
        1 => Just(Mood::NamesAPacketTooMany),
        1 => Just(Mood::GivesTooMuch),
    ];
    let verdict = prop_oneof![
        4 => Just(Verdict::Pass),
        1 => Just(Verdict::Accept),
        1 => Just(Verdict::Drop),
        1 => Just(Verdict::Reject),
    ];
    let change = (any::<u32>(), 0..8_u32).prop_map(|(value, mask)| MarkChange { value, mask });
    let plan = (
        0..8_u32,
        0..40_u32,
        prop::collection::vec(mood, 1..20),
        [fallback(), fallback()],
        prop::collection::vec((verdict, prop::option::of(change)), 1..20),
    );
    let plan = plan.prop_map(|(group, snap_length, moods, fallbacks, decisions)| Plan {
        group,
        snap_length,
        moods,
        on_fault: fallbacks[0],
        on_overload: fallbacks[1],
        decisions,
    });
    prop::collection::vec(plan, 0..5)
}

fn fallback() -> impl Strategy<Value = Fallback> {
    prop_oneof![
        2 => Just(Fallback::Pass),
        1 => Just(Fallback::Accept),
        1 => Just(Fallback::Drop),
    ]
}

/// Mark, captured and original length.
fn batches() -> impl Strategy<Value = Vec<Vec<(u32, u32, u32)>>> {
    let packet = (0..8_u32, 0..40_u32, 0..40_u32);
    let packet = packet.prop_map(|(mark, a, b)| (mark, a.min(b), a.max(b)));
    prop::collection::vec(prop::collection::vec(packet, 1..=64), 1..4)
}

/// The chain once more, a packet at a time and as slow as it likes.
struct Model {
    marks: Vec<u32>,
    settled: Vec<Option<Settlement>>,
}

/// What the model has of one extension over all batches.
#[derive(Clone, Default)]
struct ModelStage {
    culprits: u64,
    skipped: u64,
}

impl Model {
    fn visit(&mut self, plan: &Plan, packets: &[(u32, u32, u32)], stage: &mut ModelStage) {
        let (given, cut): (Vec<usize>, Vec<usize>) = (0..packets.len())
            .filter(|&place| {
                self.settled[place].is_none() && plan.group().contains(self.marks[place])
            })
            .partition(|&place| {
                let (_, captured, original) = packets[place];
                captured >= plan.snap_length.min(original)
            });
        stage.skipped += cut.len() as u64;
        for place in cut {
            self.settled[place] = settled_by(plan.on_overload);
        }
        for place in given {
            if plan.mood(place as u32) != Mood::Decides {
                stage.culprits += 1;
                self.settled[place] = settled_by(plan.on_fault);
                continue;
            }
            let (verdict, mark) = plan.decision(place as u32);
            if let Some(change) = mark {
                self.marks[place] = change.apply(self.marks[place]);
            }
            self.settled[place] = match verdict {
                Verdict::Pass => None,
                Verdict::Accept => Some(Settlement::Accept),
                _ => Some(Settlement::Drop),
            };
        }
    }
}

fn settled_by(fallback: Fallback) -> Option<Settlement> {
    match fallback {
        Fallback::Pass => None,
        Fallback::Accept => Some(Settlement::Accept),
        Fallback::Drop => Some(Settlement::Drop),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_gets_the_one_settlement_that_its_way_through_the_chain_gives(
        plans in plans(),
        batches in batches(),
    ) {
        let stages = plans.iter().zip(1..).map(|(plan, id)| plan.stage(id));
        let (stages, counters): (Vec<_>, Vec<_>) = stages.unzip();
        let mut chain = chain(stages);
        let mut known = vec![ModelStage::default(); plans.len()];
        for packets in &batches {
            let mut batch = Batch::new();
            for (id, &(mark, captured, original)) in (0..).zip(packets) {
                let mut packet = packet(id, mark);
                packet.original_length = original;
                batch.push(packet, &vec![id as u8; captured as usize]);
            }
            evaluate(&mut chain, &mut batch);

            let mut model = Model {
                marks: packets.iter().map(|(mark, ..)| *mark).collect(),
                settled: vec![None; packets.len()],
            };
            for (plan, known) in plans.iter().zip(&mut known) {
                model.visit(plan, packets, known);
            }
            prop_assert_eq!(batch.len(), packets.len());
            for (place, entry) in batch.entries().iter().enumerate() {
                prop_assert_eq!(entry.packet.id, place as u32);
                prop_assert_eq!(entry.packet.mark, model.marks[place]);
                let expected = model.settled[place].unwrap_or(Settlement::Accept);
                prop_assert_eq!(entry.settlement(), expected);
            }
        }
        for (counters, known) in counters.iter().zip(known) {
            let [seen, passed, accepted, dropped] = tally(counters);
            prop_assert_eq!(seen, passed + accepted + dropped);
            prop_assert_eq!(counters.skipped.get(), known.skipped);
            prop_assert_eq!(counters.faults.get(), known.culprits);
            prop_assert_eq!(counters.failed.get(), known.culprits);
        }
    }
}

/// What was asked of filters, in order.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, what: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

type Proc = Box<dyn FnMut(&View<'_>, &mut Outcome) -> Result<(), Fault> + Send>;

/// A filter that does what a closure says.
struct Scripted {
    proc: Proc,
    broken: Arc<AtomicBool>,
    fails_in_lifecycle: Arc<AtomicBool>,
    calls: Asked,
}

impl Filter for Scripted {
    fn proc(
        &mut self,
        view: &View<'_>,
        _allowed: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        (self.proc)(view, outcome)
    }

    fn recover(&mut self, started: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
        let state = if started { "started" } else { "stopped" };
        self.calls.note(format!("recover, {state}"));
        if self.broken.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Restart, "it stays broken"));
        }
        Ok(Recovered::Whole)
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        self.calls.note(format!("{call:?}"));
        if self.fails_in_lifecycle.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Trap, "on purpose").into());
        }
        Ok(None)
    }
}

/// A stage under test, with the ends that the test holds.
struct Bench {
    stage: Stage,
    counters: Arc<StageCounters>,
    calls: Asked,
    fails_in_lifecycle: Arc<AtomicBool>,
}

impl Bench {
    /// A stage whose filter passes all.
    fn new(id: u64, needs: Needs) -> Self {
        let counters = Arc::<StageCounters>::default();
        let calls = Asked::default();
        let fails_in_lifecycle = Arc::new(AtomicBool::new(false));
        let filter = Scripted {
            proc: Box::new(|_, _| Ok(())),
            broken: Arc::default(),
            fails_in_lifecycle: fails_in_lifecycle.clone(),
            calls: calls.clone(),
        };
        let name = format!("stage-{id}").into();
        let filter = Box::new(filter);
        let mut stage = Stage::new(StageId(id), name, needs, filter, counters.clone());
        let mut terms = stage.terms();
        // Filters of tests are quick, but their machine may be slow.
        terms.limits.batch_deadline = Duration::from_secs(60);
        stage.set_terms(terms);
        Self {
            stage,
            counters,
            calls,
            fails_in_lifecycle,
        }
    }

    fn with(mut self, broken: &Arc<AtomicBool>, proc: Proc) -> Self {
        self.stage.filter = Guarded(Box::new(Scripted {
            proc,
            broken: broken.clone(),
            fails_in_lifecycle: self.fails_in_lifecycle.clone(),
            calls: self.calls.clone(),
        }));
        self
    }

    fn on_proc(
        self,
        mut proc: impl FnMut(&View<'_>, &mut Vec<Decision>) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        self.says(move |view, outcome| proc(view, &mut outcome.decisions))
    }

    fn says(
        self,
        proc: impl FnMut(&View<'_>, &mut Outcome) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        self.with(&Arc::default(), Box::new(proc))
    }

    /// A filter that fails while it is broken, and then drops all.
    fn broken_while(self, broken: &Arc<AtomicBool>) -> Self {
        let fails = broken.clone();
        let proc = move |view: &View<'_>, outcome: &mut Outcome| {
            if fails.load(Ordering::Relaxed) {
                return Err(Fault::new(FaultKind::Trap, "broken"));
            }
            let places = 0..view.packets.len() as u32;
            let decisions = places.map(|place| decided(place, Verdict::Drop));
            outcome.decisions.extend(decisions);
            Ok(())
        };
        self.with(broken, Box::new(proc))
    }

    /// Passes all, and notes each packet's number.
    fn notes_ids(self, asked: &Asked) -> Self {
        let asked = asked.clone();
        self.on_proc(move |view, _| {
            let packets = view.packets.iter();
            packets.for_each(|packet| asked.note(packet.id.to_string()));
            Ok(())
        })
    }

    /// Passes all, and notes each packet's bytes.
    fn notes_bytes(self, asked: &Asked) -> Self {
        let asked = asked.clone();
        self.on_proc(move |view, _| {
            for packet in view.packets {
                let bytes = &view.bytes[packet.range()];
                asked.note(String::from_utf8_lossy(bytes).into_owned());
            }
            Ok(())
        })
    }

    fn on_terms(mut self, set: impl FnOnce(&mut Terms)) -> Self {
        let mut terms = self.stage.terms();
        set(&mut terms);
        self.stage.set_terms(terms);
        self
    }

    /// With a mask of 0, all packets.
    fn group(mut self, mask: u32) -> Self {
        let group = NonZeroU32::new(mask).map_or(Group::All, Group::Mask);
        let terms = Terms {
            group,
            ..self.stage.terms()
        };
        self.stage.set_terms(terms);
        self
    }
}

fn chain(stages: impl IntoIterator<Item = Stage>) -> Chain {
    let mut chain = Chain::default();
    let places = stages.into_iter().map(|stage| Place {
        id: stage.id,
        terms: stage.terms(),
        incoming: Some(stage),
    });
    chain.rearrange(places.collect());
    chain
}

fn chain_ids(chain: &Chain) -> Vec<u64> {
    chain.stages.iter().map(|stage| stage.id.0).collect()
}

fn evaluate(chain: &mut Chain, batch: &mut Batch) {
    chain.evaluate(batch, &Arc::default());
}

/// How the only stage of a chain fails on a batch, none of whose packets it fails on alone.
fn fault_of(bench: Bench, batch: &mut Batch) -> String {
    let (reporter, reports) = std::sync::mpsc::channel();
    let report = move |report| reporter.send(report).unwrap();
    let mut chain = chain([bench.stage.reporting(0, Box::new(report))]);
    evaluate(&mut chain, batch);
    let [report] = <[FaultReport; 1]>::try_from(reports.try_iter().collect::<Vec<_>>()).unwrap();
    assert!(report.culprit.is_none());
    report.fault.to_string()
}

/// Seen, passed, accepted, dropped.
fn tally(counters: &StageCounters) -> [u64; 4] {
    let StageCounters {
        seen,
        passed,
        accepted,
        dropped,
        ..
    } = counters;
    [seen, passed, accepted, dropped].map(|counter| counter.get())
}

fn nothing() -> Needs {
    Needs::default()
}

fn drops() -> Needs {
    Needs {
        verdicts: Verdicts::DROP,
        ..Needs::default()
    }
}

fn drops_and_marks() -> Needs {
    Needs {
        verdicts: Verdicts::DROP,
        mark_mask: u32::MAX,
        ..Needs::default()
    }
}

fn decided(packet: u32, verdict: Verdict) -> Decision {
    Decision {
        packet,
        verdict,
        mark: None,
    }
}

fn marked(packet: u32, value: u32, mask: u32) -> Decision {
    Decision {
        packet,
        verdict: Verdict::Pass,
        mark: Some(MarkChange { value, mask }),
    }
}

fn batch(ids: impl IntoIterator<Item = u32>) -> Batch {
    let mut batch = Batch::new();
    for id in ids {
        batch.push(packet(id, 0), &[]);
    }
    batch
}

/// A packet whose bytes are all there.
fn whole(id: u32, bytes: &[u8]) -> Packet {
    let mut packet = packet(id, 0);
    packet.original_length = bytes.len() as u32;
    packet
}

fn packet(id: u32, mark: u32) -> Packet {
    Packet {
        id,
        mark,
        arrived_ns: 0,
        in_link: 0,
        out_link: 0,
        hardware_address: HardwareAddress::default(),
        hook: Hook::Input,
        protocol: 0x0800,
        flags: PacketFlags::empty(),
        offset: 0,
        captured_length: 0,
        original_length: 0,
    }
}

#[test]
fn what_is_decided_of_a_connection_goes_back_with_its_bit_where_rules_listen() {
    let needs = Needs {
        verdicts: Verdicts::all(),
        mark_mask: u32::MAX,
        ..nothing()
    };
    let says = || {
        Bench::new(1, needs).says(|_, outcome| {
            outcome.decisions.extend([
                decided(0, Verdict::AcceptFlow),
                decided(1, Verdict::DropFlow),
                // Bits that speak to rules are not an extension's to set.
                marked(2, u32::MAX, u32::MAX),
            ]);
            Ok(())
        })
    };
    let settled = |marks: MarkRules| {
        let bench = says();
        let counters = bench.counters.clone();
        let mut chain = Chain::new(marks);
        chain.rearrange(vec![Place {
            id: StageId(1),
            terms: Terms::of(needs),
            incoming: Some(bench.stage),
        }]);
        let mut batch = batch([1, 2, 3]);
        evaluate(&mut chain, &mut batch);
        assert_eq!((counters.accepted.get(), counters.dropped.get()), (1, 1));
        let entries = batch.entries().iter();
        Vec::from_iter(entries.map(|entry| (entry.settlement(), entry.new_mark())))
    };
    let marks = MarkRules {
        mask: 0xff,
        flows: Some(FlowBits { accept: 1, drop: 2 }),
    };
    let expected = [
        (Settlement::AcceptFlow, Some(1)),
        (Settlement::DropFlow, Some(2)),
        (Settlement::Accept, Some(0xfc)),
    ];
    assert_eq!(settled(marks), expected);
    let expected = [
        (Settlement::Accept, None),
        (Settlement::Drop, None),
        (Settlement::Accept, Some(0xff)),
    ];
    assert_eq!(settled(0xff.into()), expected);
}

#[test]
fn a_packet_that_rules_should_have_let_by_is_settled_at_once() {
    let bench = Bench::new(1, nothing());
    let counters = bench.counters.clone();
    let mut chain = Chain::new(MarkRules {
        mask: u32::MAX,
        flows: Some(FlowBits { accept: 1, drop: 2 }),
    });
    chain.rearrange(vec![Place {
        id: StageId(1),
        terms: Terms::of(nothing()),
        incoming: Some(bench.stage),
    }]);
    let mut batch = Batch::new();
    for mark in [1, 2, 3, 4] {
        batch.push(packet(mark, mark), &[]);
    }
    evaluate(&mut chain, &mut batch);
    let settled = batch.entries().iter().map(|entry| entry.settlement());
    assert_eq!(
        Vec::from_iter(settled),
        [
            Settlement::Accept,
            Settlement::Drop,
            Settlement::Drop,
            Settlement::Accept
        ]
    );
    assert_eq!(counters.seen.get(), 1, "it is asked about the last alone");
}

/// A filter that fails on these packets, and drops all others.
fn fails_on(bench: Bench, culprits: &'static [u32]) -> Bench {
    bench.on_proc(move |view, decisions| {
        for (place, packet) in (0..).zip(view.packets) {
            if culprits.contains(&packet.id) {
                let detail = format!("packet {}", packet.id);
                return Err(Fault::new(FaultKind::Trap, detail));
            }
            decisions.push(decided(place, Verdict::Drop));
        }
        Ok(())
    })
}

fn settlements(batch: &Batch) -> Vec<Settlement> {
    let entries = batch.entries().iter();
    entries.map(|entry| entry.settlement()).collect()
}

#[test]
fn the_culprit_gets_the_policy_and_the_others_their_verdicts() {
    const A: Settlement = Settlement::Accept;
    const D: Settlement = Settlement::Drop;
    for (policy, settled) in [
        (Fallback::Pass, [D, A, D, D, A]),
        (Fallback::Accept, [D, A, D, D, A]),
        (Fallback::Drop, [D; 5]),
    ] {
        let (reporter, reports) = std::sync::mpsc::channel();
        let bench = fails_on(Bench::new(1, drops()), &[2, 5])
            .on_terms(|terms| terms.policy.on_fault = policy);
        let counters = bench.counters.clone();
        let report = move |report| reporter.send(report).unwrap();
        let mut chain = chain([bench.stage.reporting(3, Box::new(report))]);
        let mut batch = batch([1, 2, 3, 4, 5]);
        evaluate(&mut chain, &mut batch);
        assert_eq!(settlements(&batch), settled);
        assert_eq!((counters.failed.get(), counters.faults.get()), (2, 2));
        let [seen, passed, accepted, dropped] = tally(&counters);
        assert_eq!(seen, passed + accepted + dropped);
        let reports: Vec<FaultReport> = reports.try_iter().collect();
        let told = reports.iter().map(|report| {
            let culprit = report.culprit.as_ref().unwrap();
            assert_eq!((report.worker, culprit.became), (3, policy));
            (culprit.packet.id, report.fault.detail.as_str())
        });
        assert_eq!(Vec::from_iter(told), [(2, "packet 2"), (5, "packet 5")]);
    }
}

#[test]
fn too_heavy_a_batch_has_no_culprit_and_comes_in_parts_from_then_on() {
    let asked = Asked::default();
    let calls = asked.clone();
    let bench = Bench::new(1, nothing()).on_proc(move |view, _| {
        calls.note(view.packets.len().to_string());
        if view.packets.len() > 3 {
            return Err(Fault::new(FaultKind::Deadline, "too many"));
        }
        Ok(())
    });
    let counters = bench.counters.clone();
    let mut chain = chain([bench.stage]);
    evaluate(&mut chain, &mut batch(0..8));
    let alone = std::iter::repeat_n("1", 8);
    assert_eq!(
        asked.taken(),
        Vec::from_iter(["8"].into_iter().chain(alone))
    );
    evaluate(&mut chain, &mut batch(0..8));
    let taken = asked.taken();
    assert_eq!(
        taken,
        ["4", "1", "1", "1", "1", "2", "2"],
        "and halved again"
    );
    evaluate(&mut chain, &mut batch(0..3));
    assert_eq!(asked.taken(), ["2", "1"]);
    assert_eq!((counters.heavy.get(), counters.faults.get()), (2, 0));
    assert_eq!(counters.failed.get(), 0);
    assert_eq!(tally(&counters), [19, 19, 0, 0]);
}

#[test]
fn who_fails_too_often_is_not_asked_for_a_while() {
    let bench = fails_on(Bench::new(1, drops()), &[1]).on_terms(|terms| {
        terms.policy.on_quarantine = Some(Fallback::Accept);
        terms.policy.quarantine = Some(Quarantine {
            faults: 3,
            window: Duration::from_secs(600),
            retry: Duration::from_millis(200),
            retry_max: Duration::from_secs(60),
        });
    });
    let counters = bench.counters.clone();
    let mut chain = chain([bench.stage]);
    for _ in 0..3 {
        evaluate(&mut chain, &mut batch([1]));
    }
    assert!(counters.quarantined.load(Ordering::Relaxed));
    let mut waits = batch([2]);
    evaluate(&mut chain, &mut waits);
    assert_eq!(settlements(&waits), [Settlement::Accept]);
    assert_eq!((counters.skipped.get(), counters.faults.get()), (1, 3));
    let stage = chain.stage_mut(StageId(1)).unwrap();
    let told = stage.lifecycle(Lifecycle::Info).unwrap_err().to_string();
    assert!(told.contains("ipqext reset"), "{told}");
    assert!(
        counters.quarantined.load(Ordering::Relaxed),
        "who only looks"
    );
    std::thread::sleep(Duration::from_millis(250));
    let mut tried = batch([2]);
    evaluate(&mut chain, &mut tried);
    assert_eq!(settlements(&tried), [Settlement::Drop]);
    assert!(!counters.quarantined.load(Ordering::Relaxed));
}

#[test]
fn who_has_used_up_its_share_is_passed_over() {
    let bench = Bench::new(1, drops())
        .on_terms(|terms| {
            terms.limits.cpu = Some(Share::from_percent(0.1).unwrap());
            terms.policy.on_overload = Fallback::Drop;
        })
        .on_proc(|_, _| {
            let began = cpu_time();
            while cpu_time() - began < Duration::from_millis(2) {}
            Ok(())
        });
    let counters = bench.counters.clone();
    let mut chain = chain([bench.stage]);
    let mut first = batch([1]);
    evaluate(&mut chain, &mut first);
    assert_eq!(settlements(&first), [Settlement::Accept]);
    let mut second = batch([2, 3]);
    evaluate(&mut chain, &mut second);
    assert_eq!(settlements(&second), [Settlement::Drop; 2]);
    let overloaded = (counters.overloaded.get(), counters.skipped.get());
    assert_eq!((counters.seen.get(), overloaded), (1, (2, 2)));
}

/// It was passed over for ever: what a call takes was measured in calls only.
#[test]
fn who_was_passed_over_for_its_slow_calls_is_asked_again() {
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = slow.clone();
    let bench = Bench::new(1, nothing())
        .on_terms(|terms| terms.limits.batch_deadline = Duration::from_millis(40))
        .on_proc(move |_, _| {
            let began = cpu_time();
            let takes = Duration::from_millis(30);
            while is_slow.load(Ordering::Relaxed) && cpu_time() - began < takes {}
            Ok(())
        });
    let counters = bench.counters.clone();
    let mut chain = chain([bench.stage]);
    for _ in 0..100 {
        evaluate(&mut chain, &mut batch(0..64));
        if counters.overloaded.get() > 0 {
            break;
        }
    }
    assert!(
        counters.overloaded.get() > 0,
        "it takes longer than a batch may"
    );
    slow.store(false, Ordering::Relaxed);
    let seen = counters.seen.get();
    for _ in 0..100 {
        evaluate(&mut chain, &mut batch(0..64));
    }
    assert!(counters.seen.get() > seen);
}
