//! Limits the packets or bytes a second of each address, by a token bucket.
//! `help.txt` has the parameters.

mod bucket;
mod table;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;

use ipqext_sdk::prelude::*;
use ipqext_sdk::{Params, Value};

use bucket::Limit;
use table::Table;

/// How many addresses are remembered.
const ADDRESSES_MAX: usize = 65_536;

/// No packet is longer: by default the longest finds its tokens.
const LONGEST_PACKET: u64 = 65_535;

/// How many addresses `info` tells of.
const TOLD: usize = 10;

struct RateLimit {
    settings: Settings,
    table: Table,
    passed: u64,
    dropped: u64,
}

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    unit: Unit,
    limit: Limit,
    per: Per,
    ipv6_prefix: PrefixLength,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Packets,
    Bytes,
}

/// Whose address a packet counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Source,
    Destination,
}

impl Value for Per {
    const WANTED: &str = "`source` or `destination`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "source" => Some(Per::Source),
            "destination" => Some(Per::Destination),
            _ => None,
        }
    }
}

/// How many bits an IPv6 address shares with those of the same bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PrefixLength(u32);

/// That of a subnet (RFC 4291), in which a host takes any address it likes.
impl Default for PrefixLength {
    fn default() -> Self {
        PrefixLength(64)
    }
}

impl Value for PrefixLength {
    const WANTED: &str = "a whole number from 0 to 128";

    fn from_text(text: &str) -> Option<Self> {
        let length = u32::from_text(text).filter(|&length| length <= 128);
        length.map(PrefixLength)
    }
}

/// It is never asked before `init` has set what the operator wants.
impl Default for RateLimit {
    fn default() -> Self {
        let limit = Limit {
            rate: NonZeroU64::MIN,
            burst: NonZeroU64::MIN,
        };
        RateLimit {
            settings: Settings {
                unit: Unit::Packets,
                limit,
                per: Per::Source,
                ipv6_prefix: PrefixLength::default(),
            },
            table: Table::new(limit, ADDRESSES_MAX),
            passed: 0,
            dropped: 0,
        }
    }
}

impl Extension for RateLimit {
    const NEEDS: Needs = Needs::headers().verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.settings = Settings::read(context.params())?;
        self.table = Table::new(self.settings.limit, ADDRESSES_MAX);
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.table = Table::new(self.settings.limit, ADDRESSES_MAX);
        self.passed = 0;
        self.dropped = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        let mut info = format!(
            "{} packets passed, {} dropped, {} addresses known",
            self.passed,
            self.dropped,
            self.table.len()
        );
        for (address, dropped) in self.table.most_dropped(TOLD) {
            info += &format!("\n{dropped:>10} dropped  {address}");
            let PrefixLength(length) = self.settings.ipv6_prefix;
            if address.is_ipv6() && length < 128 {
                info += &format!("/{length}");
            }
        }
        Some(info)
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").trim_end().to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let address = match self.settings.per {
            Per::Source => packet.source(),
            Per::Destination => packet.destination(),
        };
        let Some(address) = address else {
            return Verdict::Pass;
        };
        let tokens = match self.settings.unit {
            Unit::Packets => 1,
            Unit::Bytes => packet.original_length().into(),
        };
        let address = prefix(address, self.settings.ipv6_prefix);
        if self.table.take(address, tokens, packet.arrived_ns()) {
            self.passed += 1;
            Verdict::Pass
        } else {
            self.dropped += 1;
            Verdict::Drop
        }
    }
}

export!(RateLimit);

impl Settings {
    fn read(params: &Params) -> Result<Self, String> {
        params.only(&["rate", "bytes", "burst", "per", "ipv6-prefix"])?;
        let packets: Option<NonZeroU64> = params.parse("rate")?;
        let bytes = params.parse("bytes")?;
        let (unit, rate, least_burst) = match (packets, bytes) {
            (Some(rate), None) => (Unit::Packets, rate, 1),
            (None, Some(rate)) => (Unit::Bytes, rate, LONGEST_PACKET),
            (None, None) => {
                let what = "there is no limit; give `rate=N` packets or `bytes=N` bytes a second";
                return Err(what.to_owned());
            }
            (Some(_), Some(_)) => {
                let what = "`rate` and `bytes` are both there; give one of them";
                return Err(what.to_owned());
            }
        };
        let default_burst = NonZeroU64::new(least_burst).map_or(rate, |least| rate.max(least));
        Ok(Settings {
            unit,
            limit: Limit {
                rate,
                burst: params.parse("burst")?.unwrap_or(default_burst),
            },
            per: params.parse("per")?.unwrap_or(Per::Source),
            ipv6_prefix: params.parse("ipv6-prefix")?.unwrap_or_default(),
        })
    }
}

/// An IPv6 address without the bits behind its prefix of that length; an IPv4 address as it is.
fn prefix(address: IpAddr, PrefixLength(length): PrefixLength) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            // The prefix of no bits would shift by all of them.
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests;
