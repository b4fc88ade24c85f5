//! Who wants to know of each frame, in order.

use std::sync::Arc;

use super::golden::{Differences, Expected, Recorder};
use super::item::Item;
use super::output::{OutputError, Packets};
use super::whole::Written;
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

    /// Tells them of a frame. Who has seen enough is not told any more; if that was the last one,
    /// it is an error.
    pub(super) fn take(
        &mut self,
        item: &Item,
        interfaces: &Arc<Vec<Interface>>,
    ) -> Result<(), OutputError> {
        let packets = match item.survives() {
            true => &mut self.survivors,
            false => &mut self.dropped,
        };
        let told = packets.as_mut().map(|to| to.take(item, interfaces));
        let told = self.goes_on(told, |sinks| match item.survives() {
            true => sinks.survivors = None,
            false => sinks.dropped = None,
        });
        told?;
        let told = self.record.as_mut().map(|record| record.take(item));
        self.goes_on(told, |sinks| sinks.record = None)?;
        match &mut self.expected {
            Some(expected) => expected.take(item),
            None => Ok(()),
        }
    }

    /// Goes on without who has closed its end, if there are others.
    fn goes_on(
        &mut self,
        told: Option<Result<(), OutputError>>,
        forget: impl FnOnce(&mut Self),
    ) -> Result<(), OutputError> {
        match told {
            Some(Err(OutputError::Closed(path))) => {
                forget(self);
                match self.is_empty() {
                    true => Err(OutputError::Closed(path)),
                    false => Ok(()),
                }
            }
            Some(told) => told,
            None => Ok(()),
        }
    }

    /// There are no more. What is not as expected, if something was.
    pub(super) fn finish(
        self,
        interfaces: &Arc<Vec<Interface>>,
    ) -> Result<Option<Differences>, OutputError> {
        let differences = self.expected.map(Expected::finish).transpose()?;
        let packets = [self.survivors, self.dropped].into_iter().flatten();
        let closed = packets.map(|packets| packets.close(interfaces));
        let closed = closed.chain(self.record.map(Recorder::close));
        let mut written = Vec::new();
        let mut left = None;
        for closed in closed {
            match closed {
                Ok(file) => written.push(file),
                Err(OutputError::Closed(path)) => left = Some(path),
                Err(error) => return Err(error),
            }
        }
        let is_last = written.is_empty() && differences.is_none();
        // All of them are whole, or none comes to its place.
        written.into_iter().try_for_each(Written::place)?;
        match left.filter(|_| is_last) {
            Some(path) => Err(OutputError::Closed(path)),
            None => Ok(differences),
        }
    }
}
