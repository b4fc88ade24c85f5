//! Who is shown all that a worker does.

use std::sync::Arc;

use crate::chain::Chain;
use crate::packet::{Batch, Links};

/// Is shown each batch once it is settled, on the worker's thread: packets wait for it. For
/// programs in which none do.
pub trait Witness: Send {
    /// What became of a batch, and, in the chain's journal, who said what.
    fn see(&mut self, batch: &Batch, chain: &Chain, links: &Arc<Links>);
}
