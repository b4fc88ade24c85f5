//! Two versions of an extension share its flows, or one is compared with the other.

use super::*;

/// A UDP packet of a flow: its port is its number.
fn of_flow(number: u32) -> (Packet, Vec<u8>) {
    let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend((number as u16).to_be_bytes());
    bytes.extend([0, 53, 0, 8, 0, 0]);
    let packet = Packet {
        original_length: bytes.len() as u32,
        ..packet(number, 0)
    };
    (packet, bytes)
}

fn flows(numbers: std::ops::Range<u32>) -> Batch {
    let mut batch = Batch::new();
    for (packet, bytes) in numbers.map(of_flow) {
        batch.push(packet, &bytes);
    }
    batch
}

fn split() -> [Slice; 2] {
    Slice::split(FlowShare::from_percent(20.0).unwrap(), 1)
}

fn in_share() -> Vec<u32> {
    let [share, _] = split();
    let all = 0..64;
    all.filter(|number| share.contains(&of_flow(*number).1))
        .collect()
}

/// The version that runs, and one on trial, of all flows or a part each.
fn versions(running: Bench, candidate: Bench, fuse: &Fuse) -> Chain {
    let [share, rest] = split();
    let running = running.on_terms(|terms| terms.slice = Some(rest));
    let candidate = candidate.on_terms(|terms| terms.slice = Some(share));
    chain([running.stage, candidate.stage.fused(fuse.clone())])
}

#[test]
fn each_flow_is_of_one_version_whatever_the_other_makes_of_its_packets() {
    let [old, new] = [Asked::default(), Asked::default()];
    let edits = Needs {
        edits: Edits::Any,
        snap_length: u32::MAX,
        ..nothing()
    };
    let (by_old, by_new) = (old.clone(), new.clone());
    // It sends each packet from another port: that must not move it to the other version.
    let running = Bench::new(1, edits).says(move |view, outcome| {
        for (place, packet) in (0..).zip(view.packets) {
            by_old.note(packet.id.to_string());
            outcome.edits.push(Edit {
                packet: place,
                at: 20,
                remove: 2,
                insert: outcome.bytes.len() as u32,
                insert_length: 2,
            });
            outcome.bytes.extend([0xff, packet.id as u8]);
        }
        Ok(())
    });
    let candidate = Bench::new(2, nothing()).on_proc(move |view, _| {
        let ids = view.packets.iter().map(|packet| packet.id.to_string());
        ids.for_each(|id| by_new.note(id));
        Ok(())
    });
    let mut chain = versions(running, candidate, &Fuse::new(|| {}));
    assert_eq!(chain.needs().snap_length, u32::MAX);
    let mut batch = flows(0..64);
    evaluate(&mut chain, &mut batch);
    let share: Vec<String> = in_share().iter().map(u32::to_string).collect();
    assert!(!share.is_empty() && share.len() < 40, "{share:?}");
    assert_eq!(new.taken(), share);
    let rest = (0..64).map(|id: u32| id.to_string());
    let rest: Vec<String> = rest.filter(|id| !share.contains(id)).collect();
    assert_eq!(old.taken(), rest);
}

#[test]
fn flows_of_a_version_that_fails_too_often_go_back_at_once_on_all_workers() {
    let told = Arc::<std::sync::atomic::AtomicU32>::default();
    let count = told.clone();
    let fuse = Fuse::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let rule = Quarantine {
        faults: 2,
        window: Duration::from_secs(600),
        retry: Duration::from_millis(1),
        ..Quarantine::default()
    };
    let mut workers = [1, 2].map(|_| {
        let failing = Bench::new(2, nothing())
            .on_terms(|terms| terms.policy.quarantine = Some(rule))
            .on_proc(|_, _| Err(Fault::new(FaultKind::Trap, "always")));
        let running = Bench::new(1, nothing());
        let seen = [&running, &failing].map(|bench| bench.counters.clone());
        (versions(running, failing, &fuse), seen)
    });
    let share = in_share().len() as u64;
    let (chain, [old, new]) = &mut workers[0];
    evaluate(chain, &mut flows(0..64));
    assert_eq!((old.seen.get(), new.seen.get()), (64 - share, share));
    assert!(fuse.is_blown());
    // Whatever its quarantine lasts.
    std::thread::sleep(Duration::from_millis(5));
    for (chain, [old, new]) in &mut workers {
        let before = (old.seen.get(), new.seen.get());
        for _ in 0..2 {
            let mut batch = flows(0..64);
            evaluate(chain, &mut batch);
        }
        assert_eq!((old.seen.get(), new.seen.get()), (before.0 + 128, before.1));
    }
    assert_eq!(told.load(Ordering::Relaxed), 1, "it is told once");
}

#[test]
fn a_stage_that_gets_a_part_of_the_flows_needs_headers_to_tell_them() {
    let share = Bench::new(1, nothing()).on_terms(|terms| terms.slice = Some(split()[0]));
    assert_eq!(share.stage.needs().snap_length, 128);
    let all = Bench::new(1, nothing());
    assert_eq!(all.stage.needs().snap_length, nothing().snap_length);
}

#[test]
fn what_each_packet_met_at_the_stage_is_copied() {
    let bench = fails_on(Bench::new(2, drops()), &[3]);
    let needs = bench.stage.needs();
    let (copier, mut ear) = copier(needs, needs);
    let marks = Bench::new(1, drops_and_marks()).on_proc(|_, decisions| {
        decisions.push(marked(0, 4, u32::MAX));
        decisions.push(decided(1, Verdict::Drop));
        Ok(())
    });
    let mut stage = bench.stage;
    assert!(stage.copy(Some(Box::new(copier))).is_none());
    let mut chain = chain([marks.stage, stage]);
    let mut batch = batch([1, 2, 3]);
    evaluate(&mut chain, &mut batch);
    chain.hand_copies_over(&batch);
    let copies = ear.take().unwrap();
    let told = copies.packets().iter();
    let told: Vec<_> = told
        .map(|copied| {
            (
                copied.packet.id,
                copied.came_mark,
                copied.packet.mark,
                copied.became,
            )
        })
        .collect();
    let dropped = Became::Said(Fate::Decided(Settlement::Drop));
    assert_eq!(
        told,
        [(1, 0, 4, dropped), (3, 0, 0, Became::Fault(Fallback::Pass))]
    );
    chain.stage_mut(StageId(2)).unwrap().copy(None).unwrap();
    evaluate(&mut chain, &mut batch);
    chain.hand_copies_over(&batch);
    assert!(ear.take().is_none());
}

#[test]
fn what_was_noted_of_a_batch_that_was_not_settled_is_not_told_of_the_next() {
    let bench = Bench::new(2, drops()).on_terms(|terms| terms.group = "1".parse().unwrap());
    let needs = bench.stage.needs();
    let (copier, mut ear) = copier(needs, needs);
    let mut stage = bench.stage;
    assert!(stage.copy(Some(Box::new(copier))).is_none());
    let mut chain = chain([stage]);
    let mut unsettled = batch([1, 2, 3]);
    unsettled.set_mark(2, 1);
    evaluate(&mut chain, &mut unsettled);
    let mut outside = batch([4]);
    evaluate(&mut chain, &mut outside);
    chain.hand_copies_over(&outside);
    assert!(ear.take().is_none());
}
