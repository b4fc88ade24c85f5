//! Every repaired checksum is held against one that `etherparse` computes anew.

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::prelude::*;

use super::*;
use crate::change::addresses;
use crate::changeable;
use crate::checksum::Sum;
use crate::layout::{Layout, Network, protocol, u16_at};

const TTL: usize = 8;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// What stands above IP in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Above {
    Udp,
    Tcp,
    Icmp,
}

/// A right packet.
fn packet(network: Network, above: Above, payload: &[u8]) -> Vec<u8> {
    let ip = match network {
        Network::Ipv4 => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
        Network::Ipv6 => PacketBuilder::ipv6([1; 16], [2; 16], 64),
    };
    let mut bytes = Vec::new();
    match (above, network) {
        (Above::Udp, _) => ip.udp(1000, 2000).write(&mut bytes, payload),
        (Above::Tcp, _) => ip
            .tcp(1000, 2000, 7, 1024)
            .ack(9)
            .write(&mut bytes, payload),
        (Above::Icmp, Network::Ipv4) => ip.icmpv4_echo_request(5, 6).write(&mut bytes, payload),
        (Above::Icmp, Network::Ipv6) => ip.icmpv6_echo_request(5, 6).write(&mut bytes, payload),
    }
    .unwrap();
    bytes
}

fn edit(at: usize, remove: usize, insert: &[u8]) -> Edit<'_> {
    Edit { at, remove, insert }
}

