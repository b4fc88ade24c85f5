//! Passes every packet: a start for an extension of your own.
//!
//! `proc` alone has to be there. The other functions stand here as they are by
//! default, each with what it is for: change what you need, and delete the rest.

use ipqext_sdk::prelude::*;

/// What the extension remembers between packets: put parameters and counters here.
#[derive(Default)]
struct Template;

impl Extension for Template {
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
        Ok(())
    }

    /// Takes notice that packets no longer come; the state stays.
    fn stop(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Clears its state, as counters, but not its parameters.
    fn reset(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Tells the operator its state.
    fn info(&self) -> Option<String> {
        None
    }

    /// Tells the operator how to use it, before it is added.
    fn help() -> Option<String> {
        None
    }

    /// Says what becomes of a packet.
    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(Template);

#[cfg(test)]
mod tests {
    use super::Template;
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    fn every_packet_passes() -> Result<(), String> {
        let mut kit = Kit::<Template>::new()?;
        assert_eq!(
            kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2")),
            Verdict::Pass
        );
        assert_eq!(
            kit.proc(TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53")),
            Verdict::Pass
        );
        kit.fini()
    }
}
