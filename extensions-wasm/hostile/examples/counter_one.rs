//! The extension `counter`, version 1.0.0: counts packets and passes them.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct One;

impl Build for One {}

counter::export_counter!(Counter<One>, "1.0.0");

#[cfg(test)]
mod tests {
    use super::{Counter, One};
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    fn the_count_is_carried_over_and_added_up() -> Result<(), String> {
        let ping = || TestPacket::ping("10.0.0.1", "10.0.0.2");
        let mut kit = Kit::<Counter<One>>::new()?;
        kit.decide_batch([ping(), ping()]);
        let saved = kit.save()?;
        let mut next = Kit::<Counter<One>>::restored("", "9.9.9", [saved.clone(), saved])?;
        next.proc(ping());
        assert_eq!(next.info().as_deref(), Some("packets=5"));
        next.reset()?;
        assert_eq!(next.info().as_deref(), Some("packets=0"));
        Ok(())
    }
}
