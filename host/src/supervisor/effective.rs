//! The present state of the chain, as a configuration would want it.

use super::Supervisor;
use super::extension::{Extension, Life};
use crate::chain::{Limits, LimitsChange, Policy, PolicyChange, QuarantineChange};
use crate::event::{Reply, Wanted};

impl Supervisor {
    /// The text of a configuration file that has the present state.
    pub(super) fn config(&self) -> Reply {
        Reply::Config(self.config_text())
    }

    /// The same, as it is.
    pub(super) fn config_text(&self) -> String {
        let wanted: Vec<Wanted> = self.extensions.iter().map(wanted).collect();
        (self.configuration.write)(&wanted)
    }
}

/// What would have to be wanted for an extension to be as it is: no more than what is not
/// so by default.
fn wanted(extension: &Extension) -> Wanted {
    let needs = extension.needs();
    let name = extension.name().to_owned();
    Wanted {
        group: extension.terms.group,
        grant: extension.wish,
        policy: policy(extension.terms.policy, Policy::of(needs)),
        limits: limits(extension.terms.limits),
        log: extension.identity.log.get(),
        start: extension.life == Life::Started,
        required: extension.required,
        ..Wanted::new(String::new(), name, extension.version.params.clone())
    }
}

/// A value that is not the usual one.
fn unlike<T: PartialEq>(is: T, usual: T) -> Option<T> {
    (is != usual).then_some(is)
}

fn policy(is: Policy, usual: Policy) -> PolicyChange {
    let quarantine = unlike(is.quarantine, usual.quarantine);
    PolicyChange {
        on_fault: unlike(is.on_fault, usual.on_fault),
        on_quarantine: is.on_quarantine,
        on_overload: unlike(is.on_overload, usual.on_overload),
        rollback: unlike(is.rollback, usual.rollback),
        quarantine: quarantine.map(|quarantine| match quarantine {
            None => QuarantineChange::Off,
            Some(on) => QuarantineChange::On {
                faults: Some(on.faults),
                window: Some(on.window),
                retry: Some(on.retry),
                retry_max: Some(on.retry_max),
            },
        }),
    }
}

fn limits(is: Limits) -> LimitsChange {
    let usual = Limits::default();
    let size = |is: usize, usual: usize| unlike(is as u64, usual as u64);
    LimitsChange {
        batch_deadline: unlike(is.batch_deadline, usual.batch_deadline),
        worker_call_deadline: unlike(is.worker_call_deadline, usual.worker_call_deadline),
        call_deadline: unlike(is.call_deadline, usual.call_deadline),
        memory_bytes: size(is.memory_bytes, usual.memory_bytes),
        table_elements: size(is.table_elements, usual.table_elements),
        parts: size(is.parts, usual.parts),
        host_call_bytes: size(is.host_call_bytes, usual.host_call_bytes),
        state_bytes: size(is.state_bytes, usual.state_bytes),
        log_lines: unlike(is.log_lines, usual.log_lines),
        cpu: unlike(is.cpu, usual.cpu),
    }
}
