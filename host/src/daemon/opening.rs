//! Queues: opened, or gone on with where another process had them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Config;
use super::service::{Kept, Service};
use crate::packet::Needs;
use crate::source::{OpenError, PacketSource, Parting, Predecessor};
use crate::supervisor::Opener;

/// Opens queues.
pub trait Queues: Send + Sync {
    /// Binds a queue, set up for what is needed of it.
    ///
    /// # Errors
    /// It cannot be had.
    fn open(&self, queue: u16, needs: Needs) -> Result<Box<dyn PacketSource>, OpenError>;

    /// Goes on with a queue that another process bound to a socket.
    ///
    /// # Errors
    /// It cannot be had, or not so.
    fn adopt(
        &self,
        queue: u16,
        _socket: OwnedFd,
        _needs: Needs,
        _predecessor: Predecessor,
    ) -> Result<Box<dyn PacketSource>, OpenError> {
        Err(OpenError::NotAdopted { queue })
    }
}

impl<F> Queues for F
where
    F: Fn(u16, Needs) -> Result<Box<dyn PacketSource>, OpenError> + Send + Sync,
{
    fn open(&self, queue: u16, needs: Needs) -> Result<Box<dyn PacketSource>, OpenError> {
        self(queue, needs)
    }
}

/// Opens a queue again whose source failed. As long as the old socket is kept it has the queue.
pub(super) fn opener(queues: Arc<impl Queues + 'static>, service: Service) -> Box<Opener> {
    Box::new(move |queue, needs| {
        service.forget(std::iter::once(queue));
        let source = queues.open(queue, needs)?;
        service.keep(std::slice::from_ref(&source));
        Ok(source)
    })
}

/// Opens all queues, or goes on with those that were kept when a daemon ended.
pub(super) fn open_all(
    queues: &impl Queues,
    config: &Config,
    needs: Needs,
    service: &Service,
) -> Result<Vec<Box<dyn PacketSource>>, OpenError> {
    let mut kept = service.kept();
    let sources = config
        .queues
        .clone()
        .map(|queue| match kept.remove(&queue) {
            Some(socket) => {
                tracing::info!(queue, "queue was kept by the service manager");
                queues.adopt(queue, socket, needs, Predecessor::Died)
            }
            None => queues.open(queue, needs),
        });
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    service.forget(let_go(queues, kept).into_iter());
    service.keep(&sources);
    Ok(sources)
}

/// Lets packets go of queues that are not served any more: those.
pub(super) fn let_go(queues: &impl Queues, kept: Kept) -> Vec<u16> {
    let numbers = kept.keys().copied().collect();
    for (queue, socket) in kept {
        let adopted = queues.adopt(queue, socket, Needs::default(), Predecessor::Died);
        match adopted.map(|mut source| source.release(Parting::Accept)) {
            Ok(Ok(_)) => tracing::info!(queue, "queue is not served any more"),
            Ok(Err(error)) => tracing::warn!(queue, error = %error, "queue is closed"),
            Err(error) => tracing::warn!(queue, error = %error, "queue is closed"),
        }
    }
    numbers
}
