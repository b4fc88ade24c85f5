//! Who wants to know of each frame, in order.

use std::sync::Arc;

use super::golden::{Differences, Expected, Recorder};
use super::item::Item;
use super::output::{OutputError, Packets, Written};
use crate::capture::Interface;

/// Everybody who wants to know of each frame, in order.
#[derive(Default)]
pub(super) struct Sinks {
    pub(super) survivors: Option<Packets>,
    pub(super) dropped: Option<Packets>,
    pub(super) record: Option<Recorder>,
    pub(super) expected: Option<Expected>,
}

impl Sinks {
    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            survivors,
            dropped,
            record,
            expected,
        } = self;
        survivors.is_none() && dropped.is_none() && record.is_none() && expected.is_none()
    }

    /// Tells them of a frame.
    pub(super) fn take(
        &mut self,
        item: &Item,
        interfaces: &Arc<Vec<Interface>>,
    ) -> Result<(), OutputError> {
        let packets = match item.survives() {
            true => &mut self.survivors,
            false => &mut self.dropped,
        };
        if let Some(packets) = packets {
            packets.take(item, interfaces)?;
        }
        if let Some(record) = &mut self.record {
            record.take(item)?;
        }
        if let Some(expected) = &mut self.expected {
            expected.take(item)?;
        }
        Ok(())
    }

    /// There are no more. What is not as expected, if something was.
    pub(super) fn finish(
        self,
        interfaces: &Arc<Vec<Interface>>,
    ) -> Result<Option<Differences>, OutputError> {
        let differences = self.expected.map(Expected::finish).transpose()?;
        let mut written = Vec::new();
        for packets in [self.survivors, self.dropped].into_iter().flatten() {
            written.push(packets.close(interfaces)?);
        }
        written.extend(self.record.map(Recorder::close).transpose()?);
        // All of them are whole, or none comes to its place.
        written.into_iter().try_for_each(Written::place)?;
        Ok(differences)
    }
}