fn rewritten(old: &[u8], edits: &[Edit<'_>], partial: bool) -> Result<(Vec<u8>, Kind), Invalid> {
    let mut new = b"before".to_vec();
    let result = rewrite(old, edits.iter().copied(), partial, &mut new);
    let written = new.split_off(6);
    assert_eq!(new, b"before");
    assert!(result.is_ok() || written.is_empty());
    result.map(|kind| (written, kind))
}

/// Where the transport checksum stands.
fn checksum_at(bytes: &[u8]) -> usize {
    let layout = Layout::of(bytes).unwrap();
    let field = match layout.protocol.unwrap() {
        protocol::TCP => 16,
        protocol::UDP => 6,
        _ => 2,
    };
    layout.transport + field
}

/// The checksums of IPv4 and of the transport, as they stand and as they should.
fn checksums(bytes: &[u8]) -> ((u16, u16), (u16, u16)) {
    let headers = PacketHeaders::from_ip_slice(bytes).unwrap();
    let payload = headers.payload.slice();
    let stands = u16_at(bytes, checksum_at(bytes)).unwrap();
    let (ip, should) = match (headers.net.unwrap(), headers.transport.unwrap()) {
        (NetHeaders::Ipv4(ip, _), transport) => {
            let should = match transport {
                TransportHeader::Udp(udp) => udp.calc_checksum_ipv4(&ip, payload).unwrap(),
                TransportHeader::Tcp(tcp) => tcp.calc_checksum_ipv4(&ip, payload).unwrap(),
                TransportHeader::Icmpv4(icmp) => icmp.icmp_type.calc_checksum(payload),
                _ => unreachable!(),
            };
            ((ip.header_checksum, ip.calc_header_checksum()), should)
        }
        (NetHeaders::Ipv6(ip, _), transport) => {
            let should = match transport {
                TransportHeader::Udp(udp) => udp.calc_checksum_ipv6(&ip, payload).unwrap(),
                TransportHeader::Tcp(tcp) => tcp.calc_checksum_ipv6(&ip, payload).unwrap(),
                TransportHeader::Icmpv6(icmp) => {
                    let (from, to) = (ip.source, ip.destination);
                    icmp.icmp_type.calc_checksum(from, to, payload).unwrap()
                }
                _ => unreachable!(),
            };
            ((0, 0), should)
        }
        _ => unreachable!(),
    };
    (ip, (stands, should))
}

fn assert_right(bytes: &[u8]) {
    let (ip, transport) = checksums(bytes);
    assert_eq!(ip.0, ip.1, "the checksum of IP");
    assert_eq!(transport.0, transport.1, "the transport checksum");
    let layout = Layout::of(bytes).unwrap();
    assert_eq!(layout.end, bytes.len());
}

/// Adds to a checksum, so that it is wrong.
fn corrupt(bytes: &mut [u8], at: usize, by: u16) {
    let wrong = u16_at(bytes, at).unwrap().wrapping_add(by);
    bytes[at..at + 2].copy_from_slice(&wrong.to_be_bytes());
}

fn network() -> impl Strategy<Value = Network> {
    prop_oneof![Just(Network::Ipv4), Just(Network::Ipv6)]
}

fn above() -> impl Strategy<Value = Above> {
    prop_oneof![Just(Above::Udp), Just(Above::Tcp), Just(Above::Icmp)]
}

proptest! {
    #[test]
    fn a_udp_payload_of_any_length_is_put_right(
        network in network(),
        old in proptest::collection::vec(any::<u8>(), 0..1400),
        new in proptest::collection::vec(any::<u8>(), 0..1400),
    ) {
        let bytes = packet(network, Above::Udp, &old);
        let at = bytes.len() - old.len();
        let (written, kind) = rewritten(&bytes, &[edit(at, old.len(), &new)], false).unwrap();
        prop_assert_eq!(&written[at..], &new[..]);
        assert_right(&written);
        prop_assert_eq!(kind, if old == new { Kind::Nothing } else { Kind::Any });
    }

    #[test]
    fn any_bytes_behind_the_headers_and_any_address_are_put_right(
        network in network(),
        above in above(),
        mut payload in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<proptest::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 1..8),
        last_of_address in any::<u8>(),
    ) {
        let bytes = packet(network, above, &payload);
        let headers = bytes.len() - payload.len();
        let at = at.index(payload.len());
        let with = &with[..with.len().min(payload.len() - at)];
        let address = if network == Network::Ipv4 { 15 } else { 23 };
        let edits = [
            edit(address, 1, std::slice::from_ref(&last_of_address)),
            edit(headers + at, with.len(), with),
        ];
        let (written, _) = rewritten(&bytes, &edits, false).unwrap();
        assert_right(&written);
        payload[at..at + with.len()].copy_from_slice(with);
        prop_assert_eq!(&written[headers..], &payload[..]);
        prop_assert_eq!(written[address], last_of_address);
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong_as_it_was(
        network in network(),
        above in above(),
        payload in proptest::collection::vec(any::<u8>(), 2..200),
        by in 1u16..0xffff,
        byte in any::<u8>(),
    ) {
        let right = packet(network, above, &payload);
        let mut wrong = right.clone();
        let field = checksum_at(&wrong);
        corrupt(&mut wrong, field, by);
        // That would say that there is none.
        prop_assume!(above != Above::Udp || u16_at(&wrong, field) != Some(0));
        prop_assume!(wrong[field..field + 2] != [0xff, 0xff] || right[field..field + 2] != [0, 0]);
        prop_assume!(wrong[field..field + 2] != [0, 0] || right[field..field + 2] != [0xff, 0xff]);
        let last = wrong.len() - 1;
        let edits = [edit(last, 1, std::slice::from_ref(&byte))];
        let (written, _) = rewritten(&wrong, &edits, false).unwrap();
        let (_, (stands, should)) = checksums(&written);
        // Both forms of 0 are one number.
        prop_assert_ne!(u32::from(stands) % 0xffff, u32::from(should) % 0xffff);
    }

    #[test]
    fn a_partial_sum_is_completed(
        network in network(),
        above in prop_oneof![Just(Above::Udp), Just(Above::Tcp)],
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        hops in 1u8..64,
    ) {
        let mut bytes = packet(network, above, &payload);
        make_partial(&mut bytes);
        let at = if network == Network::Ipv4 { 8 } else { 7 };
        let edits = [edit(at, 1, std::slice::from_ref(&hops))];
        let (written, kind) = rewritten(&bytes, &edits, true).unwrap();
        prop_assert_eq!(kind, Kind::IpFields);
        assert_right(&written);
    }

    #[test]
    fn rubbish_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        version in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60)],
        number in prop_oneof![Just(0u8), Just(1), Just(6), Just(17), Just(43), Just(44), Just(51), Just(58)],
        at in 0usize..130,
        remove in 0usize..130,
        insert in proptest::collection::vec(any::<u8>(), 0..20),
        partial in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if bytes.len() > 9 {
            bytes[0] = version;
            bytes[if version == 0x60 { 6 } else { 9 }] = number;
        }
        if let Ok((written, _)) = rewritten(&bytes, &[edit(at, remove, &insert)], partial) {
            prop_assert_eq!(written.len(), bytes.len() - remove + insert.len());
        }
    }
}

