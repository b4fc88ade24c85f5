//! Counts packets and keeps the count over faults; panics on a poisoned one.
//!
//! `pad` is how many bytes it saves besides.

use ipqext_sdk::prelude::*;

/// What a packet's UDP payload starts with that is too much for it.
const POISON: &[u8] = b"poison";

#[derive(Default)]
struct Keeps {
    count: u64,
    pad: u32,
    restored_from: Option<String>,
}

impl Extension for Keeps {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["pad"])?;
        self.pad = context.params().parse("pad")?.unwrap_or(0);
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.count = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        let from = self.restored_from.as_deref().unwrap_or("nothing");
        Some(format!("count={} restored_from={from}", self.count))
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

impl Stateful for Keeps {
    fn save(&self) -> Result<Vec<u8>, String> {
        let mut saved = self.count.to_le_bytes().to_vec();
        saved.resize(saved.len() + self.pad as usize, 0);
        Ok(saved)
    }

    fn restore(&mut self, version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
        for part in &parts {
            let count = part.first_chunk().ok_or("a count has eight bytes")?;
            self.count += u64::from_le_bytes(*count);
        }
        self.restored_from = Some(format!("{}x{version}", parts.len()));
        Ok(())
    }
}

export!(Keeps, stateful);

#[cfg(test)]
mod tests {
    use super::Keeps;
    use ipqext_sdk::test::{Kit, TestPacket};

    fn udp(payload: &[u8]) -> TestPacket {
        TestPacket::udp("10.0.0.1:1000", "10.0.0.2:2000").payload(payload)
    }

    #[test]
    fn the_count_is_carried_over() -> Result<(), String> {
        let mut kit = Kit::<Keeps>::new()?;
        kit.decide_batch([udp(b"a"), udp(b"b")]);
        kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2").payload(b"poison"));
        let saved = kit.save()?;
        let mut next = Kit::<Keeps>::restored("", "9.9.9", [saved.clone(), saved])?;
        next.proc(udp(b"c"));
        assert_eq!(
            next.info().as_deref(),
            Some("count=7 restored_from=2x9.9.9")
        );
        next.reset()?;
        assert_eq!(next.extension().count, 0);
        let fresh = Kit::<Keeps>::restored("pad=3", "9.9.9", [])?;
        assert_eq!(fresh.save()?.len(), 8 + 3);
        Ok(())
    }

    #[test]
    #[should_panic(expected = "packet 1 is poisoned")]
    fn poison_is_too_much() {
        let _ = Kit::<Keeps>::new().map(|mut kit| kit.proc(udp(b"poison, and more")));
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let refused = Kit::<Keeps>::restored("", "9.9.9", [vec![1, 2, 3]]).err();
        assert_eq!(refused.as_deref(), Some("a count has eight bytes"));
    }
}
