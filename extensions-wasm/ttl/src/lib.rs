//! Sets or decrements TTL and hop limit. `help.txt` has the parameters.

use ipqext_sdk::prelude::*;

/// What becomes of a packet's hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Set(u8),
    Decrement(u8),
}

struct Ttl {
    change: Change,
    changed: u64,
    dropped: u64,
}

impl Default for Ttl {
    fn default() -> Self {
        Ttl {
            change: Change::Decrement(1),
            changed: 0,
            dropped: 0,
        }
    }
}

impl Extension for Ttl {
    const NEEDS: Needs = Needs::headers()
        .edits(Edits::IpFields)
        .verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["set", "decrement"])?;
        let (set, decrement) = (params.parse("set")?, params.parse("decrement")?);
        self.change = match (set, decrement) {
            (Some(_), Some(_)) => return Err("give `set` or `decrement`, not both".to_owned()),
            (Some(hops), None) => Change::Set(hops),
            (None, Some(hops)) => Change::Decrement(hops),
            (None, None) => Change::Decrement(1),
        };
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.changed = 0;
        self.dropped = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!(
            "{} changed, {} dropped",
            self.changed, self.dropped
        ))
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let Some(before) = packet.hops() else {
            return Verdict::Pass;
        };
        let after = match self.change {
            Change::Set(hops) => hops,
            Change::Decrement(hops) => before.saturating_sub(hops),
        };
        if after == 0 {
            self.dropped += 1;
            return Verdict::Drop;
        }
        if after != before && packet.set_hops(after).is_ok() {
            self.changed += 1;
        }
        Verdict::Pass
    }
}

export!(Ttl);

#[cfg(test)]
mod tests {
    use super::Ttl;
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    /// Test packets have 64 hops.
    fn packets() -> [(TestPacket, usize); 2] {
        [
            (TestPacket::udp("10.0.0.1:1", "10.0.0.2:2"), 8),
            (TestPacket::udp("[fe80::1]:1", "[fe80::2]:2"), 7),
        ]
    }

    fn hops(params: &str) -> [Option<u8>; 2] {
        packets().map(|(packet, at)| {
            let mut kit = Kit::<Ttl>::with_params(params).unwrap();
            let decision = kit.decide(packet);
            assert_eq!(decision.verdict, Verdict::Pass);
            decision.edited.map(|bytes| bytes[at])
        })
    }

    #[test]
    fn hops_of_both_versions_are_set_or_decremented() {
        assert_eq!(hops(""), [Some(63); 2]);
        assert_eq!(hops("decrement=60"), [Some(4); 2]);
        assert_eq!(hops("set=5"), [Some(5); 2]);
        assert_eq!(hops("set=64"), [None; 2], "it is already");
    }

    #[test]
    fn what_has_no_hops_left_is_dropped() {
        for params in ["decrement=64", "decrement=65", "set=0"] {
            let mut kit = Kit::<Ttl>::with_params(params).unwrap();
            for (packet, _) in packets() {
                assert_eq!(kit.proc(packet), Verdict::Drop, "{params}");
            }
            assert_eq!(kit.info().as_deref(), Some("0 changed, 2 dropped"));
            kit.reset().unwrap();
            assert_eq!(kit.info().as_deref(), Some("0 changed, 0 dropped"));
        }
    }

    #[test]
    fn what_is_no_ip_passes() {
        let mut kit = Kit::<Ttl>::with_params("set=0").unwrap();
        assert_eq!(kit.proc(TestPacket::raw(0x0806, [0; 28])), Verdict::Pass);
    }

    #[test]
    fn wrong_parameters_are_refused() {
        for params in ["set=256", "set=1,decrement=1", "hops=3", "decrement="] {
            assert!(Kit::<Ttl>::with_params(params).is_err(), "{params}");
        }
    }
}
