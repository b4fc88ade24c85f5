//! Complains when it is stopped.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct RefusesStop;

impl Extension for RefusesStop {
    const NEEDS: Needs = Needs::none();

    fn stop(&mut self) -> Result<(), String> {
        Err("this extension refuses to stop".to_owned())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(RefusesStop);
