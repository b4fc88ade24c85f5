//! Capture files of malformed packets, of which half are damaged themselves. They are written
//! field by field: no library writes what is wrong.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Frame, Link, Malformed};

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many frames were written into it, before it was damaged.
    pub frames: usize,
    /// What was done to it then, if anything: a reader need not notice.
    pub damage: Option<&'static str>,
}

/// Writes so many captures into a directory: pcap and pcapng of both byte orders, gzipped or not,
/// of all link types and resolutions of time.
///
/// # Errors
/// The directory cannot be written to.
pub fn captures(seed: u64, dir: &Path, count: usize) -> io::Result<Vec<CaptureFile>> {
    (0..count)
        .map(|number| {
            // Each has a seed of its own, so that it can be made again without the others.
            let rng = Rng::with_seed(seed.wrapping_add(number as u64));
            capture(rng, number, dir)
        })
        .collect()
}

fn capture(mut rng: Rng, number: usize, dir: &Path) -> io::Result<CaptureFile> {
    // All combinations come in turn.
    let order = [Order::Big, Order::Little][number % 2];
    let link = Link::KNOWN[number / 2 % Link::KNOWN.len()];
    let frames = [0, 1, 2, 20, 200][rng.usize(..5)];
    let (mut written, format) = match rng.u8(..4) {
        0 => (pcap(&mut rng, order, link, frames, 0xa1b2_c3d4), "pcap"),
        1 => (pcap(&mut rng, order, link, frames, 0xa1b2_3c4d), "pcap"),
        _ => (pcapng(&mut rng, order, link, frames), "pcapng"),
    };
    let damage = rng.bool().then(|| written.damage(&mut rng));
    let mut bytes = written.bytes;
    let mut name = format!("{number:04}-{}-{}", order.name(), link.name());
    name.extend(["-", damage.unwrap_or("sound"), ".", format]);
    let mut damage = damage;
    if rng.u8(..4) == 0 {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&bytes)?;
        bytes = packed.finish()?;
        name.push_str(".gz");
        if rng.u8(..3) == 0 {
            damage = Some("packed");
            match rng.u8(..2) {
                0 => bytes.truncate(rng.usize(..bytes.len())),
                _ => flip(&mut rng, &mut bytes),
            }
            name = name.replace("-sound.", "-packed.");
        }
    }
    let path = dir.join(name);
    std::fs::write(&path, bytes)?;
    Ok(CaptureFile {
        path,
        frames,
        damage,
    })
}

/// A capture, and where its records and blocks begin.
struct Written {
    bytes: Vec<u8>,
    heads: Vec<usize>,
}

impl Written {
    fn begin(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            heads: vec![0],
        }
    }

    fn push(&mut self, record: &[u8]) {
        self.heads.push(self.bytes.len());
        self.bytes.extend(record);
    }

    /// Does something to it, and says what.
    fn damage(&mut self, rng: &mut Rng) -> &'static str {
        let length = self.bytes.len();
        match rng.u8(..8) {
            0 | 1 => {
                self.bytes.truncate(rng.usize(..length));
                "cut"
            }
            2..5 => {
                for _ in 0..rng.usize(1..4) {
                    let head = self.heads[rng.usize(..self.heads.len())];
                    let at = head + rng.usize(..32.min(length - head));
                    self.bytes[at] ^= 1 << rng.u8(..8);
                }
                "header"
            }
            5 => {
                for _ in 0..rng.usize(1..30) {
                    flip(rng, &mut self.bytes);
                }
                "flipped"
            }
            6 => {
                let mut tail = vec![0; rng.usize(1..200)];
                rng.fill(&mut tail);
                self.bytes.extend(tail);
                "tail"
            }
            _ => {
                self.bytes.truncate(rng.usize(..8));
                let mut noise = vec![0; rng.usize(..300)];
                rng.fill(&mut noise);
                self.bytes.extend(noise);
                "noise"
            }
        }
    }
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    let at = rng.usize(..bytes.len());
    bytes[at] ^= 1 << rng.u8(..8);
}

#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Little => "little",
        }
    }

    fn half(self, number: u16) -> [u8; 2] {
        match self {
            Self::Big => number.to_be_bytes(),
            Self::Little => number.to_le_bytes(),
        }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        let bytes = words.iter().map(|word| match self {
            Self::Big => word.to_be_bytes(),
            Self::Little => word.to_le_bytes(),
        });
        bytes.flatten().collect()
    }

    /// A block of pcapng around a body, which is padded.
    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = body.len() as u32 + 12;
        let head = self.words(&[kind, length]);
        [&head, &body[..], &self.words(&[length])].concat()
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let head = [self.half(code), self.half(value.len() as u16)].concat();
        let mut option = [&head, value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }
}

/// Times that mostly go on, and sometimes back.
fn tick(rng: &mut Rng, time: &mut u64) {
    *time = match rng.u8(..20) {
        0 => time.saturating_sub(rng.u64(..1000)),
        _ => time.saturating_add(rng.u64(..1000)),
    };
}

