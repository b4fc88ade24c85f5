//! The display filter against tcpdump itself: both choose from the same capture.

mod packets;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipqext_filter::PacketFilter;
use ipqext_tests::kernel::demanded;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};

use packets::{Captured, packets};

/// Expressions that mean the same to both.
///
/// Left out is what tcpdump has limits of its own in: what stands behind an extension
/// header of IPv6 (see [`LONGHAND`]); a number right of an arithmetic operator that a
/// packet has no header for, which it reads all the same; dividing by a constant 0 and
/// shifting by a constant above 31, which it refuses; `%` and `^` beside other operators,
/// which are of no precedence in its grammar.
const SAME: &[&str] = &[
    "",
    "ip",
    "ip6",
    "not ip and not ip6",
    "icmp",
    "not icmp",
    "ip proto 17",
    "ip proto 47",
    "ip and tcp",
    "ip and udp",
    "ip and sctp",
    "not (tcp or udp or sctp or icmp or icmp6) and ip",
    "host 10.0.0.1",
    "src 10.0.0.1",
    "dst host 10.0.0.1",
    "src or dst host 10.0.0.2",
    "src and dst host 10.0.0.2",
    "src and dst net 10.0.0.0/8",
    "ip host 192.168.1.77",
    "host fe80::1",
    "src host fe80::1 or dst host ff02::fb",
    "host 10.0.0.9 or 10.0.0.2 or fe80::2",
    "not host 10.0.0.1",
    "not src host 2001:db8::1 and ip6",
    "net 10.0.0.0/24",
    "net 10",
    "net 10.1",
    "src net 172.16.0.0/12",
    "dst net 10.1.0.0 mask 255.255.0.0",
    "not net 0.0.0.0/0",
    "net 2001:db8::/32",
    "dst net 2001:db8:1::/48",
    "ip6 net ::/0",
    "net fe80::/10 or net 192.168.0.0/16",
    "ip multicast",
    "ip6 multicast",
    "ip and port 53",
    "ip and src port 53",
    "ip and dst port 53",
    "udp port 53 and ip",
    "tcp port 80 and ip",
    "ip and tcp port 53",
    "ip and sctp port 5000",
    "ip and src and dst port 5353",
    "ip and portrange 50-100",
    "ip and tcp dst portrange 440-50000",
    "ip and not port 80",
    "ip and (port 80 or 443)",
    "ip and (port 80 or 53 or 5000)",
    "less 60",
    "greater 441",
    "len = 68",
    "len > 60 && len <= 0x68",
    "len >= 0100 and len != 84",
    "len = ip[2:2]",
    "len > ip[2:2]",
    "icmp[icmptype] = icmp-echo",
    "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 3",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    "icmp[4:4] = 0x10002",
    "ip and tcp[tcpflags] & tcp-syn != 0",
    "ip and tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn",
    "ip and tcp[13] = 0x12 or icmp",
    "ip and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0",
    "ip and tcp[12] >> 4 > 5",
    "ip and tcp[0:2] < tcp[2:2]",
    "ip and udp[4:2] > 100",
    "ip and udp[2:2] * 2 = 106",
    "ip[8] = 1 or ip6[7] = 1",
    "ip[8] - 1 < 63",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff != 0",
    "ip[6] & 0x20 != 0 or ip[6:2] & 0x1fff > 0",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > 100",
    "ip[(ip[0] & 0xf) << 2] = 8",
    "ip[12:4] = 0x0a000001",
    "(ip[1] & 0xfc) >> 2 = 46",
    "ip[1] & 0xfc >> 2 = 56",
    "ip[8] & 0x40 | 1 & 2 = 64",
    "ip[8] & 0x30 + 0x10 << 1 = 0",
    "1 + ip[9] * 2 - 1 << 1 = 24",
    "ip[9] / 4 = 4",
    "ip[9] % 5 = 2",
    "ip[9] ^ 16 = 1",
    "ip6[4:2] > 64",
    "ip6[6] = 44 or ip6[6] = 0",
    "ip6[0:4] & 0xfffff = 0x12345",
    "ip[40] = 7",
    "not ip[40] = 7",
    "ip6 or ip[60] = 7",
    "udp[8] = 7 and ip or icmp",
    "not icmp and not ip6 and less 80",
    "icmp or ip and port 53",
    "icmp or (ip and port 53)",
    "!(ip && !icmp) and greater 50",
    "not not icmp",
];

