use super::*;
use crate::packet::Settlement;

const WHOLE: Needs = Needs {
    snap_length: PACKET_BYTES_MAX as u32,
    edits: Edits::None,
    verdicts: crate::packet::Verdicts::empty(),
    mark_mask: 0,
    on_fault: Fallback::Pass,
};

fn batch(packets: &[&[u8]]) -> Batch {
    let mut batch = Batch::new();
    batch.begin(9);
    for (id, bytes) in (0..).zip(packets) {
        let packet = Packet {
            id,
            original_length: bytes.len() as u32,
            ..Packet::default()
        };
        batch.push(packet, bytes);
    }
    batch
}

fn visited(copier: &mut Copier, batch: &mut Batch, visit: impl FnOnce(&mut Batch, &mut Copies)) {
    let copies = copier.begin(batch, &Arc::default(), Terms::default());
    if let Some(mut copies) = copies {
        visit(batch, &mut copies);
        copier.end(copies, batch);
    }
}

#[test]
fn what_became_of_each_packet_is_copied_with_the_packet_as_it_came() {
    let (mut copier, mut ear) = copier(WHOLE, WHOLE);
    let mut batch = batch(&[b"gone", b"drop", b"edit", b"fail"]);
    batch.decide(0, Settlement::Accept);
    visited(&mut copier, &mut batch, |batch, copies| {
        batch.decide(1, Settlement::Drop);
        batch.alter(2, b"edited");
        batch.set_mark(2, 5);
        copies.note(3, Saying::Fault(Fallback::Pass));
    });
    assert!(ear.take().is_none(), "not before it is settled");
    // The next stage's doing is not this one's.
    batch.alter(1, b"later");
    copier.hand_over(&batch);
    let copies = ear.take().unwrap();
    let told: Vec<_> = copies
        .packets()
        .iter()
        .map(|copied| {
            let (bytes, altered) = (copies.bytes_of(copied), copies.altered(copied));
            (
                bytes,
                altered,
                copied.packet.mark,
                copied.mark,
                copied.became,
            )
        })
        .collect();
    let said = Became::Said;
    assert_eq!(
        told,
        [
            (
                &b"drop"[..],
                None,
                0,
                0,
                said(Fate::Decided(Settlement::Drop))
            ),
            (b"edit", Some(&b"edited"[..]), 0, 5, said(Fate::Undecided)),
            (b"fail", None, 0, 0, Became::Fault(Fallback::Pass)),
        ]
    );
    assert_eq!((copies.now_ns, ear.take_lost()), (9, 0));
}

#[test]
fn no_more_is_copied_than_is_needed() {
    let three = Needs {
        snap_length: 3,
        ..WHOLE
    };
    let (mut copier, mut ear) = copier(Needs::default(), three);
    let mut batch = batch(&[b"abcdef"]);
    visited(&mut copier, &mut batch, |_, _| {});
    copier.hand_over(&batch);
    let copies = ear.take().unwrap();
    assert_eq!(copies.bytes_of(&copies.packets()[0]), b"abc");
    assert_eq!(copies.packets()[0].packet.original_length, 6);
}

#[test]
fn who_compares_too_slowly_or_no_more_costs_nothing_but_a_count() {
    let (mut copier, mut ear) = copier(WHOLE, WHOLE);
    let mut serve = || {
        let mut batch = batch(&[b"ab", b"cd"]);
        visited(&mut copier, &mut batch, |_, _| {});
        copier.hand_over(&batch);
    };
    (0..BUFFERS + 3).for_each(|_| serve());
    assert_eq!(ear.take_lost(), 6);
    let first = ear.take().unwrap();
    ear.give_back(first);
    serve();
    assert_eq!(ear.take_lost(), 0);
    ear.close();
    let mut waiting = 0;
    while let Some(copies) = ear.take() {
        ear.give_back(copies);
        waiting += 1;
    }
    assert_eq!(waiting, BUFFERS);
    serve();
    assert!(ear.take().is_none());
    assert_eq!(ear.take_lost(), 0);
}

#[test]
fn a_batch_that_was_not_evaluated_to_its_end_is_none() {
    let (mut copier, mut ear) = copier(WHOLE, WHOLE);
    let mut first = batch(&[b"ab"]);
    visited(&mut copier, &mut first, |_, _| {});
    let mut second = batch(&[b"cd"]);
    visited(&mut copier, &mut second, |_, _| {});
    copier.hand_over(&second);
    let copies = ear.take().unwrap();
    assert_eq!(copies.bytes_of(&copies.packets()[0]), b"cd");
    assert!(ear.take().is_none());
    assert_eq!(ear.take_lost(), 1);
}

#[test]
fn a_buffer_that_is_full_takes_no_more() {
    let (mut copier, mut ear) = copier(WHOLE, WHOLE);
    let large = vec![1; PACKET_BYTES_MAX];
    let packets: Vec<&[u8]> = std::iter::repeat_n(&large[..], BATCH_MAX).collect();
    let mut batch = batch(&packets);
    visited(&mut copier, &mut batch, |_, _| {});
    copier.hand_over(&batch);
    let kept = ear.take().unwrap().packets().len();
    assert_eq!(kept, BUFFER_BYTES_MAX / PACKET_BYTES_MAX);
    assert_eq!(ear.take_lost(), (BATCH_MAX - kept) as u64);
}

#[test]
fn all_that_waits_is_bounded() {
    let (mut copier, mut ear) = copier(WHOLE, WHOLE);
    let large = vec![1; BUFFER_BYTES_MAX / 16];
    let packets: Vec<&[u8]> = std::iter::repeat_n(&large[..], 16).collect();
    let batches = WAITING_BYTES_MAX / BUFFER_BYTES_MAX;
    let mut serve = || {
        let mut batch = batch(&packets);
        visited(&mut copier, &mut batch, |_, _| {});
        copier.hand_over(&batch);
    };
    (0..batches + 2).for_each(|_| serve());
    assert_eq!(ear.take_lost(), 32);
    let first = ear.take().unwrap();
    assert_eq!(first.packets().len(), 16);
    ear.give_back(first);
    serve();
    assert_eq!(ear.take_lost(), 0);
    let kept = std::iter::from_fn(|| ear.take());
    let kept: usize = kept.map(|copies| copies.packets().len()).sum();
    assert_eq!(kept, batches * 16);
}
