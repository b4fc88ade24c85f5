//! Arbitrary bytes as `.wasm`: an error, or an extension that works.

use std::sync::OnceLock;

use crate::damage::{damage, noise};
use crate::inputs;
use crate::loading::{Fate, Loader};
use crate::modules::{Sections, built, component, smallest};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The smallest extension and one as authors build them, as modules and as components.
fn small() -> &'static [Vec<u8>; 2] {
    static SMALL: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    SMALL.get_or_init(|| [smallest(), component(&smallest())])
}

fn large() -> &'static [Vec<u8>; 2] {
    static LARGE: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    LARGE.get_or_init(|| [built("template"), component(&built("template"))])
}

/// Loads files, and counts those that ran, did not start, and were refused.
fn load_all(test: &str, files: impl Iterator<Item = Vec<u8>>) -> [u32; 3] {
    let loader = Loader::new(test);
    let mut fates = [0; 3];
    for file in files {
        let fate = match loader.load(file).0 {
            Fate::Ran => 0,
            Fate::NotStarted(_) => 1,
            Fate::Refused(_) => 2,
        };
        fates[fate] += 1;
    }
    println!("{test}: {fates:?} ran, did not start, were refused");
    fates
}

#[test]
fn what_the_others_damage_works() {
    let files = small().iter().chain(large()).cloned();
    assert_eq!(load_all("whole", files), [4, 0, 0]);
}

#[test]
fn noise_is_refused() {
    let files = inputs(1, 6_000).enumerate().map(|(input, mut random)| {
        let begin = [&b""[..], b"\0asm", MODULE, COMPONENT][input % 4];
        let length = random.usize(..300);
        [begin, &noise(&mut random, length)].concat()
    });
    let [ran, _, _] = load_all("noise", files);
    assert_eq!(ran, 0);
}

#[test]
fn a_damaged_small_file_is_refused_or_works() {
    let files = inputs(2, 2_000).enumerate().map(|(input, mut random)| {
        let mut file = small()[input % 2].clone();
        damage(&mut file, &mut random);
        file
    });
    let [ran, _, refused] = load_all("small", files);
    assert!(ran > 0 && refused > ran, "both come about");
}

#[test]
fn a_damaged_extension_is_refused_or_works() {
    let files = inputs(3, 160).enumerate().map(|(input, mut random)| {
        let mut file = large()[input % 2].clone();
        damage(&mut file, &mut random);
        file
    });
    let [ran, _, refused] = load_all("large", files);
    assert!(ran > 0 && refused > 0, "both come about");
}

#[test]
fn sections_that_are_damaged_doubled_missing_or_elsewhere_are_refused_or_work() {
    let files = inputs(4, 2_000).enumerate().map(|(input, mut random)| {
        let mut file = Sections::of(&small()[input % 2]);
        for _ in 0..random.usize(1..=2) {
            disarrange(&mut file, &mut random);
        }
        file.bytes()
    });
    let [ran, _, refused] = load_all("sections", files);
    assert!(ran > 0 && refused > ran, "both come about");
}

/// Sections stay whole by their lengths, so what is in them is looked at.
fn disarrange(file: &mut Sections, random: &mut fastrand::Rng) {
    let sections = &mut file.sections;
    let at = random.usize(..sections.len());
    let other = random.usize(..sections.len());
    match random.u8(..8) {
        0 if sections.len() > 1 => drop(sections.remove(at)),
        1 => sections.swap(at, other),
        2 => sections.insert(other, sections[at].clone()),
        3 => sections[at].0 = random.u8(..16),
        4 => {
            let length = random.usize(..64);
            sections[at].1.extend(noise(random, length));
        }
        5 => {
            let length = random.usize(..64);
            sections[at].1 = noise(random, length);
        }
        _ => damage(&mut sections[at].1, random),
    }
}
