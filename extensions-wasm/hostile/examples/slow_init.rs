//! Takes its time in `init`, or with `in=start` in `start`: more than a worker gives it. It
//! panics on every packet.

use std::time::Instant;

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct SlowInit {
    in_start: bool,
}

fn take_time() {
    let began = Instant::now();
    while began.elapsed().as_millis() < 200 {
        std::hint::spin_loop();
    }
}

impl Extension for SlowInit {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.in_start = context.params().get("in") == Some("start");
        if !self.in_start {
            take_time();
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        if self.in_start {
            take_time();
        }
        Ok(())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        panic!("and so it has to start again");
    }
}

export!(SlowInit);
