//! What the chain would do with a packet: a dry run in fresh instances.

use std::sync::Arc;

use super::Supervisor;
use super::extension::Life;
use super::version::Seat;
use crate::chain::{Chain, Lifecycle, Place};
use crate::event::{CommandError, Reply, Sample};
use crate::packet::{Batch, HardwareAddress, Packet, PacketFlags};
use crate::telemetry::{LogLevel, Verbosity};
use crate::trace::Record;

impl Supervisor {
    /// Sends a packet through a chain of its own: the extensions that are started, in
    /// order, with their parameters, groups and grants, each in an instance that has
    /// seen no packet before. Nothing that decides or counts real packets is touched.
    pub(super) fn explain(&self, sample: Sample) -> Result<Reply, CommandError> {
        let now_ns = crate::source::now_ns();
        let packet = self.packet(&sample, now_ns)?;
        let mut chain = Chain::new(self.marks);
        chain.keep_journal(true);
        chain.rearrange(self.dry_places()?);
        let mut batch = Batch::new();
        batch.begin(now_ns);
        batch.push(packet, &sample.bytes);
        chain.evaluate(&mut batch, &self.links);
        let mut record = Record::new();
        record.fill(0, &self.links, &batch, 0, &chain);
        for mut stage in chain.into_stages() {
            for call in [Lifecycle::Stop, Lifecycle::Fini] {
                // It is thrown away, whatever it says.
                let _ = stage.lifecycle(call);
            }
        }
        Ok(Reply::Explained(Box::new(record)))
    }

    fn dry_places(&self) -> Result<Vec<Place>, CommandError> {
        let extensions = self.extensions.iter();
        let started = extensions.filter(|extension| extension.life == Life::Started);
        let places = started.map(|extension| {
            let name = extension.name();
            let (id, log) = (extension.id(), LogLevel::new(Verbosity::OFF));
            let limits = extension.terms.limits;
            let counters = Arc::default();
            let mut stage =
                self.stage(&extension.version, id, Seat::new(0), limits, &log, counters)?;
            stage
                .lifecycle(Lifecycle::Start)
                .map_err(|error| CommandError::lifecycle(name, "start", error))?;
            Ok(Place {
                id,
                terms: extension.terms,
                incoming: Some(stage),
            })
        });
        places.collect()
    }

    fn packet(&self, sample: &Sample, now_ns: u64) -> Result<Packet, CommandError> {
        let protocol = match sample.bytes.first().map(|byte| byte >> 4) {
            Some(4) => 0x0800,
            Some(6) => 0x86dd,
            _ => 0,
        };
        Ok(Packet {
            id: 1,
            mark: sample.mark,
            arrived_ns: now_ns,
            in_link: self.link(sample.in_link.as_deref())?,
            out_link: self.link(sample.out_link.as_deref())?,
            hardware_address: HardwareAddress::default(),
            hook: sample.hook,
            protocol,
            flags: PacketFlags::empty(),
            offset: 0,
            captured_length: 0,
            original_length: sample.bytes.len() as u32,
        })
    }

    /// The index of a device; 0 for none.
    fn link(&self, name: Option<&str>) -> Result<u32, CommandError> {
        let Some(name) = name else { return Ok(0) };
        let mut devices = self.links.devices.iter();
        let link = devices.find(|link| link.name == name);
        let index = link.map(|link| link.index);
        index.ok_or_else(|| CommandError::NoLink {
            name: name.to_owned(),
            known: self
                .links
                .devices
                .iter()
                .map(|link| link.name.clone())
                .collect(),
        })
    }
}
