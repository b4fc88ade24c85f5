//! Passes every packet, and says in `info` what no host should take.
//!
//! `what` is `no-utf8`, for text that is none, or `much`, for 100 MB.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Says {
    much: bool,
}

impl Extension for Says {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["what"])?;
        self.much = match context.params().get("what").unwrap_or_default() {
            "no-utf8" => false,
            "much" => true,
            other => return Err(format!("what={other}: give no-utf8 or much")),
        };
        Ok(())
    }

    fn info(&self) -> Option<String> {
        if self.much {
            return Some("x".repeat(100_000_000));
        }
        // SAFETY: none. The text goes to the host as it is, which has to see through it.
        Some(unsafe { String::from_utf8_unchecked(vec![b'a', 0xff, 0xfe, 0xc0]) })
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(Says);
