use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use etherparse::PacketBuilder;
use tempfile::TempDir;

use super::*;
use crate::capture::{Interface, LinkType, Writer};
use crate::packet::{Hook, PacketFlags};

const SECOND: u64 = 1_000_000_000;

/// An Ethernet frame with a UDP packet to this port and this padding.
fn udp(port: u16, padding: usize) -> Vec<u8> {
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(1000, port);
    let mut frame = Vec::new();
    packet.write(&mut frame, b"payload").unwrap();
    frame.extend(std::iter::repeat_n(0xee, padding));
    frame
}

fn interface(name: Option<&str>) -> Interface {
    Interface {
        name: name.map(str::to_owned),
        link_type: LinkType::ETHERNET,
        snap_length: 0,
    }
}

/// A capture of frames, each with its interface and time.
fn written(path: &Path, interfaces: &[Option<&str>], frames: &[(u32, u64, Vec<u8>)]) {
    let mut writer = Writer::new(std::fs::File::create(path).unwrap()).unwrap();
    let mut described = 0;
    for (of, time_ns, frame) in frames {
        while described <= *of {
            let name = interfaces[described as usize];
            writer.interface(&interface(name)).unwrap();
            described += 1;
        }
        let length = frame.len() as u32;
        writer.frame(*of, *time_ns, length, &[frame], None).unwrap();
    }
    writer.finish().unwrap();
}

struct Fixture {
    dir: TempDir,
    links: Receiver<Arc<Links>>,
    reading: Arc<Reading>,
    source: PcapSource,
    batch: Batch,
}

impl Fixture {
    fn new(
        interfaces: &[Option<&str>],
        frames: &[(u32, u64, Vec<u8>)],
        times: u64,
        intake: Intake,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.pcapng");
        written(&path, interfaces, frames);
        let (news, links) = channel();
        let reading = Arc::<Reading>::default();
        let devices: Devices = Box::new(move |links| news.send(links).unwrap());
        let frames = Frames::new(vec![path], times);
        Self {
            dir,
            links,
            source: PcapSource::new(frames, intake, 64, devices, reading.clone()),
            reading,
            batch: Batch::new(),
        }
    }

    fn recv(&mut self) -> Received {
        self.source.recv(&mut self.batch).unwrap()
    }

    /// All batches, as the numbers of their frames.
    fn batches(&mut self) -> Vec<Vec<u64>> {
        let mut batches = Vec::new();
        loop {
            match self.recv() {
                Received::End => return batches,
                Received::Woken => {}
                Received::Packets => {
                    let sheet = self.reading.sheet();
                    batches.push(sheet.frames().iter().map(|framed| framed.number).collect());
                }
            }
        }
    }
}

