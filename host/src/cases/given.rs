//! The packets of a case.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::file::PACKETS_MAX;
use super::numbers::Numbers;
use super::path::file;
use super::{Expectation, Given, START_NS, capture, expectation, hex};
use crate::config::mask;
use crate::document::{Problems, Section, parsed, string, whole, whole_or};
use crate::packet::{HardwareAddress, Hook, Link, PACKET_BYTES_MAX, Packet};
use crate::units;

pub(super) const KEYS: [&str; 12] = [
    "bytes",
    "pcap",
    "number",
    "repeat",
    "at",
    "mark",
    "hook",
    "in",
    "out",
    "hardware-address",
    "protocol",
    "expect",
];
/// How far packets are apart.
const STEP: Duration = Duration::from_millis(1);

/// What holds for all packets of a case.
pub(super) struct Defaults<'p> {
    /// What they do not say themselves.
    pub(super) packet: Packet,
    /// Where relative paths begin.
    pub(super) base: &'p Path,
}

/// The network devices that packets of a case name.
#[derive(Default)]
pub(super) struct Devices(Vec<String>);

impl Devices {
    /// The index of a device.
    fn index(&mut self, name: &str) -> u32 {
        let known = self.0.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        place as u32 + 1
    }

    /// All of them: `lo` is a loopback, others are Ethernet.
    pub(super) fn into_links(self) -> Vec<Link> {
        let links = self.0.into_iter().zip(1..);
        let links = links.map(|(name, index)| Link {
            index,
            hardware_type: if name == "lo" { 772 } else { 1 },
            name,
        });
        links.collect()
    }
}

/// The time as packets of a case come.
pub(super) struct Clock {
    /// `None` for the times of captures.
    step: Option<Duration>,
    next_ns: u64,
}

impl Clock {
    /// Of a case with such a step between its packets.
    pub(super) fn new(step: Option<Option<Duration>>) -> Self {
        Self {
            step: step.unwrap_or(Some(STEP)),
            next_ns: START_NS,
        }
    }

    /// When the next packet comes; one of a capture was captured at a time.
    fn next(&mut self, captured_ns: Option<u64>) -> u64 {
        let now = match (self.step, captured_ns) {
            (None, Some(captured)) => captured,
            _ => self.next_ns,
        };
        let step = self.step.unwrap_or(STEP).as_nanos();
        self.next_ns = now.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
        now
    }

    fn set(&mut self, after_start: Duration) {
        let after = u64::try_from(after_start.as_nanos()).unwrap_or(u64::MAX);
        self.next_ns = START_NS.saturating_add(after);
    }
}

/// Reads one `[[case.packet]]`: one packet, or several of a capture or alike.
pub(super) fn read(
    at: usize,
    table: &DeTable<'_>,
    defaults: &Defaults<'_>,
    devices: &mut Devices,
    clock: &mut Clock,
    wrong: &mut Problems<'_>,
) -> Vec<Given> {
    let section = &Section::new("[[case.packet]]", table, &KEYS, wrong);
    let metadata = metadata(section, &defaults.packet, devices, wrong);
    let protocol = section.get("protocol", wrong, ether_type);
    let after_start = section.get("at", wrong, |value| match clock.step {
        Some(_) => units::time(string(value, "2s")?),
        None => Err(
            "the case has step = \"capture\", so its packets come at the times of the \
                     capture; remove one of them"
                .to_owned(),
        ),
    });
    if let Some(after_start) = after_start {
        clock.set(after_start);
    }
    let contents = contents(at, section, defaults.base, wrong);
    let expected: Vec<Option<Expectation>> = match table.get("expect") {
        None => vec![None; contents.len()],
        Some(value) => {
            let each = expectation::read(value, contents.len(), wrong).into_iter();
            each.map(Some).collect()
        }
    };
    let packets = contents.into_iter().zip(expected);
    let packets = packets.map(|(content, expected)| Given {
        packet: Packet {
            arrived_ns: clock.next(content.captured.map(|captured| captured.time_ns)),
            hardware_address: match content.captured {
                Some(captured) if metadata.hardware_address.is_empty() => captured.hardware_address,
                _ => metadata.hardware_address,
            },
            protocol: protocol.unwrap_or_else(|| content.protocol()),
            original_length: content.length,
            ..metadata
        },
        bytes: content.bytes,
        origin: content.origin,
        expected,
    });
    packets.collect()
}