fn pcap(rng: &mut Rng, order: Order, link: Link, frames: usize, magic: u32) -> Written {
    let version = [order.half(2), order.half(4)].concat();
    let rest = order.words(&[0, 0, 262_144, link.number().into()]);
    let head = [&order.words(&[magic])[..], &version, &rest].concat();
    let mut written = Written::begin(head);
    let mut time = 1_700_000_000_000_000;
    for frame in Malformed::new(rng.u64(..)).framed(link).take(frames) {
        tick(rng, &mut time);
        let [seconds, fraction] = [time / 1_000_000, time % 1_000_000];
        let length = frame.bytes.len() as u32;
        let words = [
            seconds as u32,
            fraction as u32,
            length,
            frame.original_length,
        ];
        let record = [&order.words(&words), &frame.bytes[..]].concat();
        written.push(&record);
    }
    written
}

fn section(order: Order) -> Vec<u8> {
    let version = [order.half(1), order.half(0)].concat();
    let body = [&order.words(&[0x1a2b_3c4d])[..], &version, &[0xff; 8]].concat();
    order.block(0x0a0d_0d0a, &body)
}

/// Several sections of several interfaces, the first of the link that is asked for.
fn pcapng(rng: &mut Rng, order: Order, link: Link, frames: usize) -> Written {
    let mut written = Written::begin(section(order));
    let sections = rng.usize(1..4);
    for number in 0..sections {
        // The frames that the sections before have not.
        let share = frames * (number + 1) / sections - frames * number / sections;
        let order = match number {
            0 => order,
            _ => {
                let order = [Order::Big, Order::Little][rng.usize(..2)];
                written.push(&section(order));
                order
            }
        };
        let mut links = vec![link];
        for _ in 0..rng.usize(..3) {
            links.push(match rng.u8(..5) {
                0 => Link::Unknown(9999),
                _ => Link::KNOWN[rng.usize(..Link::KNOWN.len())],
            });
        }
        for link in &links {
            let interface = interface(rng, order, *link);
            written.push(&interface);
        }
        let seed = rng.u64(..);
        let mut sources: Vec<_> = (seed..)
            .zip(&links)
            .map(|(seed, link)| Malformed::new(seed).framed(*link))
            .collect();
        let mut time = 1_700_000_000_000_000;
        for _ in 0..share {
            tick(rng, &mut time);
            if rng.u8(..8) == 0 {
                // Of types that nobody has, so that any body is right.
                let kind = [0x00c0_de00, 0x8000_0001][rng.usize(..2)];
                written.push(&order.block(kind, &vec![7; rng.usize(..300)]));
            }
            if rng.u8(..20) == 0 {
                // Statistics of the first interface.
                written.push(&order.block(5, &order.words(&[0, 0, 1])));
            }
            let interface = rng.usize(..sources.len());
            if let Some(frame) = sources[interface].next() {
                written.push(&packet(rng, order, interface as u32, time, &frame));
            }
        }
    }
    written
}

fn interface(rng: &mut Rng, order: Order, link: Link) -> Vec<u8> {
    let mut body = [order.half(link.number()), [0, 0]].concat();
    // Both mean that nothing is cut.
    body.extend(order.words(&[[0, 262_144][rng.usize(..2)]]));
    if rng.bool() {
        let name: &[u8] = [&b"eth0"[..], b"", b"\xff\xfe", &[b'x'; 300]][rng.usize(..4)];
        body.extend(order.option(2, name));
    }
    if rng.bool() {
        let resolution = [9, 6, 3, 0, 12, 0x80 | 20, 127, 255][rng.usize(..8)];
        body.extend(order.option(9, &[resolution]));
    }
    if rng.u8(..4) == 0 {
        body.extend(order.option(14, &rng.u64(..).to_be_bytes()));
    }
    if rng.bool() {
        body.extend(order.option(0, &[]));
    }
    order.block(1, &body)
}

/// A frame in a block of any of the three kinds, of which two know the time.
fn packet(rng: &mut Rng, order: Order, interface: u32, time: u64, frame: &Frame) -> Vec<u8> {
    let captured = frame.bytes.len() as u32;
    let whole = captured == frame.original_length;
    if interface == 0 && whole && rng.u8(..4) == 0 {
        let body = [&order.words(&[captured])[..], &frame.bytes].concat();
        return order.block(3, &body);
    }
    let obsolete = rng.u8(..6) == 0;
    let mut body = if obsolete {
        let dropped = rng.u16(..);
        [order.half(interface as u16), order.half(dropped)].concat()
    } else {
        order.words(&[interface])
    };
    let [high, low] = [(time >> 32) as u32, time as u32];
    body.extend(order.words(&[high, low, captured, frame.original_length]));
    body.extend(&frame.bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    if rng.u8(..3) == 0 {
        let comment = vec![b'c'; rng.usize(..50)];
        body.extend(order.option(1, &comment));
        body.extend(order.option(2, &[0, 0, 0, 1]));
        if rng.bool() {
            body.extend(order.option(0, &[]));
        }
    }
    order.block(if obsolete { 2 } else { 6 }, &body)
}