/// Leaves of the transport checksum what the kernel leaves to hardware.
fn make_partial(bytes: &mut [u8]) {
    let layout = Layout::of(bytes).unwrap();
    let sum = Sum::default()
        .add(&bytes[addresses(layout.network)])
        .add_number((bytes.len() - layout.transport) as u32)
        .add_number(u32::from(layout.protocol.unwrap()));
    let at = checksum_at(bytes);
    bytes[at..at + 2].copy_from_slice(&sum.fold().to_be_bytes());
}

#[test]
fn each_field_has_its_kind() {
    let udp = packet(Network::Ipv4, Above::Udp, b"payload");
    let udp6 = packet(Network::Ipv6, Above::Udp, b"payload");
    let tcp = packet(Network::Ipv4, Above::Tcp, b"payload");
    let icmp = packet(Network::Ipv4, Above::Icmp, b"payload and more");
    let cases = [
        (&udp, 1, Kind::IpFields),
        (&udp, 4, Kind::IpFields),
        (&udp, TTL, Kind::IpFields),
        (&udp, 12, Kind::Headers),
        (&udp, 19, Kind::Headers),
        (&udp, IPV4, Kind::Headers),
        (&udp, IPV4 + 3, Kind::Headers),
        (&udp, IPV4 + 8, Kind::Any),
        (&udp6, 1, Kind::IpFields),
        (&udp6, 3, Kind::IpFields),
        (&udp6, 7, Kind::IpFields),
        (&udp6, 8, Kind::Headers),
        (&udp6, 39, Kind::Headers),
        (&udp6, IPV6 + 1, Kind::Headers),
        (&tcp, IPV4 + 4, Kind::Headers),
        (&tcp, IPV4 + 13, Kind::Headers),
        (&tcp, IPV4 + 15, Kind::Headers),
        (&tcp, IPV4 + 19, Kind::Headers),
        (&tcp, IPV4 + 20, Kind::Any),
        (&icmp, IPV4, Kind::Headers),
        (&icmp, IPV4 + 5, Kind::Headers),
        (&icmp, IPV4 + 9, Kind::Any),
    ];
    for (bytes, at, kind) in cases {
        let other = [bytes[at] ^ 0x50];
        let (written, found) = rewritten(bytes, &[edit(at, 1, &other)], false).unwrap();
        assert_eq!(found, kind, "byte {at}");
        assert_eq!(written[at], other[0], "byte {at}");
        assert_right(&written);
    }
}

#[test]
fn what_an_edit_writes_into_a_checksum_is_ignored() {
    for network in [Network::Ipv4, Network::Ipv6] {
        let bytes = packet(network, Above::Udp, b"payload");
        let at = checksum_at(&bytes);
        let edits = [edit(at, 2, &[1, 2]), edit(bytes.len() - 1, 1, b"x")];
        let (written, _) = rewritten(&bytes, &edits, false).unwrap();
        assert_right(&written);
        let (written, kind) = rewritten(&bytes, &edits[..1], false).unwrap();
        assert_eq!((written, kind), (bytes, Kind::Nothing));
    }
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    for network in [Network::Ipv4, Network::Ipv6] {
        let mut bytes = packet(network, Above::Udp, b"payload");
        let at = checksum_at(&bytes);
        bytes[at..at + 2].fill(0);
        let end = bytes.len();
        let (written, _) = rewritten(&bytes, &[edit(end - 7, 7, b"shorter")], false).unwrap();
        assert_eq!(written[at..at + 2], [0, 0]);
        let (written, _) = rewritten(&bytes, &[edit(end - 7, 7, b"short")], false).unwrap();
        assert_eq!(written[at..at + 2], [0, 0]);
    }
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let bytes = packet(Network::Ipv4, Above::Udp, &[0, 0]);
    let at = checksum_at(&bytes);
    // The payload that makes up for all of the sum.
    let rest = bytes[at..at + 2].to_vec();
    let (written, _) = rewritten(&bytes, &[edit(bytes.len() - 2, 2, &rest)], false).unwrap();
    assert_eq!(written[at..at + 2], [0xff, 0xff]);
}

#[test]
fn lengths_are_set_unless_the_edit_did_so_rightly() {
    let bytes = packet(Network::Ipv4, Above::Udp, b"payload");
    let longer = edit(bytes.len(), 0, b"!");
    let right = (bytes.len() as u16 + 1).to_be_bytes();
    let (written, _) = rewritten(&bytes, &[edit(2, 2, &right), longer], false).unwrap();
    assert_right(&written);
    assert_eq!(u16_at(&written, 24), Some(16));
    let wrong = 999u16.to_be_bytes();
    for at in [2, 24] {
        let error = rewritten(&bytes, &[edit(at, 2, &wrong), longer], false).unwrap_err();
        let is_length = matches!(error, Invalid::WrongLength { found: 999, .. });
        assert!(is_length, "{error}");
    }
}

