//! What is told of the daemon, its queues and its extensions.

use super::Supervisor;
use super::extension::{Extension, Life};
use crate::event::{Demanded, ExtensionReport, Reply, StatusReport};
use crate::packet::Edits;
use crate::source::{Demand, Gso};

impl Supervisor {
    pub(super) fn list(&self) -> Vec<ExtensionReport> {
        let extensions = (1..).zip(&self.extensions);
        extensions
            .map(|(position, extension)| extension.report(position))
            .collect()
    }

    pub(super) fn report(&self, place: usize) -> Reply {
        Reply::Extension(Box::new(self.extensions[place].report(place + 1)))
    }

    pub(super) fn status(&self) -> StatusReport {
        StatusReport {
            uptime: self.began.elapsed(),
            ext_dir: self.registry.dir().to_owned(),
            generation: self.generation,
            queues: self.crew.report(&self.demanded()),
        }
    }

    /// For which of the started extensions the queues are set up as they are.
    fn demanded(&self) -> Demanded {
        let started = || {
            let all = self.extensions.iter();
            all.filter(|extension| extension.life == Life::Started)
        };
        // Of those that ask for the same, the first is named.
        let reads = |extension: &&Extension| Demand::of(extension.demands(), Gso::Auto).copy_range;
        let most = started().map(|extension| reads(&extension)).max();
        let named = |extension: &Extension| extension.name().to_owned();
        Demanded {
            copy_range: started()
                .find(|extension| reads(extension) > 0 && Some(reads(extension)) == most)
                .map(named),
            segmented: started()
                .find(|extension| extension.demands().edits != Edits::None)
                .map(named),
        }
    }
}
