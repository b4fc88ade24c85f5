//! Between the contract, which speaks of batches, and [`Extension`], which speaks of
//! packets. [`export!`](crate::export) and the test kit both go through here.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::exports::ipqext::packet::extension::Guest;
use crate::bindings::ipqext::packet::{host, types as wit};
use crate::bindings::state::exports::ipqext::packet::state;
use crate::extension::{Context, Extension};
use crate::link::{Link, LinkTable};
use crate::log;
use crate::packet::Packet;
use crate::stateful::Stateful;
use crate::verdict::Verdict;

/// An extension that has been initialised, and what the SDK keeps beside it.
pub struct Instance<E> {
    pub(crate) extension: E,
    links: LinkTable,
}

impl<E: Extension> Instance<E> {
    /// Makes and initialises one; `links` tells all devices.
    pub(crate) fn init(
        context: &Context,
        links: impl Fn() -> Vec<Link> + 'static,
    ) -> Result<Self, String> {
        let mut extension = E::default();
        extension.init(context)?;
        Ok(Instance {
            extension,
            links: LinkTable::new(links),
        })
    }

    /// Decides the packets of a batch, one after the other.
    pub(crate) fn proc(&mut self, batch: &wit::Batch) -> wit::Outcome {
        self.links.adopt(batch.links_version);
        let mut outcome = wit::Outcome {
            decisions: Vec::new(),
            edits: Vec::new(),
            bytes: Vec::new(),
        };
        for (index, meta) in (0u32..).zip(&batch.packets) {
            let mut packet =
                Packet::new(meta, captured_bytes(batch, meta), batch.now_ns, &self.links);
            let verdict = self.extension.proc(&mut packet);
            let mark = packet.mark_change();
            packet.tell_edits(index, &mut outcome);
            // What plainly passes is not listed, which is what most packets do.
            if verdict == Verdict::Pass && mark.is_none() {
                continue;
            }
            if outcome.decisions.is_empty() {
                outcome.decisions.reserve_exact(batch.packets.len());
            }
            outcome.decisions.push(wit::Decision {
                packet: index,
                verdict: verdict.into(),
                mark,
            });
        }
        outcome
    }
}

fn captured_bytes<'a>(batch: &'a wit::Batch, packet: &wit::Packet) -> &'a [u8] {
    let start = packet.offset as usize;
    batch
        .bytes
        .get(start..)
        .and_then(|rest| rest.get(..packet.captured_length as usize))
        .expect("the host gives every packet bytes of its batch")
}

/// What [`export!`](crate::export) knows of a crate.
pub struct Manifest {
    /// The name of the crate, as the compiler has it.
    pub crate_name: &'static str,
    /// The version of its package.
    pub version: &'static str,
    /// The description of its package.
    pub description: &'static str,
}

impl Manifest {
    /// The extension's name: that of the `.wasm` file, as the host reads it.
    fn extension_name(&self) -> String {
        let name = self.crate_name;
        name.strip_prefix("ipqext_")
            .unwrap_or(name)
            .replace('_', "-")
    }

    /// The description on one line: in a `Cargo.toml` it may have several.
    fn summary(&self) -> String {
        let words: Vec<&str> = self.description.split_whitespace().collect();
        words.join(" ")
    }
}

/// Where the instance of an exported extension is kept.
pub type Slot<E> = RefCell<Option<Instance<E>>>;

/// An extension that [`export!`](crate::export) was given.
pub trait Exported: Extension {
    /// What its package says of it.
    const MANIFEST: Manifest;

    /// Where its instance is kept; empty before `init` and after `fini`.
    fn slot() -> &'static LocalKey<Slot<Self>>;
}

/// The component that an exported extension makes.
pub struct Component<E>(PhantomData<E>);

impl<E: Exported> Guest for Component<E> {
    fn describe() -> wit::Description {
        wit::Description {
            name: E::MANIFEST.extension_name(),
            version: E::MANIFEST.version.to_owned(),
            summary: E::MANIFEST.summary(),
            needs: E::NEEDS.into(),
        }
    }

    fn init(context: wit::Context) -> Result<(), String> {
        log::begin_call();
        let instance = Instance::init(&context.into(), host_links)?;
        E::slot().set(Some(instance));
        Ok(())
    }

    fn fini() -> Result<(), String> {
        log::begin_call();
        let mut instance = E::slot().take().unwrap_or_else(|| not_initialised("fini"));
        instance.extension.fini()
    }

    fn start() -> Result<(), String> {
        with_instance::<E, _>("start", |instance| instance.extension.start())
    }

    fn stop() -> Result<(), String> {
        with_instance::<E, _>("stop", |instance| instance.extension.stop())
    }

    fn reset() -> Result<(), String> {
        with_instance::<E, _>("reset", |instance| instance.extension.reset())
    }

    fn info() -> Option<String> {
        with_instance::<E, _>("info", |instance| instance.extension.info())
    }

    fn help() -> Option<String> {
        E::help()
    }

    fn proc(batch: wit::Batch) -> wit::Outcome {
        with_instance::<E, _>("proc", |instance| instance.proc(&batch))
    }
}

impl<E: Exported + Stateful> state::Guest for Component<E> {
    fn save() -> Result<Vec<u8>, String> {
        with_instance::<E, _>("save", |instance| instance.extension.save())
    }

    fn restore(version: String, parts: Vec<Vec<u8>>) -> Result<(), String> {
        with_instance::<E, _>("restore", |instance| {
            instance.extension.restore(&version, parts)
        })
    }
}

fn host_links() -> Vec<Link> {
    host::links().into_iter().map(Link::from).collect()
}

fn with_instance<E: Exported, R>(function: &str, call: impl FnOnce(&mut Instance<E>) -> R) -> R {
    log::begin_call();
    E::slot().with_borrow_mut(|slot| {
        let instance = slot.as_mut().unwrap_or_else(|| not_initialised(function));
        call(instance)
    })
}

fn not_initialised(function: &str) -> ! {
    panic!("the host called `{function}` of an extension that is not initialised")
}

#[cfg(test)]
#[path = "component_tests.rs"]
mod tests;
