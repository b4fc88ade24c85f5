//! Sets the mark of every packet as the parameters say, and passes it.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Marks {
    value: u32,
    mask: u32,
}

impl Extension for Marks {
    const NEEDS: Needs = Needs::none().mark_mask(u32::MAX);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["value", "mask"])?;
        self.value = params.parse("value")?.unwrap_or(0);
        self.mask = params.parse("mask")?.unwrap_or(u32::MAX);
        Ok(())
    }

    fn help() -> Option<String> {
        Some(
            "sets the mark of every packet and passes it\n\
             value=N  the new bits; 0 by default\n\
             mask=N   which bits; all by default"
                .to_owned(),
        )
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        packet.set_mark(self.value, self.mask);
        Verdict::Pass
    }
}

export!(Marks);

#[cfg(test)]
mod tests {
    use super::Marks;
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    fn packet() -> TestPacket {
        TestPacket::ping("10.0.0.1", "10.0.0.2").mark(0x0101)
    }

    #[test]
    fn the_bits_of_the_mask_are_set() -> Result<(), String> {
        let mut kit = Kit::<Marks>::with_params("value=0x22,mask=0xff")?;
        let decision = kit.decide(packet());
        assert_eq!(decision.verdict, Verdict::Pass);
        assert_eq!(decision.mark, 0x0122);
        Ok(())
    }

    #[test]
    fn decimal_numbers_and_the_whole_mark() -> Result<(), String> {
        let mut kit = Kit::<Marks>::with_params("value=34")?;
        assert_eq!(kit.decide(packet()).mark, 34);
        Ok(())
    }

    #[test]
    fn wrong_numbers_are_refused() {
        assert!(Kit::<Marks>::with_params("value=0xg").is_err());
    }
}
