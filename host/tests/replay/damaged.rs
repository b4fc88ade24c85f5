//! Captures that cannot be read, or not to their end.

use super::*;

/// A pcap file (microseconds, little endian) of one link type, with a record for each of
/// these, which claim such lengths.
fn pcap(link_type: u32, records: &[(&[u8], u32, u32)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, link_type] {
        file.extend_from_slice(&u32::to_le_bytes(word));
    }
    for (number, (bytes, captured, original)) in (0..).zip(records) {
        for word in [1_700_000_000, number, *captured, *original] {
            file.extend_from_slice(&u32::to_le_bytes(word));
        }
        file.extend_from_slice(bytes);
    }
    file
}

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        text(&path).to_owned()
    }
}

fn replay(inputs: &[&str], more: &[&str]) -> Output {
    let count = shipped("count");
    let mut arguments = vec!["replay", "-x", &count];
    arguments.extend(inputs);
    arguments.extend(more);
    host(&arguments)
}

#[test]
fn what_could_be_read_of_a_cut_capture_is_used_and_the_rest_named_by_its_offset() {
    let case = Case::new();
    let whole = fs::read(capture(&case.dir.path().join("whole"), &frames(10))).unwrap();
    let cut = case.file("cut.pcapng", &whole[..whole.len() - 5]);
    let next = case.file("next.pcapng", &whole);
    let written = case.dir.path().join("on.pcapng");
    let output = replay(&[&cut, &next], &["--json", "-w", text(&written)]);
    let told = json(&output, 3);
    assert_eq!(
        (&told["packets"], &told["accepted"]),
        (&19.into(), &19.into())
    );
    let damage = told["damage"][0].as_str().unwrap();
    let cut_off = format!("cut.pcapng: cut off at offset {}", whole.len() - 5);
    assert!(damage.contains(&cut_off), "{damage}");
    assert!(
        damage.ends_with("the 9 packets before it were read"),
        "{damage}"
    );
    assert!(error(&output, 3).ends_with(damage));
    assert_eq!(read(&written).len(), 19, "it is used");
}

#[test]
fn what_is_no_capture_is_told_and_the_others_are_read() {
    let case = Case::new();
    let sound = text(&capture(&case.dir.path().join("sound"), &frames(4))).to_owned();
    let unknown = pcap(147, &[(&[1; 20], 20, 20)]);
    let missing = text(&case.dir.path().join("missing")).to_owned();
    for (input, told) in [
        (
            case.file("empty", b""),
            "the file is empty, so it is no capture",
        ),
        (
            case.file("text", b"this is no capture at all"),
            "not a capture at all",
        ),
        (case.file("usb", &unknown), "its link type 147"),
        (missing, "No such file or directory"),
        (text(case.dir.path()).to_owned(), "Is a directory"),
    ] {
        let output = replay(&[&input, &sound], &["--json"]);
        assert_eq!(json(&output, 3)["packets"], 4, "{input}");
        let error = error(&output, 3);
        assert!(error.contains(&input) && error.contains(told), "{error}");
    }
}

#[test]
fn records_of_no_length_pass_unseen_and_one_that_is_too_long_ends_it() {
    let case = Case::new();
    let packet = &frames(1)[0].1[14..];
    let length = packet.len() as u32;
    let nothing: (&[u8], u32, u32) = (&[], 0, 0);
    let bytes = pcap(101, &[nothing, (packet, length, length), nothing]);
    let told = json(&replay(&[&case.file("raw.pcap", &bytes)], &["--json"]), 0);
    assert_eq!((&told["packets"], &told["not_ip"]), (&3.into(), &2.into()));

    let bytes = pcap(
        101,
        &[(packet, length, length), (packet, 0xffff_0000, 0xffff_0000)],
    );
    let output = replay(&[&case.file("long.pcap", &bytes)], &["--json"]);
    assert_eq!(json(&output, 3)["packets"], 1);
    let error = error(&output, 3);
    let offset = 24 + 16 + packet.len();
    assert!(error.contains(&format!("offset {offset}")), "{error}");
    assert!(
        error.contains("the one packet before it was read"),
        "{error}"
    );
}

#[test]
fn interfaces_of_another_kind_pass_unseen() {
    let case = Case::new();
    let mut writer = Writer::new(Vec::new()).unwrap();
    let (_, frame) = &frames(1)[0];
    for link_type in [LinkType::ETHERNET, LinkType(147)] {
        let interface = Interface {
            name: None,
            link_type,
            snap_length: 0,
        };
        let number = writer.interface(&interface).unwrap();
        writer.frame(number, BEGAN, 99, &[frame], None).unwrap();
    }
    let input = case.file("two.pcapng", &writer.finish().unwrap());
    let told = json(&replay(&[&input], &["--json"]), 0);
    assert_eq!((&told["packets"], &told["not_ip"]), (&2.into(), &1.into()));
    assert_eq!(told["extensions"][0]["seen"], 1);
}
