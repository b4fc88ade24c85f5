//! Passes every packet, and tells in `info` all that it was told of the last one.

use ipqext_sdk::Link;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Observe {
    seen: u64,
    last: String,
}

impl Extension for Observe {
    const NEEDS: Needs = Needs::headers();

    fn reset(&mut self) -> Result<(), String> {
        *self = Observe::default();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!("seen={}{}", self.seen, self.last))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.seen += 1;
        self.last = describe(packet);
        Verdict::Pass
    }
}

export!(Observe);

/// All metadata as ` key=value` pairs; `-` is a value that is not there.
fn describe(packet: &Packet) -> String {
    let flags: Vec<&str> = packet.flags().iter_names().map(|(name, _)| name).collect();
    let pairs = [
        ("id", packet.id().to_string()),
        ("mark", format!("{:#x}", packet.mark())),
        ("arrived_ns", packet.arrived_ns().to_string()),
        ("now_ns", packet.now_ns().to_string()),
        ("hook", packet.hook().to_string()),
        ("protocol", format!("{:#06x}", packet.protocol())),
        ("in_link", link(packet.in_link_index(), packet.in_link())),
        ("out_link", link(packet.out_link_index(), packet.out_link())),
        ("hardware_address", or_dash(packet.hardware_address())),
        ("captured_length", packet.bytes().len().to_string()),
        ("original_length", packet.original_length().to_string()),
        (
            "flags",
            or_dash((!flags.is_empty()).then(|| flags.join("|"))),
        ),
        ("source", or_dash(packet.source())),
        ("destination", or_dash(packet.destination())),
        ("ip_protocol", or_dash(packet.ip_protocol())),
    ];
    pairs
        .iter()
        .map(|(key, value)| format!(" {key}={value}"))
        .collect()
}

/// A device as `index/name/hardware type`.
fn link(index: Option<u32>, link: Option<&Link>) -> String {
    match (index, link) {
        (_, Some(link)) => format!("{}/{}/{}", link.index, link.name, link.hardware_type),
        (Some(index), None) => format!("{index}/-/-"),
        (None, None) => "-".to_owned(),
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::Observe;
    use ipqext_sdk::test::{Kit, TestPacket};
    use ipqext_sdk::{Hook, Link, PacketFlags, Verdict};

    #[test]
    fn everything_is_told() -> Result<(), String> {
        let mut kit = Kit::<Observe>::new()?;
        kit.set_now_ns(2_000);
        let lan = Link {
            index: 2,
            name: "eth0".to_owned(),
            hardware_type: 1,
        };
        let packet = TestPacket::ping("10.0.0.1", "10.0.0.2")
            .id(9)
            .mark(0x1f)
            .arrived_ns(1_000)
            .hook(Hook::Prerouting)
            .in_link(&lan)
            .hardware_address(&[2, 0, 0, 0, 0, 1])
            .payload(&[0; 200])
            .flags(PacketFlags::GSO | PacketFlags::KERNEL_TIMESTAMP);
        assert_eq!(kit.proc(packet), Verdict::Pass);
        let expected = "seen=1 id=9 mark=0x1f arrived_ns=1000 now_ns=2000 hook=prerouting \
                        protocol=0x0800 in_link=2/eth0/1 out_link=- \
                        hardware_address=02:00:00:00:00:01 captured_length=128 \
                        original_length=228 flags=GSO|KERNEL_TIMESTAMP source=10.0.0.1 \
                        destination=10.0.0.2 ip_protocol=1";
        assert_eq!(kit.info().as_deref(), Some(expected));
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_a_dash() -> Result<(), String> {
        let mut kit = Kit::<Observe>::new()?;
        assert_eq!(kit.info().as_deref(), Some("seen=0"));
        kit.proc(TestPacket::raw(0x0806, [0; 28]));
        let info = kit.info().unwrap_or_default();
        for pair in ["in_link=-", "hardware_address=-", "flags=-", "source=-"] {
            assert!(info.contains(pair), "{info}");
        }
        kit.reset()?;
        assert_eq!(kit.info().as_deref(), Some("seen=0"));
        Ok(())
    }
}
