//! Takes its time in `init`, more than a worker gives it, and panics on every packet.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct SlowInit;

impl Extension for SlowInit {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, _context: &Context) -> Result<(), String> {
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 200 {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        panic!("and so it has to start again");
    }
}

export!(SlowInit);