#[test]
fn what_cannot_be_right_is_refused_with_its_reason() {
    let udp = packet(Network::Ipv4, Above::Udp, b"payload");
    let udp6 = packet(Network::Ipv6, Above::Udp, b"payload");
    let tcp = packet(Network::Ipv4, Above::Tcp, b"payload");
    let icmp = packet(Network::Ipv6, Above::Icmp, b"payload");
    let end = udp.len();
    let long = [0; 65_536];
    let cases: [(&[u8], Edit<'_>, &str); 17] = [
        (
            &udp,
            edit(end, 1, b""),
            "an edit of 1 bytes at 35 goes beyond the 35 bytes",
        ),
        (&udp, edit(usize::MAX, 2, b""), "goes beyond the 35 bytes"),
        (
            &udp,
            edit(0, end, b""),
            "shortened to 0 bytes, below the end of its headers",
        ),
        (&udp, edit(20, 15, b"1234567"), "shortened to 27 bytes"),
        (
            &udp,
            edit(0, 1, &[0x46]),
            "the version of IP or the length of its header",
        ),
        (&udp, edit(6, 1, &[0x20]), "the fragment fields of IP"),
        (&udp, edit(9, 1, &[6]), "the protocol"),
        (
            &udp,
            edit(3, 1, &[7]),
            "sets the total length of IP to 7, but it is 35",
        ),
        (
            &udp,
            edit(24, 2, &[0, 3]),
            "sets the length of UDP to 3, but it is 15",
        ),
        (&udp, edit(30, 0, &long), "at most 65531 can go back"),
        (&udp6, edit(0, 1, &[0x40]), "the version of IP"),
        (&udp6, edit(6, 1, &[6]), "the next header of IP"),
        (
            &tcp,
            edit(tcp.len(), 0, b"more"),
            "of a TCP segment by 4 bytes",
        ),
        (
            &tcp,
            edit(tcp.len() - 1, 1, b""),
            "of a TCP segment by -1 bytes",
        ),
        (&tcp, edit(32, 1, &[0x60]), "the data offset of TCP"),
        (&icmp, edit(icmp.len(), 0, b"more"), "possible in UDP only"),
        (b"\x10", edit(0, 1, b"x"), "only IP packets"),
    ];
    for (bytes, change, reason) in cases {
        let error = rewritten(bytes, &[change], false).unwrap_err().to_string();
        assert!(
            error.contains(reason),
            "{error:?} does not tell of {reason:?}"
        );
    }
    let error = rewritten(&udp, &[edit(9, 4, &udp[9..13]), edit(12, 1, b"x")], false).unwrap_err();
    assert_eq!(error, Invalid::Order { at: 12, end: 13 });
}

#[test]
fn of_a_fragment_only_what_is_there_can_change() {
    let mut first = packet(Network::Ipv4, Above::Udp, b"payload");
    first[6] |= 0x20;
    // The length of the whole.
    first[24..26].copy_from_slice(&999u16.to_be_bytes());
    let mut later = first.clone();
    later[7] = 1;
    let last = first.len() - 1;
    let identification = edit(4, 2, &[1, 2]);
    let payload = edit(last, 1, b"x");
    for bytes in [&first, &later] {
        let error = rewritten(bytes, &[identification], false).unwrap_err();
        assert_eq!(error, Invalid::Fragment("the identification"));
        assert!(rewritten(bytes, &[edit(last, 1, b"")], false).is_err());
    }
    assert_eq!(
        rewritten(&later, &[payload], false),
        Err(Invalid::Fragment("the payload"))
    );
    let before = u16_at(&first, 26).unwrap();
    let (written, _) = rewritten(&first, &[payload], false).unwrap();
    let old = Sum::default().add(&[first[last]]).fold();
    let new = Sum::default().add(b"x").fold();
    let expected = i64::from(before) + i64::from(old) - i64::from(new);
    assert_eq!(
        i64::from(u16_at(&written, 26).unwrap()),
        expected.rem_euclid(0xffff)
    );
    // An address stands in the pseudo-header of the whole: every piece may change it.
    let address = edit(15, 1, &[77]);
    assert_ne!(
        rewritten(&first, &[address], false).unwrap().0[26..28],
        first[26..28]
    );
    assert_eq!(
        rewritten(&later, &[address], false).unwrap().0[20..],
        later[20..]
    );
}

/// Its transport checksum, which covers the addresses, is not there to be repaired.
#[test]
fn a_first_fragment_without_its_checksum_keeps_its_addresses() {
    let mut first = packet(Network::Ipv4, Above::Tcp, b"");
    first.truncate(28);
    first[3] = 28;
    first[6] = 0x20;
    let error = rewritten(&first, &[edit(15, 1, &[77])], false).unwrap_err();
    assert_eq!(error, Invalid::Fragment("an address"));
    assert!(rewritten(&first, &[edit(TTL, 1, &[7])], false).is_ok());
    // Elsewhere a checksum covers no addresses.
    first[9] = 89;
    assert!(rewritten(&first, &[edit(15, 1, &[77])], false).is_ok());
}

#[test]
fn what_protects_itself_is_left_alone() {
    let mut bytes = packet(Network::Ipv4, Above::Udp, b"payload and more of it");
    for number in [
        protocol::ESP,
        protocol::SCTP,
        protocol::DCCP,
        protocol::UDP_LITE,
    ] {
        bytes[9] = number;
        let (written, _) = rewritten(&bytes, &[edit(15, 1, &[9])], false).unwrap();
        let has_pseudo_header = matches!(number, protocol::DCCP | protocol::UDP_LITE);
        assert_eq!(
            written[26..28] != bytes[26..28],
            has_pseudo_header,
            "{number}"
        );
        let error = rewritten(&bytes, &[edit(40, 1, b"x")], false).unwrap_err();
        assert!(matches!(error, Invalid::Protected(_)), "{number}: {error}");
    }
    // An authentication header of 12 bytes, for UDP behind it.
    let mut guarded = packet(Network::Ipv4, Above::Udp, &[0; 40]);
    guarded[9] = protocol::AH;
    guarded[20] = protocol::UDP;
    guarded[21] = 1;
    for at in [4, 15, 40] {
        let error = rewritten(&guarded, &[edit(at, 1, b"x")], false).unwrap_err();
        assert_eq!(error, Invalid::Protected("the authentication header"));
    }
    assert!(rewritten(&guarded, &[edit(TTL, 1, b"x")], false).is_ok());
}

#[test]
fn a_partial_sum_that_is_of_another_header_is_left_alone() {
    let bytes = packet(Network::Ipv4, Above::Udp, b"payload");
    let hops = edit(TTL, 1, &[3]);
    assert_eq!(rewritten(&bytes, &[hops], true), Err(Invalid::Partial));
    let mut other = bytes.clone();
    other[9] = 47;
    assert_eq!(rewritten(&other, &[hops], true), Err(Invalid::Partial));
    assert!(rewritten(&other, &[hops], false).is_ok());
}

/// Also by its first bytes, of which who asks may have no more.
#[test]
fn what_can_be_changed_is_told_as_it_is_changed() {
    for network in [Network::Ipv4, Network::Ipv6] {
        let hops = if network == Network::Ipv4 { TTL } else { 7 };
        for above in [Above::Udp, Above::Tcp, Above::Icmp] {
            let sound = packet(network, above, b"hello");
            let padded = [&sound[..], &[0; 3]].concat();
            let mut partial = sound.clone();
            if above != Above::Icmp {
                let layout = Layout::of(&sound).unwrap();
                let number = layout.protocol.unwrap();
                let sum = Sum::default()
                    .add(&sound[addresses(network)])
                    .add_number((sound.len() - layout.transport) as u32)
                    .add_number(u32::from(number));
                let at = checksum_at(&sound);
                partial[at..at + 2].copy_from_slice(&sum.fold().to_be_bytes());
            }
            for bytes in [sound, padded, partial] {
                for is_partial in [false, true] {
                    let change = rewritten(&bytes, &[edit(hops, 1, &[9])], is_partial);
                    // The longest header with its checksum.
                    let first = &bytes[..bytes.len().min(IPV6 + 20)];
                    for there in [&bytes[..], first] {
                        let told = changeable(there, bytes.len(), is_partial);
                        assert_eq!(told.err(), change.clone().err(), "{bytes:x?}");
                    }
                }
            }
        }
    }
    assert_eq!(changeable(&[0x15; 60], 60, false), Err(Invalid::NotIp));
}