#[test]
fn a_packet_is_what_the_frame_and_the_choices_say() {
    let choice = |text: &str| Choice::parse(text, |value| Ok(value.to_owned())).unwrap();
    let hook = |text: &str| Choice::parse(text, |name| Ok(Hook::from_name(name).unwrap())).unwrap();
    let mark = |text: &str| Choice::parse(text, crate::number::number).unwrap();
    let intake = Intake::new(
        vec![hook("output=udp port 53"), hook("forward")],
        vec![choice("wan=udp port 53")],
        vec![mark("0x10=udp port 53"), mark("3=udp port 80")],
    );
    let frames = [
        (0, 7 * SECOND, udp(53, 4)),
        (0, 8 * SECOND, udp(80, 0)),
        (0, 6 * SECOND, b"no IP".to_vec()),
    ];
    let mut fixture = Fixture::new(&[Some("eth7")], &frames, 1, intake);
    assert_eq!(fixture.recv(), Received::Woken, "the chosen device");
    assert_eq!(fixture.recv(), Received::Woken, "a new one");
    assert_eq!(fixture.recv(), Received::Woken, "which is told");
    assert_eq!(fixture.recv(), Received::Packets);
    let links = fixture.links.try_iter().last().unwrap();
    let names: Vec<&str> = links.devices.iter().map(|link| &*link.name).collect();
    assert_eq!(names, ["wan", "eth7"]);

    let entries = fixture.batch.entries();
    let of = |place: usize| entries[place].packet;
    assert_eq!((of(0).hook, of(0).mark), (Hook::Output, 0x10));
    assert_eq!((of(0).in_link, of(0).out_link), (0, 1));
    assert_eq!((of(1).hook, of(1).mark), (Hook::Forward, 3));
    assert_eq!((of(1).in_link, of(1).out_link), (2, 0));
    assert_eq!(of(0).arrived_ns, 7 * SECOND);
    assert_eq!(of(0).flags, PacketFlags::KERNEL_TIMESTAMP);
    assert_eq!(of(0).hardware_address.to_u64(), 0x0100_0000_0002);
    assert_eq!(fixture.batch.now_ns(), 8 * SECOND, "no packet came later");
    let sheet = fixture.reading.sheet();
    let framed = &sheet.frames()[0];
    assert_eq!(sheet.header(framed).len(), 14);
    assert_eq!(sheet.padding(framed), [0xee; 4]);
    assert_eq!(of(0).original_length, 35);
    assert_eq!(fixture.batch.bytes_of(&of(0)), &udp(53, 0)[14..]);

    let other = &sheet.frames()[2];
    assert_eq!(
        (other.content, sheet.header(other)),
        (Content::Other, &b"no IP"[..])
    );
    assert_eq!(
        entries[2].fate,
        crate::packet::Fate::Decided(crate::packet::Settlement::Accept)
    );
    drop(sheet);
    assert_eq!(fixture.recv(), Received::End);
}

#[test]
fn a_packet_of_a_new_device_comes_once_that_is_known() {
    let frames = [
        (0, 1, udp(1, 0)),
        (0, 2, udp(2, 0)),
        (1, 3, udp(3, 0)),
        (0, 4, udp(4, 0)),
        (2, 5, udp(5, 0)),
        (1, 6, udp(6, 0)),
    ];
    let names = [Some("eth0"), Some("eth1"), Some("eth0")];
    let mut fixture = Fixture::new(&names, &frames, 1, Intake::default());
    let batches = fixture.batches();
    assert_eq!(batches, [vec![1, 2], vec![3, 4], vec![5, 6]]);
    let told: Vec<usize> = fixture
        .links
        .try_iter()
        .map(|links| links.devices.len())
        .collect();
    assert_eq!(told, [1, 2], "two interfaces of one name are one device");
}

#[test]
fn time_goes_on_when_it_begins_again() {
    let frames = [(0, 100, udp(1, 0)), (0, 90, udp(2, 0)), (0, 300, udp(3, 0))];
    let mut fixture = Fixture::new(&[None], &frames, 3, Intake::default());
    assert_eq!(fixture.recv(), Received::Woken);
    assert_eq!(fixture.recv(), Received::Woken);
    assert_eq!(fixture.recv(), Received::Packets);
    let entries = fixture.batch.entries();
    let times: Vec<u64> = entries
        .iter()
        .map(|entry| entry.packet.arrived_ns)
        .collect();
    assert_eq!(times, [100, 90, 300, 301, 291, 501, 502, 492, 702]);
    let numbers: Vec<u32> = entries.iter().map(|entry| entry.packet.id).collect();
    assert_eq!(numbers, Vec::from_iter(1..=9));
    assert_eq!(
        fixture.links.try_iter().last().unwrap().devices[0].name,
        "pcap"
    );
}

