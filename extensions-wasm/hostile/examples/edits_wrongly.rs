//! Edits packets so that nothing right can come of it.
//!
//! `on` says which packets: `all`, `poison` or each so-and-so-many-th; `how` what is wrong.

use hostile::On;
use ipqext_sdk::prelude::*;

/// Where the total length of an IPv4 packet stands.
const TOTAL_LENGTH: std::ops::Range<usize> = 2..4;

#[derive(Default)]
struct EditsWrongly {
    on: On,
    how: String,
}

impl Extension for EditsWrongly {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on", "how"])?;
        self.on = On::of(context.params())?;
        self.how = context.params().get("how").unwrap_or_default().to_owned();
        match &*self.how {
            "empty" | "long" | "length-field" => Ok(()),
            other => Err(format!("how={other}: give empty, long or length-field")),
        }
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            let end = packet.bytes().len();
            match &*self.how {
                "empty" => packet.edit(0..end, b""),
                "long" => packet.edit(end..end, &[b'x'; 70_000]),
                _ => packet.edit(TOTAL_LENGTH, &[0xff, 0xff]),
            }
        }
        Verdict::Pass
    }
}

export!(EditsWrongly);
