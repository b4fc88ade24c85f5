//! Sleeps for a minute on every packet and passes it: a host that let it would stall
//! the queue.

use std::thread;
use std::time::Duration;

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Sleeps;

impl Extension for Sleeps {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        thread::sleep(Duration::from_secs(60));
        Verdict::Pass
    }
}

export!(Sleeps);
