//! What a batch costs on its way through the chain, without any sandbox: to build it, to
//! select a stage's packets, to apply what was said.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ipqext_host::chain::{
    Chain, Fault, Filter, Lifecycle, LifecycleError, Place, Recovered, Stage, StageId, Terms, View,
};
use ipqext_host::packet::{Batch, Edits, Fallback, Group, Links, Needs, Outcome, Verdicts};

mod packets;

/// Every second packet of the batch has this bit in its mark.
const HALF: Group = Group::Mask(NonZeroU32::MIN);
/// How much of a packet is looked at.
const SNAP_LENGTH: u32 = 128;

/// Passes all packets.
struct Passes;

impl Filter for Passes {
    fn proc(&mut self, _: &View<'_>, _: Duration, _: &mut Outcome) -> Result<(), Fault> {
        Ok(())
    }

    fn recover(&mut self, _: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
        Ok(Recovered::Whole)
    }

    fn lifecycle(&mut self, _: Lifecycle) -> Result<Option<String>, LifecycleError> {
        Ok(None)
    }
}

fn chain(groups: &[Group]) -> Chain {
    let needs = Needs {
        snap_length: SNAP_LENGTH,
        edits: Edits::None,
        verdicts: Verdicts::empty(),
        mark_mask: 0,
        on_fault: Fallback::Pass,
    };
    let places = (0..).map(StageId).zip(groups).map(|(id, &group)| Place {
        id,
        terms: Terms {
            group,
            ..Terms::of(needs)
        },
        incoming: Some(Stage::new(
            id,
            "passes".into(),
            needs,
            Box::new(Passes),
            Arc::default(),
        )),
    });
    let mut chain = Chain::default();
    chain.rearrange(places.collect());
    chain
}

fn evaluations(criterion: &mut Criterion) {
    let chains: [(&str, &[Group]); 4] = [
        ("build only", &[]),
        ("one stage", &[Group::All]),
        ("one stage, half in group", &[HALF]),
        ("eight stages", &[Group::All; 8]),
    ];
    for (name, groups) in chains {
        let mut group = criterion.benchmark_group(format!("evaluate/{name}"));
        for (count, length) in [(1, 64), (8, 64), (64, 64), (64, 1500)] {
            let mut chain = chain(groups);
            let links = Arc::<Links>::default();
            let mut batch = Batch::new();
            let bytes = packets::packet(length);
            group.throughput(Throughput::Elements(count.into()));
            let id = BenchmarkId::new(format!("{length} bytes"), count);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    packets::fill(&mut batch, count, &bytes);
                    chain.evaluate(&mut batch, &links);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, evaluations);
criterion_main!(benches);
