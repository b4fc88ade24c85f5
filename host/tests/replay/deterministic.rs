//! The same packets have the same outcome, whatever is done to come to it.

use ipqext_tests::malformed::{self, CaptureFile};

use super::*;

/// Every shipped extension, with parameters that have it do something.
fn all_shipped() -> Vec<String> {
    let params = |name: &str| match name {
        "dns-block" => "=names=example+x,mode=nxdomain",
        "icmp-drop" => "=every=3",
        "match" => "=drop udp dport 53 from 10.0.0.0/29;mark 0x4/0xf tcp ttl > 3",
        "ppm" => "=address=192.0.2.77,p=0.3",
        "rate-limit" => "=rate=20,burst=3",
        "rewrite" => "=from=hello,to=howdy",
        _ => "",
    };
    let names = guests::shipped_names().into_iter();
    names.map(|name| shipped(&name) + params(&name)).collect()
}

/// Replays with these extensions, and gives the verdicts and the captures that were written.
fn replayed(dir: &Path, inputs: &[PathBuf], extensions: &[String], more: &[&str]) -> [Vec<u8>; 3] {
    let outputs = ["verdicts", "on.pcapng", "dropped.pcapng"].map(|name| dir.join(name));
    let mut arguments = vec!["replay"];
    arguments.extend(inputs.iter().map(|input| text(input)));
    arguments.extend(extensions.iter().flat_map(|extension| ["--ext", extension]));
    for (option, output) in ["--record", "-w", "--dropped"].into_iter().zip(&outputs) {
        arguments.extend([option, text(output)]);
    }
    arguments.extend(more);
    printed(&host(&arguments), 0);
    outputs.map(|output| fs::read(output).unwrap())
}

#[test]
fn no_shipped_extension_decides_by_which_packets_share_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [capture(&dir.path().join("in.pcapng"), &frames(1000))];
    for extension in all_shipped() {
        let extensions = [extension];
        let whole = replayed(dir.path(), &inputs, &extensions, &[]);
        for batch in ["1", "7"] {
            let other = replayed(dir.path(), &inputs, &extensions, &["--batch", batch]);
            assert!(whole == other, "{extensions:?} at --batch {batch}");
        }
    }
}

#[test]
fn hundreds_of_strange_captures_make_no_shipped_extension_fail() {
    let dir = tempfile::tempdir().unwrap();
    let captures = malformed::captures(7, dir.path(), 300).unwrap();
    let (damaged, sound): (Vec<_>, Vec<_>) = captures
        .iter()
        .partition(|capture| capture.damage.is_some());
    let frames: usize = sound.iter().map(|capture| capture.frames).sum();
    let counts = (sound.len(), damaged.len(), frames);
    assert!(
        counts.0 > 100 && counts.1 > 20 && counts.2 > 3000,
        "{counts:?}"
    );
    let extensions = all_shipped();
    let replay = |captures: &[&CaptureFile], code| {
        let mut arguments = vec!["replay", "--json"];
        arguments.extend(captures.iter().map(|capture| text(&capture.path)));
        arguments.extend(extensions.iter().flat_map(|extension| ["-x", extension]));
        let told = json(&host(&arguments), code);
        assert_eq!(told["faults"], 0, "{told}");
        told
    };
    let told = replay(&sound, 0);
    assert_eq!(told["packets"], frames);
    assert!(
        told["not_ip"].as_u64().unwrap() < frames as u64 / 2,
        "{told}"
    );
    let told = replay(&damaged, 3);
    let count = told["damage"].as_array().unwrap().len();
    assert!((1..=damaged.len()).contains(&count), "{told}");
}

#[test]
fn what_comes_out_is_the_same_each_time_also_with_several_workers() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [capture(&dir.path().join("in.pcapng"), &frames(6000))];
    // Those that decide by the packet alone: each worker has an instance of its own.
    let ext = |name: &str, params: &str| shipped(name) + params;
    let extensions = [
        ext("count", ""),
        ext("match", "=drop icmp;mark 0x4/0xf tcp"),
        ext("rewrite", "=from=hello,to=howdy"),
        ext("ttl", ""),
    ];
    let first = replayed(dir.path(), &inputs, &extensions, &[]);
    assert!(first.iter().all(|output| output.len() > 10_000));
    for more in [
        &[][..],
        &["--jobs", "2"],
        &["--jobs", "5", "--batch", "3"],
        &["--seed", "9"],
    ] {
        let again = replayed(dir.path(), &inputs, &extensions, more);
        assert!(first == again, "{more:?}");
    }
}

#[test]
fn an_extension_that_keeps_count_has_its_own_in_each_worker_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [capture(&dir.path().join("in.pcapng"), &frames(6000))];
    let extensions = [shipped("icmp-drop") + "=every=3"];
    let once = || replayed(dir.path(), &inputs, &extensions, &["--jobs", "3"]);
    let first = once();
    assert!(first == once());
    assert!(first != replayed(dir.path(), &inputs, &extensions, &[]));
}

#[test]
fn even_who_asks_the_clock_or_chance_decides_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [capture(&dir.path().join("in.pcapng"), &frames(3000))];
    let extensions = [hostile("wavers")];
    let with = |more: &[&str]| replayed(dir.path(), &inputs, &extensions, more);
    let first = with(&[]);
    assert!(first == with(&[]));
    assert!(
        first != with(&["--seed", "1"]),
        "chance follows from the seed"
    );
    assert!(first[1].len() > 10_000 && first[2].len() > 10_000);
}

#[test]
fn who_fails_fails_on_the_same_packets_each_time_and_on_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [capture(&dir.path().join("in.pcapng"), &frames(3000))];
    let extensions = [hostile("panics-on") + "=on=5"];
    let with = |more: &[&str]| replayed(dir.path(), &inputs, &extensions, more);
    let first = with(&[]);
    let verdicts = String::from_utf8(first[0].clone()).unwrap();
    let failed = verdicts
        .lines()
        .filter(|line| line.ends_with(" fault=panics-on:trap"));
    // Each fifth frame, but for those that are no IP.
    let expected = (1..=3000).filter(|number| number % 5 == 0 && number % 16 != 8);
    assert_eq!(failed.count(), expected.count(), "{}", &verdicts[..300]);
    for more in [&["--batch", "1"][..], &["--batch", "5"], &[]] {
        assert!(first == with(more), "{more:?}");
    }
}
