use super::*;
use crate::chain::{Fault, FaultKind, Filter, LifecycleError, Quarantine, Recovered, View, copier};
use crate::packet::{Decision, Fate, Needs, Outcome, Packet, Settlement, Verdict, Verdicts};

/// What a version says of a packet; `None` if it fails on it.
type Says = fn(u32) -> Option<Verdict>;

struct Scripted(Says);

impl Filter for Scripted {
    fn proc(&mut self, view: &View<'_>, _: Duration, outcome: &mut Outcome) -> Result<(), Fault> {
        for (place, packet) in (0..).zip(view.packets) {
            let Some(verdict) = (self.0)(packet.id) else {
                return Err(Fault::new(FaultKind::Trap, "as planned"));
            };
            outcome.decisions.push(Decision {
                packet: place,
                verdict,
                mark: None,
            });
        }
        Ok(())
    }

    fn recover(&mut self, _: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
        Ok(Recovered::Whole)
    }

    fn lifecycle(&mut self, _: Lifecycle) -> Result<Option<String>, LifecycleError> {
        Ok(None)
    }
}

const NEEDS: Needs = Needs {
    snap_length: 20,
    edits: crate::packet::Edits::None,
    verdicts: Verdicts::DROP,
    mark_mask: 0,
    on_fault: crate::packet::Fallback::Pass,
};

fn stage(says: Says) -> Stage {
    let mut stage = Stage::new(
        StageId(1),
        "scripted".into(),
        NEEDS,
        Box::new(Scripted(says)),
        Arc::default(),
    );
    // Filters of tests are quick, but their machine may be slow.
    let mut terms = stage.terms();
    terms.limits.batch_deadline = Duration::from_secs(60);
    stage.set_terms(terms);
    stage.lifecycle(Lifecycle::Start).unwrap();
    stage
}

/// A worker's chain of the version that runs, and a shadow beside it.
struct Trial {
    chain: Chain,
    shadow: Shadow,
    fuse: Fuse,
    ended: Arc<AtomicBool>,
}

impl Trial {
    fn begin(running: Says, candidate: Says) -> Self {
        let mut running = stage(running);
        let terms = running.terms();
        let (copier, ear) = copier(NEEDS, NEEDS);
        running.copy(Some(Box::new(copier)));
        let mut chain = Chain::default();
        chain.rearrange(vec![Place {
            id: StageId(1),
            terms,
            incoming: Some(running),
        }]);
        let ended = Arc::<AtomicBool>::default();
        let tells = ended.clone();
        let fuse = Fuse::new(move || tells.store(true, Ordering::Relaxed));
        let side = Side {
            queue: 3,
            stage: stage(candidate).fused(fuse.clone()),
            terms: Terms::of(NEEDS).on_trial(&terms),
            running: terms,
            ear,
        };
        let setup = Setup {
            marks: MarkRules::default(),
            fuse: fuse.clone(),
        };
        Self {
            chain,
            shadow: Shadow::begin(vec![side], setup).unwrap(),
            fuse,
            ended,
        }
    }

    fn serve(&mut self, ids: std::ops::Range<u32>) -> Vec<Settlement> {
        let mut batch = Batch::new();
        batch.begin(7);
        for id in ids {
            let packet = Packet {
                id,
                original_length: 20,
                ..Packet::default()
            };
            batch.push(packet, &[id as u8; 20]);
        }
        self.chain.evaluate(&mut batch, &Arc::default());
        self.chain.hand_copies_over(&batch);
        let entries = batch.entries().iter();
        entries.map(|entry| entry.settlement()).collect()
    }

    /// What is known once this holds.
    fn once(&self, holds: impl Fn(&Results) -> bool) -> Results {
        let began = Instant::now();
        loop {
            let results = self.shadow.results();
            if holds(&results) {
                return results;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{results:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn exactly_the_packets_about_which_they_differ_are_told() {
    let passes: Says = |_| Some(Verdict::Pass);
    let drops_some: Says = |id| {
        let drops = id.is_multiple_of(100);
        Some(if drops { Verdict::Drop } else { Verdict::Pass })
    };
    let mut trial = Trial::begin(passes, drops_some);
    for first in (0..1000).step_by(50) {
        let settled = trial.serve(first..first + 50);
        assert!(settled.iter().all(|settled| *settled == Settlement::Accept));
    }
    let results = trial.once(|results| results.compared == 1000);
    assert_eq!((results.agreed, results.differing), (990, 10));
    assert_eq!((results.lost, results.skipped), (0, 0));
    let kept = results.kept.iter().map(|difference| {
        assert_eq!(*difference.bytes, [difference.packet.id as u8; 20]);
        assert_eq!(difference.queue, 3);
        difference.packet.id
    });
    assert_eq!(Vec::from_iter(kept), Vec::from_iter((0..1000).step_by(100)));
    let kind = Kind {
        running: crate::chain::Became::Said(Fate::Undecided),
        candidate: crate::chain::Became::Said(Fate::Decided(Settlement::Drop)),
        mark: false,
        bytes: false,
    };
    assert_eq!(results.kinds, [(kind, 10)]);
    assert!(!trial.fuse.is_blown());
    assert_eq!(trial.shadow.end().compared, 1000);
}

#[test]
fn a_candidate_that_fails_too_often_is_dropped_and_nothing_is_copied_any_more() {
    let drops: Says = |_| Some(Verdict::Drop);
    let mut trial = Trial::begin(drops, |_| None);
    let faults = Quarantine::default().faults;
    for id in 0..faults {
        assert_eq!(trial.serve(id..id + 1), [Settlement::Drop]);
    }
    let results = trial.once(|_| trial.ended.load(Ordering::Relaxed));
    assert!(results.differing >= u64::from(faults) - 1, "{results:?}");
    let told = results.kept[0].candidate.fault.as_deref().unwrap();
    assert!(told.contains("as planned"), "{told}");
    trial.shadow.finish();
    let before = trial.shadow.results().compared;
    trial.serve(0..64);
    assert_eq!(trial.shadow.results().compared, before);
}

#[test]
fn what_the_running_version_was_not_given_the_other_is_not_either() {
    let drops: Says = |_| Some(Verdict::Drop);
    let mut trial = Trial::begin(drops, drops);
    let mut batch = Batch::new();
    // Cut shorter than it needs.
    let packet = Packet {
        original_length: 20,
        ..Packet::default()
    };
    batch.push(packet, &[1; 19]);
    trial.chain.evaluate(&mut batch, &Arc::default());
    trial.chain.hand_copies_over(&batch);
    trial.serve(1..3);
    let results = trial.once(|results| results.compared == 2);
    assert_eq!((results.skipped, results.agreed), (1, 2));
}
