use super::Count;
use ipqext_sdk::Verdict;
use ipqext_sdk::test::{Kit, TestPacket};

fn info_after(packets: impl IntoIterator<Item = TestPacket>) -> Result<String, String> {
    let mut kit = Kit::<Count>::new()?;
    for decision in kit.decide_batch(packets) {
        assert_eq!(decision.verdict, Verdict::Pass);
    }
    Ok(kit.info().unwrap_or_default())
}

#[test]
fn nothing_yet() -> Result<(), String> {
    let table = "\
protocol  packets  bytes
total           0      0";
    assert_eq!(info_after([])?, table);
    Ok(())
}

#[test]
fn protocols_are_counted_apart_the_most_first() -> Result<(), String> {
    let v4 = ("10.0.0.1", "10.0.0.2");
    let info = info_after([
        TestPacket::protocol(50, v4.0, v4.1).payload(&[0; 80]),
        TestPacket::ping(v4.0, v4.1),
        TestPacket::ping("fe80::1", "fe80::2"),
        TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53").payload(&[0; 1000]),
        TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53"),
        TestPacket::tcp("10.0.0.1:1000", "10.0.0.2:80"),
        TestPacket::protocol(132, v4.0, v4.1),
        TestPacket::protocol(253, v4.0, v4.1),
        TestPacket::raw(0x0806, [0; 28]),
        TestPacket::raw(0x88cc, [0; 50]),
    ])?;
    let table = "\
protocol          packets  bytes
UDP                     2   1076
ICMP                    1     28
TCP                     1     40
ESP                     1    100
ICMPv6                  1     48
SCTP                    1     20
IP protocol 253         1     20
ARP                     1     28
EtherType 0x88cc        1     50
total                  10   1410";
    assert_eq!(info, table);
    Ok(())
}

#[test]
fn bytes_are_those_of_the_whole_packet() -> Result<(), String> {
    let long = TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53").payload(&[0; 1400]);
    assert!(info_after([long])?.contains("UDP             1   1428"));
    Ok(())
}

#[test]
fn fragments_count_as_what_they_are_of() -> Result<(), String> {
    let datagram = TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53").payload(&[0; 64]);
    let info = info_after([datagram.clone().fragment(0..32), datagram.fragment(32..72)])?;
    assert!(info.contains("UDP             2    168"), "{info}");
    Ok(())
}

#[test]
fn what_cannot_be_seen_is_unknown() -> Result<(), String> {
    // A hop-by-hop header that claims 8 bytes and has 4.
    let cut = TestPacket::protocol(0, "fe80::1", "fe80::2").payload(&[17, 0, 1, 4]);
    let info = info_after([cut, TestPacket::raw(0x0800, [0x45; 10])])?;
    assert!(info.contains("IP, unknown             1     44"), "{info}");
    assert!(info.contains("EtherType 0x0800        1     10"), "{info}");
    Ok(())
}

#[test]
fn reset_clears() -> Result<(), String> {
    let mut kit = Kit::<Count>::new()?;
    let empty = kit.info();
    kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
    assert_ne!(kit.info(), empty);
    kit.reset()?;
    assert_eq!(kit.info(), empty);
    Ok(())
}

#[test]
fn it_takes_no_parameters_and_says_so() -> Result<(), String> {
    assert!(Kit::<Count>::with_params("by=port").is_err());
    let kit = Kit::<Count>::new()?;
    assert!(
        kit.help()
            .is_some_and(|help| help.contains("no parameters"))
    );
    Ok(())
}

#[test]
fn the_counts_are_carried_over_and_those_of_several_workers_added_up() -> Result<(), String> {
    let packets = || {
        [
            TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53"),
            TestPacket::ping("10.0.0.1", "10.0.0.2"),
            TestPacket::raw(0x0806, [0; 28]),
        ]
    };
    let mut kit = Kit::<Count>::new()?;
    kit.decide_batch(packets());
    let saved = kit.save()?;
    assert!(saved.len() < 20, "only what was seen: {saved:?}");
    let mut next = Kit::<Count>::restored("", "0.1.0", [saved.clone()])?;
    assert_eq!(next.info(), kit.info());
    next.decide_batch(packets());
    let both = Kit::<Count>::restored("", "0.1.0", [saved, next.save()?])?;
    let table = "\
protocol  packets  bytes
ICMP            3     84
UDP             3     84
ARP             3     84
total           9    252";
    assert_eq!(both.info().as_deref(), Some(table));
    Ok(())
}
