//! What the versions of the extension `counter` share: it counts packets, keeps the count
//! over faults and swaps, and passes them. Each version is an example of its own, that says
//! what it does otherwise; all have the same name, whatever that of their file.

use std::marker::PhantomData;

use ipqext_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// What a version does otherwise.
pub(crate) trait Build: Default + 'static {
    /// What it declares.
    const NEEDS: Needs = Needs::headers();

    /// Decides a packet, the so manieth.
    fn judge(_count: u64, _packet: &Packet) -> Verdict {
        Verdict::Pass
    }

    /// Looks at the count that it is to go on with.
    fn look_at(_count: u64) -> Result<(), String> {
        Ok(())
    }

    /// Looks at the count that it is to save.
    fn give(_count: u64) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Counter<B> {
    counts: Counts,
    build: PhantomData<B>,
}

#[derive(Default, Serialize, Deserialize)]
struct Counts {
    packets: u64,
}

impl SerdeState for Counts {
    fn merge(&mut self, other: Self) -> Result<(), String> {
        self.packets += other.packets;
        Ok(())
    }
}

impl<B: Build> Extension for Counter<B> {
    const NEEDS: Needs = B::NEEDS;

    fn reset(&mut self) -> Result<(), String> {
        self.counts = Counts::default();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!("packets={}", self.counts.packets))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.counts.packets += 1;
        B::judge(self.counts.packets, packet)
    }
}

impl<B: Build> Stateful for Counter<B> {
    fn save(&self) -> Result<Vec<u8>, String> {
        B::give(self.counts.packets)?;
        ipqext_sdk::state::save(&self.counts)
    }

    fn restore(&mut self, version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
        ipqext_sdk::state::restore(&mut self.counts, version, parts)?;
        B::look_at(self.counts.packets)
    }
}

/// Exports a type as a version of `counter`.
macro_rules! export_counter {
    ($type:ty, $version:literal) => {
        ipqext_sdk::export_as!(
            $type,
            "counter",
            $version,
            "Counts packets, and keeps the count"
        );
        ipqext_sdk::export_state_of!($type);
    };
}
pub(crate) use export_counter;
