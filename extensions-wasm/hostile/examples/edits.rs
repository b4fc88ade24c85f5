//! Changes payloads in every way that there is, one of them wrong.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct EditsPayloads {
    how: String,
    longest: u32,
}

impl Extension for EditsPayloads {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.how = context.params().raw().to_owned();
        match &*self.how {
            "udp" | "tcp" | "icmp" | "longer-tcp" => Ok(()),
            other => Err(format!(
                "it edits udp, tcp, icmp or longer-tcp, not {other:?}"
            )),
        }
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.longest = self.longest.max(packet.original_length());
        let Some(payload) = packet.payload() else {
            return Verdict::Pass;
        };
        let b_for_a = || -> Vec<u8> {
            let each = payload.iter();
            each.map(|byte| if *byte == b'a' { b'b' } else { *byte })
                .collect()
        };
        let done = match &*self.how {
            // By the length: equal, longer, shorter.
            "udp" => packet.set_udp_payload(&match payload.len() % 3 {
                0 => b_for_a(),
                1 => [payload, &payload[..payload.len().min(4)], b"longer"].concat(),
                _ => payload[..payload.len() / 2].to_vec(),
            }),
            "tcp" => packet.set_tcp_payload(&b_for_a()),
            "icmp" => {
                let end = packet.bytes().len();
                packet.edit(end - payload.len()..end, &b_for_a());
                Ok(())
            }
            _ => {
                let end = packet.bytes().len();
                if !payload.is_empty() {
                    packet.edit(end..end, b"!");
                }
                Ok(())
            }
        };
        // A packet of another protocol stays.
        let _ = done;
        Verdict::Pass
    }

    fn info(&self) -> Option<String> {
        Some(format!("longest {}", self.longest))
    }
}

export!(EditsPayloads);
