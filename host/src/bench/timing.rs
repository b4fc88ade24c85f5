//! How long a packet takes.

use std::time::{Duration, Instant};

use super::BenchError;
use super::samples::{Samples, Spread};
use super::subject::{Purpose, Seat, Subject};
use super::workload::{Point, Workload};
use crate::packet::Batch;

/// How many batches are measured in one go, at most,
const BATCHES_MAX: usize = 64;
/// how many bytes they may have, so that they stay in a processor's cache as the daemon's one
/// batch does,
const BYTES_MAX: usize = 256 << 10;
/// and how long that may take: long to the clock, and short to the scheduler.
const SAMPLE: Duration = Duration::from_micros(200);
/// How many samples there are at least, and at most.
const ROUNDS: std::ops::Range<usize> = 3..2000;

/// What is left of an extension's chain when all packets went through.
pub(super) struct Remains {
    /// The bytes of its memories.
    pub(super) memory_bytes: u64,
    /// The packets that it was not given.
    pub(super) skipped: u64,
}

/// What a packet takes, of each extension at each point, and what is left then.
pub(super) fn time(
    subjects: &[Subject],
    workload: &Workload,
    time: Duration,
) -> Result<(Vec<Vec<Spread>>, Vec<Remains>), BenchError> {
    let seats = subjects.iter().map(|subject| subject.seat(Purpose::Time));
    let mut seats = seats.collect::<Result<Vec<_>, _>>()?;
    let mut series: Vec<Series> = workload
        .points()
        .into_iter()
        .map(|point| Series::new(workload, point, seats.len()))
        .collect();
    let mut batches: Vec<Batch> = (0..BATCHES_MAX).map(|_| Batch::new()).collect();
    let ends = Instant::now() + time;
    for round in 0..ROUNDS.end {
        for series in &mut series {
            if round > ROUNDS.start && Instant::now() >= ends {
                break;
            }
            series.sample(&mut seats, workload, &mut batches, round)?;
        }
        if round > ROUNDS.start && Instant::now() >= ends {
            break;
        }
    }
    let times = (0..seats.len()).map(|seat| {
        let of_seat = series.iter_mut();
        let of_seat = of_seat.map(|series| std::mem::take(&mut series.samples[seat]).spread());
        of_seat.collect()
    });
    let times = times.collect();
    let remains = seats.iter_mut().map(|seat| Remains {
        memory_bytes: seat.usage().memory_bytes,
        skipped: seat.counters.skipped.get(),
    });
    Ok((times, remains.collect()))
}

/// What is measured at one point.
struct Series {
    point: Point,
    /// How many batches are measured in one go.
    repeats: usize,
    /// How many batches came so far.
    number: u64,
    /// Those of each extension.
    samples: Vec<Samples>,
}

impl Series {
    fn new(workload: &Workload, point: Point, seats: usize) -> Self {
        let fit = BYTES_MAX / workload.batch_bytes(point).max(1);
        Self {
            point,
            repeats: fit.clamp(1, BATCHES_MAX),
            number: 0,
            samples: vec![Samples::default(); seats],
        }
    }

    /// Takes one sample of each extension, another one first each time. Those of the first round
    /// do not count: memory grows in it.
    fn sample(
        &mut self,
        seats: &mut [Seat],
        workload: &Workload,
        batches: &mut [Batch],
        round: usize,
    ) -> Result<(), BenchError> {
        let mut longest = Duration::ZERO;
        for turn in 0..seats.len() {
            let at = (turn + round) % seats.len();
            let seat = &mut seats[at];
            for (batch, number) in batches[..self.repeats].iter_mut().zip(self.number..) {
                seat.fill(batch, workload, self.point, number);
            }
            let began = Instant::now();
            for batch in &mut batches[..self.repeats] {
                seat.evaluate(batch);
            }
            let took = began.elapsed();
            seat.check(workload, self.point)?;
            longest = longest.max(took);
            if round > 0 {
                self.samples[at].put(took, self.repeats * self.point.batch);
            }
        }
        self.number += self.repeats as u64;
        if longest > 2 * SAMPLE && round < ROUNDS.start {
            let share = SAMPLE.as_secs_f64() / longest.as_secs_f64();
            self.repeats = ((self.repeats as f64 * share) as usize).max(1);
        }
        Ok(())
    }
}
