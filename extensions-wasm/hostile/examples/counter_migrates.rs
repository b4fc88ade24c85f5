//! The extension `counter`, version 5.0.0: counts bytes too, so that its state has another
//! version. It takes up what others saved, and they refuse what it saves.

use ipqext_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Migrates {
    counts: Counts,
}

#[derive(Default, Serialize, Deserialize)]
struct Counts {
    packets: u64,
    /// Since version 2.
    bytes: u64,
}

/// As it was in version 1.
#[derive(Serialize, Deserialize)]
struct CountsV1 {
    packets: u64,
}

impl SerdeState for Counts {
    const VERSION: u32 = 2;

    fn migrate(saved: OtherVersion<'_>) -> Result<Self, String> {
        if saved.version() != 1 {
            return Err(saved.unknown());
        }
        let old: CountsV1 = saved.decode()?;
        Ok(Self {
            packets: old.packets,
            bytes: 0,
        })
    }

    fn merge(&mut self, other: Self) -> Result<(), String> {
        self.packets += other.packets;
        self.bytes += other.bytes;
        Ok(())
    }
}

impl Extension for Migrates {
    const NEEDS: Needs = Needs::headers();

    fn info(&self) -> Option<String> {
        let Counts { packets, bytes } = self.counts;
        Some(format!("packets={packets} bytes={bytes}"))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.counts.packets += 1;
        self.counts.bytes += u64::from(packet.original_length());
        Verdict::Pass
    }
}

ipqext_sdk::stateful_by_serde!(Migrates, .counts);
ipqext_sdk::export_as!(
    Migrates,
    "counter",
    "5.0.0",
    "Counts packets and bytes, and keeps the counts"
);
ipqext_sdk::export_state_of!(Migrates);

#[cfg(test)]
mod tests {
    use super::{CountsV1, Migrates};
    use ipqext_sdk::test::{Kit, TestPacket, saved_state};

    #[test]
    fn it_takes_up_what_older_ones_saved() -> Result<(), String> {
        let old = saved_state(1, &CountsV1 { packets: 7 });
        let mut kit = Kit::<Migrates>::restored("", "1.0.0", [old])?;
        kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
        assert_eq!(kit.info().as_deref(), Some("packets=8 bytes=28"));
        let next = Kit::<Migrates>::restored("", "5.0.0", [kit.save()?, kit.save()?])?;
        assert_eq!(next.info().as_deref(), Some("packets=16 bytes=56"));
        let newer = Kit::<Migrates>::restored("", "6.0.0", [saved_state(3, &0)]);
        assert!(newer.is_err_and(|error| error.contains("state version 3")));
        Ok(())
    }
}
