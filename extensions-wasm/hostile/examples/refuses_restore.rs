//! Counts packets, panics on a poisoned one, and saves a count that it then refuses to
//! take up; with `at=start` it takes it up, and refuses to start then.

use ipqext_sdk::prelude::*;

/// What a packet's UDP payload starts with that is too much for it.
const POISON: &[u8] = b"poison";

#[derive(Default)]
struct RefusesRestore {
    count: u64,
    at_start: bool,
    is_restored: bool,
}

impl Extension for RefusesRestore {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.at_start = context.params().get("at") == Some("start");
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        match self.is_restored {
            true => Err("this extension will not start with what it saved".to_owned()),
            false => Ok(()),
        }
    }

    fn info(&self) -> Option<String> {
        Some(format!("count={}", self.count))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.count += 1;
        let is_udp = packet.udp().is_some();
        if is_udp
            && packet
                .payload()
                .is_some_and(|bytes| bytes.starts_with(POISON))
        {
            panic!("packet {} is poisoned", packet.id());
        }
        Verdict::Pass
    }
}

impl Stateful for RefusesRestore {
    fn save(&self) -> Result<Vec<u8>, String> {
        Ok(self.count.to_le_bytes().to_vec())
    }

    fn restore(&mut self, _version: &str, _parts: Vec<Vec<u8>>) -> Result<(), String> {
        // It must not be gone on with: this would be seen.
        self.count = 1_000_000;
        if self.at_start {
            self.is_restored = true;
            return Ok(());
        }
        Err("this extension refuses what it saved".to_owned())
    }
}

export!(RefusesRestore, stateful);
