//! Calls itself without end on some packets, until its stack is full.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th.

use std::hint::black_box;

use hostile::On;
use ipqext_sdk::prelude::*;

#[expect(unconditional_recursion, reason = "that is the misdeed")]
fn deeper(depth: u64) -> u64 {
    // What comes after the call keeps it from becoming a loop.
    let frame = black_box([depth; 64]);
    deeper(frame[0] + 1) + black_box(frame[1])
}

#[derive(Default)]
struct Recurses {
    on: On,
}

impl Extension for Recurses {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on"])?;
        self.on = On::of(context.params())?;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            black_box(deeper(black_box(1)));
        }
        Verdict::Pass
    }
}

export!(Recurses);
