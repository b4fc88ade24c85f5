//! Packets as `ipqext-host test` takes them.

use super::hex::hex_dump;
use super::packet::TestPacket;
use crate::Hook;
use crate::bindings::ipqext::packet::types as wit;

impl TestPacket {
    /// It as a table of a case file, for `ipqext-host test`: its bytes, and its mark, hook
    /// and devices where they are not as usual. Put behind it what you expect.
    ///
    /// ```
    /// # use ipqext_sdk::test::TestPacket;
    /// let ping = TestPacket::ping("10.0.0.1", "10.0.0.2").mark(3);
    /// assert_eq!(
    ///     ping.case(),
    ///     "[[case.packet]]\n\
    ///      bytes = \"\"\"\n\
    ///      0x0000: 4500 001c 0000 4000 4001 26df 0a00 0001\n\
    ///      0x0010: 0a00 0002 0800 f7fd 0001 0001\n\
    ///      \"\"\"\n\
    ///      mark = 0x3\n"
    /// );
    /// ```
    pub fn case(&self) -> String {
        let bytes = self.bytes();
        let mut case = format!(
            "[[case.packet]]\nbytes = \"\"\"\n{}\"\"\"\n",
            hex_dump(&bytes)
        );
        let mut add = |key: &str, value: String| case += &format!("{key} = {value}\n");
        let device = |index: u32| {
            let link = self.links.iter().find(|link| link.index == index);
            link.map(|link| format!("{:?}", link.name))
        };
        let meta = &self.meta;
        if meta.protocol != Self::from_hex(&hex_dump(&bytes)).meta.protocol {
            add("protocol", format!("{:#06x}", meta.protocol));
        }
        if meta.mark != 0 {
            add("mark", format!("{:#x}", meta.mark));
        }
        if meta.hook != wit::Hook::Input {
            add("hook", format!("\"{}\"", Hook::from(meta.hook)));
        }
        for (key, index) in [("in", meta.in_link), ("out", meta.out_link)] {
            if let Some(name) = device(index) {
                add(key, name);
            }
        }
        if meta.hardware_address_length > 0 {
            let octets = meta.hardware_address.to_le_bytes();
            let octets = &octets[..usize::from(meta.hardware_address_length)];
            let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            add("hardware-address", format!("\"{}\"", octets.join(":")));
        }
        case
    }
}

#[cfg(test)]
mod tests {
    use super::TestPacket;
    use crate::{Hook, Link};

    #[test]
    fn a_table_of_a_case_file_has_what_is_not_as_usual() {
        let link = |index, name: &str| Link {
            index,
            name: name.to_owned(),
            hardware_type: 1,
        };
        let packet = TestPacket::raw(0x0806, [0, 1])
            .mark(0x11)
            .hook(Hook::Forward)
            .in_link(&link(2, "eth0"))
            .out_link(&link(3, "eth1"))
            .hardware_address(&[2, 0, 0, 0, 0, 1]);
        let expected = r#"[[case.packet]]
bytes = """
0x0000: 0001
"""
protocol = 0x0806
mark = 0x11
hook = "forward"
in = "eth0"
out = "eth1"
hardware-address = "02:00:00:00:00:01"
"#;
        assert_eq!(packet.case(), expected);
        let usual = TestPacket::ping("fe80::1", "fe80::2").case();
        assert!(usual.ends_with("\n\"\"\"\n"), "{usual}");
    }
}
