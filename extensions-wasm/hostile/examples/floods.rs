//! Says far too much on every packet, and passes it.
//!
//! `where` is `log`, for a hundred lines a packet, or `stdout`, for 4 MB without the end of a
//! line.

use std::io::Write;

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Floods {
    stdout: bool,
}

impl Extension for Floods {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["where"])?;
        self.stdout = match context.params().get("where").unwrap_or_default() {
            "log" => false,
            "stdout" => true,
            other => return Err(format!("where={other}: give log or stdout")),
        };
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.stdout {
            let mut stdout = std::io::stdout().lock();
            for _ in 0..256 {
                // If it is refused there is nothing left to do.
                let _ = stdout.write_all(&[b'x'; 16 << 10]);
                let _ = stdout.flush();
            }
        } else {
            for number in 0..100 {
                log_warn!("flood {number} of packet {}", packet.id());
            }
        }
        Verdict::Pass
    }
}

export!(Floods);
