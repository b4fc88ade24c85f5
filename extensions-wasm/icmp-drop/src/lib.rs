//! Drops pings, the echo requests of ICMP and ICMPv6, or each N-th of them.

use std::num::NonZeroU64;

use ipqext_sdk::prelude::*;
use serde::{Deserialize, Serialize};

struct IcmpDrop {
    every: NonZeroU64,
    counts: Counts,
}

/// What outlives an instance.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    seen: u64,
    dropped: u64,
}

impl SerdeState for Counts {
    fn merge(&mut self, other: Self) -> Result<(), String> {
        self.seen += other.seen;
        self.dropped += other.dropped;
        Ok(())
    }
}

impl Default for IcmpDrop {
    fn default() -> Self {
        IcmpDrop {
            every: NonZeroU64::MIN,
            counts: Counts::default(),
        }
    }
}

impl Extension for IcmpDrop {
    const NEEDS: Needs = Needs::headers().verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["every"])?;
        if let Some(every) = params.parse("every")? {
            self.every = every;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.counts = Counts::default();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!(
            "{} echo requests dropped, {} seen",
            self.counts.dropped, self.counts.seen
        ))
    }

    fn help() -> Option<String> {
        Some(
            "drops echo requests (pings) of ICMP and ICMPv6\n\
             every=N  drop only each N-th, counted by each worker; 1 by default"
                .to_owned(),
        )
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if !packet.is_echo_request() {
            return Verdict::Pass;
        }
        self.counts.seen += 1;
        if self.counts.seen % self.every != 0 {
            return Verdict::Pass;
        }
        self.counts.dropped += 1;
        Verdict::Drop
    }
}

export!(IcmpDrop, state = counts);

#[cfg(test)]
mod tests {
    use super::IcmpDrop;
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    fn ping() -> TestPacket {
        TestPacket::ping("10.0.0.1", "10.0.0.2")
    }

    fn refusal(params: &str) -> String {
        Kit::<IcmpDrop>::with_params(params)
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn pings_of_both_ip_versions_are_dropped() -> Result<(), String> {
        let mut kit = Kit::<IcmpDrop>::new()?;
        assert_eq!(kit.proc(ping()), Verdict::Drop);
        assert_eq!(
            kit.proc(TestPacket::ping("fe80::1", "fe80::2")),
            Verdict::Drop
        );
        assert_eq!(
            kit.info().as_deref(),
            Some("2 echo requests dropped, 2 seen")
        );
        Ok(())
    }

    #[test]
    fn everything_else_passes() -> Result<(), String> {
        let mut kit = Kit::<IcmpDrop>::new()?;
        let others = [
            TestPacket::pong("10.0.0.1", "10.0.0.2"),
            TestPacket::pong("fe80::1", "fe80::2"),
            TestPacket::udp("10.0.0.1:8", "10.0.0.2:8"),
            TestPacket::tcp("[fe80::1]:128", "[fe80::2]:128"),
            ping().payload(&[8; 64]).fragment(16..72),
            TestPacket::raw(0x0806, [0; 28]),
        ];
        for decision in kit.decide_batch(others) {
            assert_eq!(decision.verdict, Verdict::Pass);
        }
        assert_eq!(
            kit.info().as_deref(),
            Some("0 echo requests dropped, 0 seen")
        );
        Ok(())
    }

    #[test]
    fn every_third_of_nine() -> Result<(), String> {
        let mut kit = Kit::<IcmpDrop>::with_params("every=3")?;
        let dropped: Vec<bool> = (0..9).map(|_| kit.proc(ping()) == Verdict::Drop).collect();
        let third = [false, false, true];
        assert_eq!(dropped, [third, third, third].concat());
        assert_eq!(
            kit.info().as_deref(),
            Some("3 echo requests dropped, 9 seen")
        );
        Ok(())
    }

    #[test]
    fn the_counts_outlive_an_instance() -> Result<(), String> {
        let mut kit = Kit::<IcmpDrop>::with_params("every=3")?;
        for _ in 0..4 {
            kit.proc(ping());
        }
        let saved = kit.save()?;
        let mut next = Kit::<IcmpDrop>::restored("every=5", "0.1.0", [saved])?;
        assert_eq!(next.proc(ping()), Verdict::Drop, "it is the fifth");
        assert_eq!(
            next.info().as_deref(),
            Some("2 echo requests dropped, 5 seen")
        );
        Ok(())
    }

    #[test]
    fn reset_clears_the_counters_and_keeps_the_parameter() -> Result<(), String> {
        let mut kit = Kit::<IcmpDrop>::with_params("every=2")?;
        kit.proc(ping());
        kit.reset()?;
        assert_eq!(
            kit.info().as_deref(),
            Some("0 echo requests dropped, 0 seen")
        );
        assert_eq!(kit.proc(ping()), Verdict::Pass, "it counts from the start");
        assert_eq!(kit.proc(ping()), Verdict::Drop);
        Ok(())
    }

    #[test]
    fn wrong_parameters_are_refused_with_a_reason() {
        let wanted = "wanted a whole number from 1 to 18446744073709551615, \
                      decimal or 0x hexadecimal";
        for wrong in ["0", "two", "-1", ""] {
            assert_eq!(
                refusal(&format!("every={wrong}")),
                format!("parameter `every` is `{wrong}`, {wanted}")
            );
        }
        assert_eq!(
            refusal("evry=2"),
            "unknown parameter `evry`; it takes `every`"
        );
        assert_eq!(refusal("2"), "`2` is not a `key=value`; it takes `every`");
    }

    #[test]
    fn help_names_the_parameter() -> Result<(), String> {
        let kit = Kit::<IcmpDrop>::new()?;
        assert!(kit.help().is_some_and(|help| help.contains("every=N")));
        Ok(())
    }
}