/// What a packet, or all packets of a case, have besides bytes.
pub(super) fn metadata(
    section: &Section<'_>,
    defaults: &Packet,
    devices: &mut Devices,
    wrong: &mut Problems<'_>,
) -> Packet {
    let mut device = |key: &str, default: u32, wrong: &mut Problems<'_>| {
        let name = section.get(key, wrong, |value| match string(value, "eth0")? {
            "" => Err("the name is empty; give one of a device, as \"eth0\"".to_owned()),
            name => Ok(name),
        });
        name.map_or(default, |name| devices.index(name))
    };
    Packet {
        mark: section.get("mark", wrong, mask).unwrap_or(defaults.mark),
        hook: section
            .get("hook", wrong, parsed("forward", hook))
            .unwrap_or(defaults.hook),
        in_link: device("in", defaults.in_link, wrong),
        out_link: device("out", defaults.out_link, wrong),
        hardware_address: section
            .get("hardware-address", wrong, hardware_address)
            .unwrap_or(defaults.hardware_address),
        ..*defaults
    }
}

/// The bytes of one packet, and where they come from.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) bytes: Arc<[u8]>,
    /// How long the packet really is.
    pub(super) length: u32,
    /// What of it is known besides, if it is of a capture.
    pub(super) captured: Option<Captured>,
    pub(super) origin: String,
}

/// What a capture tells of a packet.
#[derive(Clone, Copy)]
pub(super) struct Captured {
    /// In nanoseconds since the Unix epoch.
    pub(super) time_ns: u64,
    /// Its EtherType, by what stood before it.
    pub(super) protocol: u16,
    pub(super) hardware_address: HardwareAddress,
}

impl Content {
    /// What it was captured as, or else what the version of IP says; 0 for what is none.
    fn protocol(&self) -> u16 {
        if let Some(captured) = self.captured {
            return captured.protocol;
        }
        match self.bytes.first().map(|first| first >> 4) {
            Some(4) => 0x0800,
            Some(6) => 0x86dd,
            _ => 0,
        }
    }
}

fn contents(
    at: usize,
    section: &Section<'_>,
    base: &Path,
    wrong: &mut Problems<'_>,
) -> Vec<Content> {
    let line = wrong.place(at).0;
    let bytes = section.get("bytes", wrong, |value| {
        let bytes = hex::bytes(string(value, "45 00 00 1c ...")?)?;
        match bytes.len() <= PACKET_BYTES_MAX {
            true => Ok(bytes),
            false => Err(format!(
                "there are {} bytes; a packet has at most {PACKET_BYTES_MAX}",
                bytes.len()
            )),
        }
    });
    let numbers = section.get("number", wrong, |value| {
        const GIVE: &str = "the number of a packet, from 1, or several as \"1-3, 7, 20-\"";
        let of_number = |number: u64| Numbers::parse(&number.to_string());
        whole_or(value, GIVE, of_number, Numbers::parse)
    });
    let repeat = section.get("repeat", wrong, whole([1, PACKETS_MAX as u64]));
    let captured = section.get("pcap", wrong, |value| {
        capture::read(&file(base, "dns.pcap", "")(value)?, numbers.as_ref())
    });
    let mut beside = |key: &str, other: &str| {
        if let (Some(span), Some(_)) = (section.span(key), section.span(other)) {
            wrong.add(
                span.start,
                format!("{key}: there is {other} too; remove one of them"),
            );
        }
    };
    beside("bytes", "pcap");
    beside("number", "bytes");
    beside("repeat", "pcap");
    match (section.span("bytes"), section.span("pcap")) {
        (None, None) => {
            wrong.add(
                at,
                "[[case.packet]] has neither bytes nor pcap; give one, as bytes = \"45 00 ...\"",
            );
            Vec::new()
        }
        (_, Some(_)) => captured.unwrap_or_default(),
        (Some(_), None) => {
            let bytes = bytes.unwrap_or_default();
            let content = Content {
                length: bytes.len() as u32,
                bytes: bytes.into(),
                captured: None,
                origin: format!("line {line}"),
            };
            vec![content; repeat.unwrap_or(1) as usize]
        }
    }
}

/// The hook of a name.
pub(super) fn hook(name: &str) -> Result<Hook, String> {
    Hook::from_name(name).ok_or_else(|| {
        format!(
            "{name:?} is no hook; there are prerouting, input, forward, output, postrouting and \
             other"
        )
    })
}

fn ether_type(value: &DeValue<'_>) -> Result<u16, String> {
    let number = whole([0, u16::MAX.into()])(value);
    number
        .map(|number| number as u16)
        .map_err(|error| format!("{error}: an EtherType, as 0x0806 for ARP"))
}

fn hardware_address<'a>(value: &'a DeValue<'a>) -> Result<HardwareAddress, String> {
    let text = string(value, "02:00:00:00:00:01")?;
    let bytes = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.collect();
    match bytes {
        Some(bytes) if bytes.len() <= 8 => Ok(HardwareAddress::new(&bytes)),
        _ => Err(format!(
            "{text:?} is no hardware address; give up to 8 bytes, as \"02:00:00:00:00:01\""
        )),
    }
}
