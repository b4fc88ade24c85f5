use std::fs;

use super::*;
use crate::cases::START_NS;
use crate::cases::expectation;
use crate::cases::expectation::{After, Expectation, Said};
use crate::chain::{LimitsChange, Share};
use crate::packet::{Hook, Verdict, Verdicts};

const PING: &str =
    "45 00 00 1c 00 00 40 00 40 01 26 df 0a 00 00 01 0a 00 00 02 08 00 f7 fd 00 01 00 01";

fn parse(text: &str) -> Result<Vec<Case>, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rules"), "drop udp\n").unwrap();
    fs::write(dir.path().join("day.verdicts"), "# ipqext verdicts 1\n").unwrap();
    fs::write(dir.path().join("day.pcap"), "").unwrap();
    let path = dir.path().join("basic.toml");
    fs::write(&path, text).unwrap();
    let place = format!("{}/", dir.path().display());
    read(&path).map_err(|error| error.to_string().replace(&place, ""))
}

fn only(text: &str) -> Case {
    let mut cases = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

#[test]
fn a_first_case_has_six_lines() {
    let text = format!(
        "[[case]]\n\
         name = \"a ping is dropped\"\n\
         \n\
         [[case.packet]]\n\
         bytes = \"{PING}\"\n\
         expect = \"drop\"\n"
    );
    assert_eq!(text.lines().count(), 6);
    let case = only(&text);
    assert_eq!((case.name.as_str(), case.line), ("a ping is dropped", 1));
    assert_eq!((case.batch, case.seed, case.params.as_str()), (1, 0, ""));
    let [given] = &case.packets[..] else {
        panic!("{:?}", case.packets);
    };
    assert_eq!(given.origin, "line 4");
    assert_eq!(given.bytes.len(), 28);
    let packet = &given.packet;
    assert_eq!((packet.id, packet.mark, packet.protocol), (1, 0, 0x0800));
    assert_eq!((packet.hook, packet.arrived_ns), (Hook::Input, START_NS));
    assert_eq!(packet.original_length, 28);
    let drop = Expectation {
        said: Some(Said::Verdict(Verdict::Drop)),
        ..Expectation::default()
    };
    assert_eq!(given.expected, Some(drop));
}

#[test]
fn all_that_can_be_said_is_read() {
    let text = r#"
[[case]]
name = "everything"
params-file = "rules"
group = 0x6
seed = 7
batch = 3
step = "10ms"
mark = 2
hook = "forward"
in = "eth0"
out = "eth1"
info = "2 dropped"

[case.grant]
verdicts = ["drop", "stop"]
mark-mask = 0xff

[case.limits]
deadline = "50ms"
cpu = "20%"

[[case.packet]]
bytes = """
    0x0000:  4500 0014 0000 0000 40fd 65eb 0a00 0001  E.......@.e.....
    0x0010:  0a00 0002                                ....
"""
repeat = 2
expect = ["pass", { verdict = "queue 5", mark = 0x12, bytes = "45", fault = true }]

[[case.packet]]
bytes = "00 01"
protocol = 0x0806
at = "2s"
mark = 0x10
hook = "output"
in = "lo"
out = "eth0"
hardware-address = "02:00:00:00:00:01"
expect = { mark = "any", bytes = "any" }

[[case.packet]]
bytes = "60"

[[case]]
name = "refused"
refused = "unknown parameter"
"#;
    let cases = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let [case, refused] = &cases[..] else {
        panic!("{cases:?}");
    };
    assert_eq!(case.params, "drop udp\n");
    assert_eq!(case.group, "6".parse().unwrap());
    assert_eq!((case.seed, case.batch), (7, 3));
    assert_eq!(case.info.as_deref(), Some("2 dropped"));
    assert_eq!(case.grant.verdicts, Some(Verdicts::DROP | Verdicts::STOP));
    assert_eq!(case.grant.mark_mask, Some(0xff));
    let limits = LimitsChange {
        batch_deadline: Some(Duration::from_millis(50)),
        cpu: Some(Some(Share::from_percent(20.0).unwrap())),
        ..LimitsChange::default()
    };
    assert_eq!(case.limits, limits);
    let links = case.links.iter();
    let links: Vec<_> = links
        .map(|link| (link.index, link.name.as_str(), link.hardware_type))
        .collect();
    assert_eq!(links, [(1, "eth0", 1), (2, "eth1", 1), (3, "lo", 772)]);
    let packets: Vec<_> = case.packets.iter().map(|given| given.packet).collect();
    let times: Vec<u64> = packets
        .iter()
        .map(|packet| (packet.arrived_ns - START_NS) / 1_000_000)
        .collect();
    assert_eq!(times, [0, 10, 2000, 2010]);
    assert_eq!(
        packets.iter().map(|packet| packet.id).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(
        packets.iter().map(|packet| packet.mark).collect::<Vec<_>>(),
        [2, 2, 16, 2]
    );
    assert_eq!((packets[1].in_link, packets[1].out_link), (1, 2));
    assert_eq!((packets[2].in_link, packets[2].out_link), (3, 1));
    assert_eq!(
        (packets[1].hook, packets[2].hook),
        (Hook::Forward, Hook::Output)
    );
    assert_eq!((packets[2].protocol, packets[3].protocol), (0x0806, 0x86dd));
    assert_eq!(packets[2].hardware_address.to_u64(), 0x0100_0000_0002);
    let expected: Vec<_> = case
        .packets
        .iter()
        .map(|given| given.expected.clone())
        .collect();
    let said = |verdict| Some(Said::Verdict(verdict));
    assert_eq!(expected[0].as_ref().unwrap().said, said(Verdict::Pass));
    let second = Expectation {
        said: said(Verdict::Queue(5)),
        mark: After::Is(0x12),
        bytes: After::Is([0x45].into()),
        fault: true,
    };
    assert_eq!(expected[1], Some(second));
    let anything = Expectation {
        said: None,
        mark: After::Any,
        bytes: After::Any,
        fault: false,
    };
    assert_eq!(expected[2], Some(anything));
    assert_eq!(expected[3], None);
    assert_eq!(refused.refused.as_deref(), Some("unknown parameter"));
    assert_eq!(refused.line, 45);
}

#[test]
fn a_whole_capture_has_its_verdicts_in_a_file() {
    let case = only(
        "[[case]]\nname = \"a day\"\npcap = \"day.pcap\"\nexpect = \"day.verdicts\"\n\
         hook = \"output\"\nin = \"eth0\"\nmark = 3\n",
    );
    let golden = case.golden.unwrap();
    assert!(golden.capture.ends_with("day.pcap"));
    assert!(golden.verdicts.ends_with("day.verdicts"));
    assert_eq!((golden.hook, golden.mark), (Some(Hook::Output), Some(3)));
    assert_eq!(golden.device.as_deref(), Some("eth0"));
    assert_eq!((case.batch, case.packets.len()), (64, 0));
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let wrong = [
        "",
        "case = 3",
        "case = [3]",
        "cases = 1\n[[case]]\nname = \"a\"\npacket = 3",
        "[[case]]",
        "[[case]]\nname = \" \"\nparms = \"\"\n[[case.packet]]",
        "[[case]]\nname = \"a\"\nrefused = \"x\"\ninfo = \"y\"\n[[case.packet]]\nbytes = \"45\"\n\
         [[case]]\nname = \"a\"\nrefused = \"x\"",
        "[[case]]\nname = \"a\"\nbatch = 65\nseed = -1\nstep = \"fast\"\ngroup = 0\nhook = \"in\"\n\
         mark = \"red\"\nin = \"\"\nhardware-address = \"x\"\nparams = 3\ninfo = 3\nrefused = 3\n\
         packet = [3]\n[case.grant]\nverdicts = [\"dropp\"]\n\
         [case.limits]\nmemory = \"1\"",
        "[[case]]\nname = \"a\"\n[[case.packet]]\nbytes = \"45 0g\"\n[[case.packet]]\n\
         bytes = \"\"\"\n45\n0\n\"\"\"\nat = \"2\"\nprotocol = 0x10000\nrepeat = 0\n\
         expect = \"dropp\"\n[[case.packet]]\nbytes = \"45\"\npcap = \"missing.pcap\"\nnumber = 0\n\
         repeat = 2\n[[case.packet]]\nbytes = \"45\"\nrepeat = 3\nexpect = [\"pass\", 3, {}, \"drop\"]\n\
         [[case.packet]]\nbytes = \"45\"\nexpect = { verdict = 3, marks = 1, bytes = \"x\", fault = 1 }\n\
         [[case.packet]]\nnumber = \"3-1\"",
        "[[case]]\nname = \"a\"\nexpect = \"day.verdicts\"\n[[case]]\nname = \"b\"\n\
         pcap = \"none.pcap\"\nexpect = \"none.verdicts\"\nstep = \"1s\"\ninfo = \"\"\n\
         [[case.packet]]\nbytes = \"45\"",
        "[[case]\nname = a",
        "[[case]]\nname = \"a\"\npacket = []",
        "[[case]]\nname = \"a\"\nrefused = \" \"",
        "[[case]]\nname = \"a\"\nstep = \"capture\"\n[[case.packet]]\nbytes = \"45\"\nat = \"2s\"",
    ];
    let told: Vec<String> = wrong
        .iter()
        .map(|text| {
            let error = parse(text).err();
            format!(
                "{text}\n---\n{}\n",
                error.unwrap_or_else(|| panic!("{text} was taken"))
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("===\n"));
}

/// To open a FIFO would wait for ever.
#[test]
fn files_that_are_not_regular_are_refused_before_they_are_opened() {
    for path in ["/dev/zero", "."] {
        for text in [
            format!("[[case]]\nname = \"a\"\n[[case.packet]]\npcap = \"{path}\""),
            format!("[[case]]\nname = \"a\"\nexpect = \"day.verdicts\"\npcap = \"{path}\""),
            format!("[[case]]\nname = \"a\"\npcap = \"day.pcap\"\nexpect = \"{path}\""),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with("basic.toml:4:"), "{error}");
            assert!(error.ends_with(" is not a regular file"), "{error}");
        }
    }
}

#[test]
fn no_text_makes_it_panic() {
    let whole = format!(
        "[[case]]\nname = \"a\"\nparams = \"every=2\"\ngroup = 0x6\nbatch = 3\nstep = \"10ms\"\n\
         [case.grant]\nverdicts = [\"drop\"]\n[case.limits]\nmemory = \"1MiB\"\n[[case.packet]]\n\
         bytes = \"\"\"\n0x0000: {PING}  E..é\n\"\"\"\nnumber = \"1-3, 7\"\nrepeat = 3\nat = \"2s\"\n\
         in = \"lo\"\nhardware-address = \"02:00:00:00:00:01\"\n\
         expect = [\"pass\", \"queue 5\", {{ mark = 1, bytes = \"any\", fault = true }}]\n"
    );
    let whole = whole.as_bytes();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..3000 {
        let mut bytes = whole.to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, whole[random.usize(..whole.len())]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        // Whatever it says of them.
        let path = Path::new("/nowhere/basic.toml");
        let _ = document::parse(&bytes, path, |table, wrong| cases(table, path, wrong));
    }
}

#[test]
fn every_key_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/writing-extensions.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, reference) = page.split_once("## Files of cases").unwrap();
    for key in KEYS.iter().chain(&given::KEYS).chain(&expectation::KEYS) {
        let documented = [format!("`{key}`"), format!("[case.{key}]")];
        let documented = documented.iter().any(|key| reference.contains(key));
        assert!(documented, "{key} is not documented");
    }
}