#[test]
fn interfaces_keep_their_numbers_when_it_begins_again() {
    let frames = [(0, 1, udp(1, 0)), (1, 2, udp(2, 0))];
    let mut fixture = Fixture::new(&[Some("a"), Some("b")], &frames, 1, Intake::default());
    let path = fixture.dir.path().join("in.pcapng");
    let other = fixture.dir.path().join("other.pcapng");
    written(&other, &[Some("c")], &[(0, u64::MAX, udp(3, 0))]);
    fixture.source.frames = Frames::new(vec![path, other], 3);
    let mut seen = Vec::new();
    loop {
        match fixture.recv() {
            Received::End => break,
            Received::Woken => {}
            Received::Packets => {
                let sheet = fixture.reading.sheet();
                let interfaces = sheet.interfaces();
                let of = sheet
                    .frames()
                    .iter()
                    .map(|framed| framed.interface as usize);
                seen.extend(of.map(|of| interfaces[of].name.clone().unwrap()));
            }
        }
    }
    assert_eq!(seen.concat(), "abcabcabc");
}

#[test]
fn what_can_be_read_of_a_damaged_file_comes_and_then_the_next_file() {
    let frames = [(0, 1, udp(1, 0)), (0, 2, udp(2, 0))];
    let mut fixture = Fixture::new(&[None], &frames, 1, Intake::default());
    let whole = fixture.dir.path().join("in.pcapng");
    let cut = fixture.dir.path().join("cut.pcapng");
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    let frames = Frames::new(vec![cut, "missing".into(), whole], 2);
    fixture.source.frames = frames;
    let batches = fixture.batches();
    assert_eq!(batches.concat(), [1, 2, 3, 4, 5, 6]);
    let damage = fixture.reading.take_damage();
    let told: Vec<String> = damage.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "each is told once: {told:?}");
    assert!(
        told[0].contains("cut.pcapng: cut off at offset"),
        "{told:?}"
    );
    assert!(told[1].starts_with("missing: No such file"), "{told:?}");
}

#[test]
fn a_source_that_is_to_stop_comes_to_its_end() {
    let frames = [(0, 1, udp(1, 0))];
    let mut fixture = Fixture::new(&[None], &frames, u64::MAX, Intake::default());
    while fixture.recv() != Received::Packets {}
    fixture.reading.stop();
    assert_eq!(fixture.recv(), Received::End);
}

#[test]
fn packets_come_no_sooner_than_when_they_were_captured() {
    let mut pace = Pace::new();
    let reading = Reading::default();
    let mut is_due = |file, time_ns, waits| pace.is_due(file, time_ns, waits, &reading);
    assert!(is_due(1, 5 * SECOND, false), "the first one is");
    assert!(is_due(1, 4 * SECOND, false));
    assert!(!is_due(1, 3600 * SECOND, false));
    let began = std::time::Instant::now();
    assert!(is_due(1, 5 * SECOND + 20_000_000, true));
    assert!(began.elapsed() > std::time::Duration::from_millis(10));
    assert!(is_due(2, 9000 * SECOND, false), "each file begins anew");
    assert!(!is_due(2, 9001 * SECOND, false));
    reading.stop();
    assert!(
        pace.is_due(2, 9_000_000 * SECOND, true, &reading),
        "nobody waits any more"
    );
}

#[test]
fn a_checksum_that_hardware_was_to_complete_is_told_apart() {
    let right = udp(53, 0);
    let mut partial = right.clone();
    // The sum of the pseudo-header: addresses, protocol and length.
    let sum = 0xc000_u32 + 0x0201 + 0xc000 + 0x0202 + 17 + 15;
    let sum = (sum & 0xffff) + (sum >> 16);
    partial[40..42].copy_from_slice(&(sum as u16).to_be_bytes());
    let mut wrong = right.clone();
    wrong[40] ^= 1;
    let frames = [right, partial, wrong].map(|frame| (0, 1, frame));
    let mut fixture = Fixture::new(&[None], &frames, 1, Intake::default());
    while fixture.recv() != Received::Packets {}
    let entries = fixture.batch.entries();
    let is_partial = |entry: &crate::packet::Entry| {
        let flags = entry.packet.flags;
        flags.contains(PacketFlags::CHECKSUM_PARTIAL)
    };
    let told: Vec<bool> = entries.iter().map(is_partial).collect();
    assert_eq!(told, [false, true, false]);
}
