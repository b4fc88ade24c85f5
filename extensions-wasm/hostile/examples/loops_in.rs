//! Loops for ever in one function of its life, and passes every packet.
//!
//! `in` says in which: `init`, `start`, `stop`, `reset`, `info`, `fini`, `save` or
//! `restore`. To have `restore` called it panics on poisoned packets.

use hostile::is_poisoned;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct LoopsIn {
    function: String,
}

impl LoopsIn {
    fn reach(&self, function: &str) {
        if self.function == function {
            loop {
                std::hint::spin_loop();
            }
        }
    }
}

impl Extension for LoopsIn {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["in"])?;
        self.function = context.params().get("in").unwrap_or_default().to_owned();
        self.reach("init");
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        self.reach("start");
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.reach("stop");
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.reach("reset");
        Ok(())
    }

    fn info(&self) -> Option<String> {
        self.reach("info");
        None
    }

    fn fini(&mut self) -> Result<(), String> {
        self.reach("fini");
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.function == "restore" && is_poisoned(packet) {
            panic!("packet {} is poisoned", packet.id());
        }
        Verdict::Pass
    }
}

impl Stateful for LoopsIn {
    fn save(&self) -> Result<Vec<u8>, String> {
        self.reach("save");
        Ok(Vec::new())
    }

    fn restore(&mut self, _version: &str, _parts: Vec<Vec<u8>>) -> Result<(), String> {
        self.reach("restore");
        Ok(())
    }
}

export!(LoopsIn, stateful);
