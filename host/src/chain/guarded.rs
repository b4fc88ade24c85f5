//! A filter behind a wall: what the host does for one extension cannot take others along.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Fault, FaultKind, Lifecycle, LifecycleError};
use super::limits::Limits;
use super::{Clock, Filter, NotTaken, Recovered, Saved, Usage, View};
use crate::packet::Outcome;

/// A filter whose panics are faults. They are bugs of the host: a sandboxed extension's own
/// are traps.
pub(super) struct Guarded(pub(super) Box<dyn Filter>);

impl Guarded {
    fn call<T, E: From<Fault>>(
        &mut self,
        call: impl FnOnce(&mut dyn Filter) -> Result<T, E>,
    ) -> Result<T, E> {
        let Self(filter) = self;
        guarded(|| call(&mut **filter))
    }
}

/// Does something for one extension in which a panic of the host's own code is a fault. After
/// that it starts over: what the panic left half done is thrown away.
pub(super) fn guarded<T, E: From<Fault>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(fault(&*panic).into()))
}

fn fault(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.as_deref().unwrap_or("no text");
    let detail = format!("a bug in ipqext, and not in the extension: it panicked: {text}");
    Fault::new(FaultKind::HostPanic, detail)
}

impl Filter for Guarded {
    fn proc(
        &mut self,
        view: &View<'_>,
        allowed: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        self.call(|filter| filter.proc(view, allowed, outcome))
    }

    fn recover(&mut self, started: bool, allowed: Option<Duration>) -> Result<Recovered, Fault> {
        self.call(|filter| filter.recover(started, allowed))
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        self.call(|filter| filter.lifecycle(call))
    }

    fn save(&mut self, allowed: Duration) -> Result<Option<Arc<Saved>>, LifecycleError> {
        self.call(|filter| filter.save(allowed))
    }

    fn last_saved(&self) -> Option<Arc<Saved>> {
        self.0.last_saved()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn take_over(
        &mut self,
        saved: Option<Arc<Saved>>,
        starts: bool,
        allowed: Duration,
    ) -> Result<(), NotTaken> {
        self.call(|filter| filter.take_over(saved, starts, allowed))
    }

    fn forget(&mut self) {
        // With it, it has what it was to forget, and nothing else is lost.
        let _ = self.call(|filter| -> Result<(), Fault> {
            filter.forget();
            Ok(())
        });
    }

    fn set_limits(&mut self, limits: &Limits) {
        // Without them it goes on under the old ones, and nothing else is lost.
        let _ = self.call(|filter| -> Result<(), Fault> {
            filter.set_limits(limits);
            Ok(())
        });
    }

    fn rest(&mut self, clock: Clock) -> Result<(), Fault> {
        self.call(|filter| filter.rest(clock))
    }
}
