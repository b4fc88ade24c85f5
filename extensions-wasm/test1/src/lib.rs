//! Counts the packets that come to it: the extension that the tutorial writes, from
//! the template, as that of 2003 did.

use ipqext_sdk::prelude::*;

/// What the extension remembers between packets.
#[derive(Default)]
struct Test1 {
    packets: u64,
    bytes: u64,
}

impl Extension for Test1 {
    /// What it needs, and is held to: bytes of a packet, verdicts, bits of the mark.
    const NEEDS: Needs = Needs::headers();

    /// Takes its parameters when it is added; an error refuses it.
    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&[])
    }

    /// Cleans up when it is deleted.
    fn fini(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Prepares for packets, which come from now on.
    fn start(&mut self) -> Result<(), String> {
        log_debug!("test1 starts");
        Ok(())
    }

    /// Takes notice that packets no longer come; the state stays.
    fn stop(&mut self) -> Result<(), String> {
        log_debug!("test1 stops");
        Ok(())
    }

    /// Clears its state, as counters, but not its parameters.
    fn reset(&mut self) -> Result<(), String> {
        *self = Test1::default();
        Ok(())
    }

    /// Tells the operator its state.
    fn info(&self) -> Option<String> {
        Some(format!("{} packets, {} bytes", self.packets, self.bytes))
    }

    /// Tells the operator how to use it, before it is added.
    fn help() -> Option<String> {
        Some(
            "counts the packets that come to it, and passes them\n\
             takes no parameters; logs a line a packet at level debug"
                .to_owned(),
        )
    }

    /// Says what becomes of a packet.
    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.packets += 1;
        self.bytes += u64::from(packet.original_length());
        if let (Some(source), Some(destination)) = (packet.source(), packet.destination()) {
            log_debug!("{source} > {destination}, mark {:#x}", packet.mark());
        }
        Verdict::Pass
    }
}

export!(Test1);

#[cfg(test)]
mod tests {
    use super::Test1;
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    fn every_packet_is_counted_and_passes() -> Result<(), String> {
        let mut kit = Kit::<Test1>::new()?;
        let packets = [
            TestPacket::ping("10.0.0.1", "10.0.0.2").payload(&[0; 56]),
            TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53"),
            TestPacket::raw(0x0806, [0; 28]),
        ];
        for decision in kit.decide_batch(packets) {
            assert_eq!(decision.verdict, Verdict::Pass);
        }
        assert_eq!(kit.info().as_deref(), Some("3 packets, 160 bytes"));
        kit.fini()
    }

    #[test]
    fn reset_counts_anew() -> Result<(), String> {
        let mut kit = Kit::<Test1>::new()?;
        kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
        kit.reset()?;
        assert_eq!(kit.info().as_deref(), Some("0 packets, 0 bytes"));
        Ok(())
    }

    #[test]
    fn no_bytes_make_it_panic() -> Result<(), String> {
        let mut kit = Kit::<Test1>::new()?;
        for length in 0..80 {
            for first in [0x00, 0x45, 0x4f, 0x60, 0xff] {
                let mut bytes = vec![first; length];
                bytes
                    .iter_mut()
                    .skip(1)
                    .step_by(3)
                    .for_each(|byte| *byte = 6);
                kit.proc(TestPacket::raw(0x0800, bytes.clone()));
                kit.proc(TestPacket::raw(0x86dd, bytes));
            }
        }
        Ok(())
    }

    #[test]
    fn help_tells_that_there_are_no_parameters() -> Result<(), String> {
        let kit = Kit::<Test1>::new()?;
        assert!(
            kit.help()
                .is_some_and(|help| help.contains("no parameters"))
        );
        assert!(Kit::<Test1>::with_params("every=2").is_err());
        Ok(())
    }
}
