//! One stage takes the place of another.

use super::*;

fn heir(of: u64) -> Bench {
    let mut bench = Bench::new(of, nothing());
    bench.stage.edition = 1;
    bench.stage.taking_over();
    bench
}

fn place(stage: Stage) -> Vec<Place> {
    vec![Place {
        id: stage.id,
        terms: stage.terms(),
        incoming: Some(stage),
    }]
}

#[test]
fn who_has_taken_over_does_not_when_it_comes_into_a_chain_again() {
    let mut chain = chain([Bench::new(1, nothing()).stage]);
    let Bench { stage, calls, .. } = heir(1);
    let mut places = place(stage);
    chain.hand_over(&mut places).unwrap();
    let before = chain.rearrange(places);
    assert_eq!(before[0].edition, 0);
    assert_eq!(calls.taken(), ["Start"]);

    let mut home = chain.rearrange(Vec::new());
    let mut places = place(home.remove(0));
    chain.hand_over(&mut places).unwrap();
    chain.rearrange(places);
    assert!(calls.taken().is_empty(), "it is not started twice");
}

#[test]
fn who_does_not_take_over_is_called_no_more_and_the_other_one_goes_on() {
    let old = Bench::new(1, nothing());
    let seen = old.counters.clone();
    let mut chain = chain([old.stage]);
    let Bench {
        stage,
        fails_in_lifecycle,
        ..
    } = heir(1);
    fails_in_lifecycle.store(true, Ordering::Relaxed);
    let mut places = place(stage);
    let refusal = chain.hand_over(&mut places).unwrap_err();
    assert_eq!((&*refusal.name, refusal.call), ("stage-1", "start"));
    let spoiled = places.remove(0).incoming.unwrap();
    assert!(spoiled.is_spoiled() && !spoiled.is_started());
    evaluate(&mut chain, &mut batch([1, 2]));
    assert_eq!(seen.seen.get(), 2);
}

#[test]
fn what_a_retired_stage_does_counts_for_nobody() {
    let Bench {
        mut stage,
        counters,
        fails_in_lifecycle,
        ..
    } = Bench::new(1, nothing());
    stage.retire();
    fails_in_lifecycle.store(true, Ordering::Relaxed);
    assert!(stage.lifecycle(Lifecycle::Stop).is_err());
    assert_eq!(counters.faults.get(), 0);
}
