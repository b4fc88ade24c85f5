//! A shadow: another version of an extension is given the packets that the running one was
//! given, once their verdicts are on their way, and what it says of them is compared and
//! thrown away.
//!
//! It has a thread of its own, which gives way to all others, and looks for copies now and then, so
//! that no worker wakes anybody for it. Where it is too slow packets are not compared, and
//! counted; where it fails too often it is dropped.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::chain::{Chain, Copies, Ear, Fuse, Lifecycle, Place, Stage, StageId, Terms};
use crate::packet::{Batch, MarkRules};

mod compare;
mod results;

use compare::compare;
pub use compare::{Kind, Said, word};
pub use results::{Difference, Opinion, Results};

/// How long it sleeps when there is nothing to compare. As many batches as come meanwhile
/// have to fit between it and a worker.
const LOOK: Duration = Duration::from_millis(1);
/// How long its end is waited for. Later it ends by itself.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many batches of one worker it compares before it looks at the next.
const TURN: usize = 64;

/// One worker's part of it.
pub struct Side {
    /// The kernel queue that it serves.
    pub queue: u16,
    /// The candidate, started.
    pub stage: Stage,
    /// The terms that it begins with.
    pub terms: Terms,
    /// Those of the running version when it began.
    pub running: Terms,
    /// Where the packets come from.
    pub ear: Ear,
}

/// What all sides have in common.
pub struct Setup {
    /// What may be done with packet marks.
    pub marks: MarkRules,
    /// Ends it when the candidate failed too often.
    pub fuse: Fuse,
}

/// A shadow, as long as it is there.
pub struct Shadow {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    results: Mutex<Results>,
    is_over: AtomicBool,
}

impl Shared {
    fn results(&self) -> MutexGuard<'_, Results> {
        // What a panic left half counted is a count.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shadow {
    /// Begins to compare.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(sides: Vec<Side>, setup: Setup) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("ipqext-shadow".to_owned())
            .spawn(move || serve(sides, &setup, &of_thread))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What it has found so far.
    pub fn results(&self) -> Results {
        self.shared.results().clone()
    }

    /// Has it end, and gives what it has found. What the candidate is in the middle of is
    /// waited for a little only: the thread may have to wait for a processor.
    pub fn end(mut self) -> Results {
        self.finish();
        self.results()
    }

    fn finish(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        if thread.is_finished() {
            // Its panics are caught.
            let _ = thread.join();
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One worker's part of it, at work.
struct Work {
    queue: u16,
    chain: Chain,
    id: StageId,
    terms: Terms,
    running: Terms,
    ear: Ear,
    batch: Batch,
}

fn serve(sides: Vec<Side>, setup: &Setup, shared: &Shared) {
    give_way();
    let works = sides.into_iter().map(|side| Work::new(side, setup.marks));
    let mut works: Vec<Work> = works.collect();
    let compared = catch_unwind(AssertUnwindSafe(|| {
        while !shared.is_over.load(Ordering::Relaxed) && !setup.fuse.is_blown() {
            let mut is_idle = true;
            for work in &mut works {
                is_idle &= !work.turn(setup, shared);
            }
            if is_idle {
                std::thread::sleep(LOOK);
            }
        }
    }));
    if let Err(panic) = compared {
        let text = panic_text(&*panic);
        tracing::error!(error = text, "a bug in ipqext: a shadow panicked and ends");
        setup.fuse.blow();
    }
    for work in works {
        work.finish();
    }
}

impl Work {
    fn new(side: Side, marks: MarkRules) -> Self {
        let Side {
            queue,
            stage,
            terms,
            running,
            ear,
        } = side;
        let id = stage.id;
        let mut chain = Chain::new(marks);
        chain.keep_journal(true);
        chain.rearrange(vec![Place {
            id,
            terms,
            incoming: Some(stage),
        }]);
        Self {
            queue,
            chain,
            id,
            terms,
            running,
            ear,
            batch: Batch::new(),
        }
    }

    /// Compares some of what waits; false if nothing does.
    fn turn(&mut self, setup: &Setup, shared: &Shared) -> bool {
        let mut count = 0;
        while count < TURN
            && !setup.fuse.is_blown()
            && let Some(copies) = self.ear.take()
        {
            self.compare(&copies, shared);
            self.ear.give_back(copies);
            count += 1;
        }
        shared.results().lost += self.ear.take_lost();
        count > 0
    }

    fn compare(&mut self, copies: &Copies, shared: &Shared) {
        self.adopt(copies.terms);
        self.batch.begin(copies.now_ns);
        // Whom the running version was not given its state does not know of either.
        let given = copies.packets().iter().filter(|copied| copied.is_given());
        let given: Vec<_> = given.collect();
        for (place, copied) in given.iter().enumerate() {
            let mut packet = copied.packet;
            packet.mark = copied.came_mark;
            self.batch.push(packet, copies.bytes_of(copied));
            if copied.packet.mark != copied.came_mark {
                self.batch.set_mark(place, copied.packet.mark);
            }
        }
        self.chain.evaluate(&mut self.batch, &copies.links);
        self.chain.rest();
        let mut results = shared.results();
        results.skipped += (copies.packets().len() - given.len()) as u64;
        for (place, copied) in given.into_iter().enumerate() {
            let running = Said::by_running(copies, copied);
            let candidate = Said::by_candidate(&self.batch, place, &self.chain);
            results.add(compare(&running, &candidate), || Difference {
                queue: self.queue,
                links: copies.links.clone(),
                packet: copied.packet,
                bytes: copies.bytes_of(copied).into(),
                running: Opinion::of(&running, None),
                candidate: Opinion::of(&candidate, self.chain.journal().fault(0, place)),
            });
        }
    }

    /// Follows the terms of the running version, as they change.
    fn adopt(&mut self, running: Terms) {
        if running == self.running {
            return;
        }
        self.terms = self.terms.following(&self.running, &running);
        self.running = running;
        if let Some(stage) = self.chain.stage_mut(self.id) {
            stage.set_terms(self.terms);
        }
    }

    /// Nothing is copied any more, and the candidate is finished.
    fn finish(self) {
        self.ear.close();
        for mut stage in self.chain.into_stages() {
            for call in [Lifecycle::Stop, Lifecycle::Fini] {
                // It is thrown away, whatever it says.
                let _ = stage.lifecycle(call);
            }
        }
    }
}

/// Has workers go first: a thread of this policy gives way as soon as another wants its
/// processor, where one that is only nicer goes on to the end of its slice (sched(7)).
fn give_way() {
    let parameters = nix::libc::sched_param { sched_priority: 0 };
    // SAFETY: it reads the parameters, and nothing else. 0 is the calling thread.
    let done = unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_IDLE, &parameters) };
    if done != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(error = %error, "a shadow cannot be made less important than workers");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

#[cfg(test)]
mod tests;
