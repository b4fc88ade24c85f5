//! A supervisor for tests, over extensions in a directory.

use std::path::Path;
use std::time::Duration;

use ipqext_host::config::Running;
use ipqext_host::daemon;
use ipqext_host::event::Event;
use ipqext_host::registry::Registry;
use ipqext_host::runtime::Runtime;
use ipqext_host::supervisor::{Setup, Supervisor};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// One that is to have so many workers and waits so long for each, and what it is told.
pub(crate) fn supervisor(
    ext_dir: &Path,
    running: Running,
    workers: u32,
    answer_timeout: Duration,
) -> (Supervisor, UnboundedReceiver<Event>) {
    let (events, inbox) = unbounded_channel();
    let supervisor = Supervisor::new(Setup {
        registry: Registry::open(ext_dir).unwrap(),
        runtime: Runtime::new().unwrap(),
        links: Vec::new(),
        marks: u32::MAX.into(),
        workers,
        processors: Vec::new(),
        open: Box::new(|queue, _| panic!("queue {queue} is opened again")),
        configuration: daemon::configuration(running),
        events,
        answer_timeout,
    });
    (supervisor, inbox)
}
