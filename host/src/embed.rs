//! The sandbox for other programs: a chain of extensions that decides the packets of any packet
//! engine, without a kernel queue, a daemon or a privilege. The developers' commands (`replay`,
//! `diff`, `test`) are such programs.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::chain::{self, FaultReport, Journal, Lifecycle, LifecycleError, StageId};
use crate::packet::{Batch, Fate, Links, MarkRules, Needs};
use crate::runtime::Description;
use crate::telemetry::StageCounters;

mod builder;
mod extension;
mod loaded;

pub use builder::{BuildError, ChainBuilder};
pub use extension::Extension;
pub use loaded::{Loaded, Seat};

/// Extensions in order, which decide packets in batches, as the daemon has them do: under the
/// same limits, held to what they declare, and with their faults contained.
///
/// It belongs to one thread at a time; for several, make one for each
/// ([`ChainBuilder::load`]).
///
/// ```
/// use ipqext_host::packet::{Batch, Packet, Settlement};
/// use ipqext_host::{Chain, Extension};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("drops-first.wasm");
/// # std::fs::write(&path, ipqext_tests::assembled::module(ipqext_tests::assembled::Misdeed::DropsFirst))?;
///
/// let mut chain = Chain::builder()
///     .extension(Extension::file(&path).params(""))
///     .build()?;
///
/// // A batch has up to 64 packets, each from its IP header on.
/// let echo_request = b"\x45\0\0\x1c\0\0\0\0\x40\x01\0\0\xc0\0\x02\x01\xc0\0\x02\x02\x08\0\xf7\xff\0\0\0\0";
/// let packet = Packet {
///     protocol: 0x0800,
///     original_length: echo_request.len() as u32,
///     ..Packet::default()
/// };
/// let mut batch = Batch::new();
/// batch.begin(1_700_000_000_000_000_000);
/// batch.push(packet, echo_request);
///
/// chain.evaluate(&mut batch);
/// let entry = &batch.entries()[0];
/// assert_eq!(entry.settlement(), Settlement::Drop);
/// assert_eq!(chain.author(&batch, 0), Some("drops-first"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chain {
    chain: chain::Chain,
    links: Arc<Links>,
    members: Vec<Member>,
    faults: Receiver<FaultReport>,
}

/// One extension of a chain.
pub struct Member {
    /// What it says of itself.
    pub description: Description,
    /// What it did.
    pub counters: Arc<StageCounters>,
}

impl Chain {
    /// Begins to build one.
    pub fn builder() -> ChainBuilder {
        ChainBuilder::default()
    }

    /// One of what was set up for a seat.
    fn of(seat: Seat, links: Arc<Links>, marks: MarkRules, timing: chain::Timing) -> Self {
        let mut chain = chain::Chain::new(marks).timed(timing);
        chain.keep_journal(true);
        chain.rearrange(seat.places);
        Self {
            chain,
            links,
            members: seat.members,
            faults: seat.faults,
        }
    }

    /// Decides the packets of a batch. What nobody decides is accepted; a packet that was decided
    /// before is given to no extension.
    ///
    /// Afterwards [`Batch::entries`] have each packet's settlement, mark and, if they were
    /// altered, new bytes: headers, lengths and checksums agree then.
    pub fn evaluate(&mut self, batch: &mut Batch) {
        self.chain.evaluate(batch, &self.links);
        self.chain.rest();
    }

    /// Who said what of the batch that was evaluated last.
    pub fn journal(&self) -> &Journal {
        self.chain.journal()
    }

    /// The extension that decided a packet of the batch that was evaluated last; `None` if it
    /// came to the end of the chain.
    pub fn author(&self, batch: &Batch, place: usize) -> Option<&str> {
        match batch.entries().get(place)?.fate {
            Fate::Undecided => None,
            // Who decides is the last to be asked.
            Fate::Decided(_) => {
                let note = self.journal().of(place).last()?;
                self.chain.name(note.stage).map(|name| &**name)
            }
        }
    }

    /// The chain itself, and the devices.
    pub(crate) fn parts(&self) -> (&chain::Chain, &Arc<Links>) {
        (&self.chain, &self.links)
    }

    /// The extensions, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The least of each packet that serves all extensions.
    pub fn needs(&self) -> Needs {
        self.chain.needs()
    }

    /// The faults since this was asked last: at most 1,024, later ones are counted only
    /// ([`Member::counters`]). Of a chain that goes by the machine's time a flood is thinned out,
    /// see [`FaultReport::untold`].
    pub fn take_faults(&mut self) -> Vec<FaultReport> {
        self.faults.try_iter().collect()
    }

    /// Makes a lifecycle call of an extension, by its place in the chain: `info` gives what it
    /// tells of its state.
    ///
    /// # Errors
    /// It refused, or failed.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn lifecycle(
        &mut self,
        place: usize,
        call: Lifecycle,
    ) -> Result<Option<String>, LifecycleError> {
        let stage = self.chain.stage_mut(StageId(place as u64));
        stage
            .expect("the place is one of the chain")
            .lifecycle(call)
    }

    /// Tells the extensions of other devices, by whose indexes packets name them.
    pub fn set_links(&mut self, links: Links) {
        self.links = Arc::new(links);
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for mut stage in std::mem::take(&mut self.chain).into_stages() {
            for call in [Lifecycle::Stop, Lifecycle::Fini] {
                // It is thrown away, whatever it says.
                let _ = stage.lifecycle(call);
            }
        }
    }
}