/// Expressions that reach further here than there, as our documentation says: headers
/// above IPv6, also behind extension headers; and an address alone. Each with how to tell
/// tcpdump so.
const LONGHAND: &[(&str, &str)] = &[
    ("10.0.0.1", "host 10.0.0.1"),
    ("tcp", "ip proto 6 or ip6 protochain 6"),
    ("udp", "ip proto 17 or ip6 protochain 17"),
    ("sctp", "ip proto 132 or ip6 protochain 132"),
    ("icmp6", "ip6 protochain 58"),
    ("proto 17", "ip proto 17 or ip6 protochain 17"),
    ("ip6 proto udp", "ip6 protochain 17"),
    ("ip6 and not tcp", "ip6 and not ip6 protochain 6"),
    (
        "port 53",
        "port 53 or (BEHIND and (ip6[40] = 6 or ip6[40] = 17 or ip6[40] = 132) \
         and (ip6[48:2] = 53 or ip6[50:2] = 53))",
    ),
    (
        "udp dst portrange 50-60",
        "udp dst portrange 50-60 \
         or (BEHIND and ip6[40] = 17 and ip6[50:2] >= 50 and ip6[50:2] <= 60)",
    ),
    (
        "tcp[tcpflags] & tcp-syn != 0",
        "tcp[13] & 2 != 0 or (ip6[6] = 6 and ip6[53] & 2 != 0) \
         or (BEHIND and ip6[40] = 6 and ip6[61] & 2 != 0)",
    ),
    (
        "udp[4:2] > 100",
        "udp[4:2] > 100 or (ip6[6] = 17 and ip6[44:2] > 100) \
         or (BEHIND and ip6[40] = 17 and ip6[52:2] > 100)",
    ),
    (
        "icmp6[icmp6type] = icmp6-echo",
        "(ip6[6] = 58 and ip6[40] = 128) or (BEHIND and ip6[40] = 58 and ip6[48] = 128)",
    ),
];

/// Packets of IPv6 with an extension header, of 8 bytes as all here, in front of what
/// they carry; not pieces that have no header of that.
const BEHIND: &str = "(ip6[6] = 0 or (ip6[6] = 44 and ip6[42:2] & 0xfff8 = 0))";

/// Writes the packets as raw IP, each with its number for a time.
fn write(file: &Path, packets: &[Captured]) {
    let header = PcapHeader {
        datalink: DataLink::RAW,
        ..Default::default()
    };
    let mut writer = PcapWriter::with_header(File::create(file).unwrap(), header).unwrap();
    for (number, packet) in packets.iter().enumerate() {
        let time = Duration::from_secs(number as u64);
        let length = u32::try_from(packet.length).unwrap();
        let packet = PcapPacket::new(time, length, &packet.bytes);
        writer.write_packet(&packet).unwrap();
    }
}

/// The numbers of the packets that tcpdump chooses.
fn chosen_by_tcpdump(file: &Path, expression: &str) -> BTreeSet<usize> {
    let mut tcpdump = Command::new("tcpdump");
    // By its input and output, as it may have no right to files of this user's. Not
    // optimised: that leaves out reads behind the end, which reject a packet.
    tcpdump.args(["-O", "-n", "-r", "-", "-w", "-", "--", expression]);
    tcpdump.stdin(Stdio::from(File::open(file).unwrap()));
    let output = tcpdump.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tcpdump '{expression}': {error}");
    let mut reader = PcapReader::new(&output.stdout[..]).unwrap();
    let mut chosen = BTreeSet::new();
    while let Some(packet) = reader.next_packet() {
        chosen.insert(packet.unwrap().timestamp.as_secs() as usize);
    }
    chosen
}

fn chosen_by_us(packets: &[Captured], expression: &str) -> BTreeSet<usize> {
    let filter = PacketFilter::parse(expression);
    let filter = filter.unwrap_or_else(|error| panic!("{expression}: {error}"));
    let packets = packets.iter().enumerate();
    let chosen = packets.filter(|(_, packet)| filter.matches(&packet.bytes, packet.length));
    chosen.map(|(number, _)| number).collect()
}

#[test]
fn expressions_choose_the_packets_that_tcpdump_chooses() {
    let test = "expressions_choose_the_packets_that_tcpdump_chooses";
    let there = Command::new("tcpdump").arg("--version").output();
    if demanded(test, there.map_err(|error| format!("tcpdump: {error}"))).is_none() {
        return;
    }
    let packets = packets();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("packets.pcap");
    write(&file, &packets);
    let same = SAME.iter().map(|expression| (*expression, *expression));
    let mut wrong = String::new();
    for (ours, theirs) in same.chain(LONGHAND.iter().copied()) {
        let expected = chosen_by_tcpdump(&file, &theirs.replace("BEHIND", BEHIND));
        let chosen = chosen_by_us(&packets, ours);
        if expected.is_empty() {
            wrong += &format!("{theirs}: no packet shows anything\n");
        }
        for number in expected.symmetric_difference(&chosen) {
            let by = if chosen.contains(number) {
                "us"
            } else {
                "tcpdump"
            };
            let Captured { bytes, length } = &packets[*number];
            wrong += &format!("{ours}: only {by} chose, of {length} bytes, {bytes:02x?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
