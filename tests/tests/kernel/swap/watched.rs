//! Files that change under a flood.

use std::fs::{self, File};
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::wait_until;

use super::bench::{Bench, copy_over, flood, unharmed, version};

#[test]
fn a_file_that_is_copied_over_or_moved_is_adopted_without_a_command() {
    let test = "a_file_that_is_copied_over_or_moved_is_adopted_without_a_command";
    let Some(net) = namespace(test) else { return };
    let bench = Bench::start(&net, "0:1", &[]);
    let mut flood = flood(&net);
    let generation = bench.generation();
    let output = net.run(&format!(
        "cp {} {}",
        version("two").display(),
        bench.file().display()
    ));
    assert_eq!(output, "");
    bench.wait_for_version("2.0.0");
    // Into its place by another name, as a careful builder does.
    let beside = bench.dir.path().join("counter.wasm.new");
    copy_over(&version("one"), &beside);
    net.run(&format!(
        "mv {} {}",
        beside.display(),
        bench.file().display()
    ));
    bench.wait_for_version("1.0.0");
    // The same again, and one that nobody added: nothing.
    copy_over(&version("one"), &bench.file());
    copy_over(&version("two"), &bench.dir.path().join("other.wasm"));
    // One that is deleted goes on.
    flood.wait_for(5000);
    fs::remove_file(bench.file()).unwrap();
    flood.wait_for(5000);
    assert_eq!(bench.version(), "1.0.0");
    assert_eq!(bench.generation(), generation + 2);
    let report = flood.finish();
    bench.check(&report);
    assert_eq!(bench.counted().iter().sum::<u64>(), report.sent);
}

#[test]
fn a_file_in_fifty_slow_pieces_is_adopted_once_at_its_end() {
    let test = "a_file_in_fifty_slow_pieces_is_adopted_once_at_its_end";
    let Some(net) = namespace(test) else { return };
    let bench = Bench::start(&net, "0", &[]);
    let flood = flood(&net);
    let generation = bench.generation();
    let whole = fs::read(version("two")).unwrap();
    let file = bench.file();
    File::create(&file).unwrap();
    for piece in whole.chunks(whole.len().div_ceil(50)) {
        // Each piece is opened and closed for itself: nobody says that there is more.
        let mut open = File::options().append(true).open(&file).unwrap();
        open.write_all(piece).unwrap();
        drop(open);
        sleep(Duration::from_millis(100));
        assert_eq!(bench.generation(), generation);
    }
    bench.wait_for_version("2.0.0");
    sleep(Duration::from_secs(1));
    assert_eq!(bench.generation(), generation + 1);
    let listed = bench.listed();
    assert!(listed["rejected"].is_null(), "{listed}");
    let log = bench.daemon.log();
    assert!(!log.contains("is not taken"), "{log}");
    let report = flood.finish();
    bench.check(&report);
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_of_once() {
    let test = "a_broken_file_changes_nothing_and_is_told_of_once";
    let Some(net) = namespace(test) else { return };
    let bench = Bench::start(&net, "0:1", &[]);
    let mut flood = flood(&net);
    let generation = bench.generation();
    let file = bench.file();
    let told = |times: usize| {
        let log = bench.daemon.log();
        let lines = log.matches("is not taken").count();
        assert_eq!(lines, times, "{log}");
    };
    // Whole by its sections, and no extension.
    let broken = b"\0asm\x01\0\0\0\x0b\x01\x07";
    fs::write(&file, broken).unwrap();
    bench.daemon.logged("is not taken");
    let listed = bench.listed();
    let rejected = &listed["rejected"];
    assert_eq!(rejected["file"], file.to_str().unwrap(), "{listed}");
    assert!(rejected["hash"].is_string(), "{listed}");
    let reason = rejected["reason"].as_str().unwrap();
    assert!(reason.contains("counter.wasm"), "{reason}");
    let shown = bench.daemon.ipqext("list");
    let first = reason.lines().next().unwrap();
    assert!(shown.contains(first), "{shown}");
    // The same again.
    fs::write(&file, broken).unwrap();
    sleep(Duration::from_secs(1));
    told(1);
    // Half of a file that would be good, and no more comes.
    let whole = fs::read(version("two")).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    wait_until("the half is told of", || {
        bench.daemon.log().matches("is not taken").count() == 2
    });
    assert_eq!(bench.generation(), generation);
    assert_eq!(bench.version(), "1.0.0");
    flood.wait_for(1000);
    // One that is not even read: nothing of it stands on the disk.
    let long = File::create(&file).unwrap();
    long.set_len(65 << 20).unwrap();
    drop(long);
    wait_until("the long one is told of", || {
        bench.daemon.log().matches("is not taken").count() == 3
    });
    let listed = bench.listed();
    let reason = listed["rejected"]["reason"].as_str().unwrap();
    assert!(reason.contains("68157440 bytes"), "{reason}");
    // A good one after all.
    fs::write(&file, &whole).unwrap();
    bench.wait_for_version("2.0.0");
    assert!(bench.listed()["rejected"].is_null());
    told(3);
    let report = flood.finish();
    bench.check(&report);
}

#[test]
fn a_directory_that_goes_away_and_comes_back_is_told_of_once() {
    let test = "a_directory_that_goes_away_and_comes_back_is_told_of_once";
    let Some(net) = namespace(test) else { return };
    // Led to by a link, which the daemon was given.
    let places = tempfile::tempdir().unwrap();
    let (there, link) = (places.path().join("there"), places.path().join("ext"));
    fs::create_dir(&there).unwrap();
    std::os::unix::fs::symlink(&there, &link).unwrap();
    copy_over(&version("one"), &there.join("counter.wasm"));
    let bench = Bench::start_in(&net, "0", &link);
    let mut flood = flood(&net);
    fs::rename(&there, places.path().join("away")).unwrap();
    bench.daemon.logged("the ext-dir cannot be read");
    // Longer than it takes until it is looked for again.
    sleep(Duration::from_secs(6));
    flood.wait_for(1000);
    let log = bench.daemon.log();
    assert_eq!(
        log.matches("the ext-dir cannot be read").count(),
        1,
        "{log}"
    );
    assert_eq!(bench.version(), "1.0.0");
    fs::create_dir(&there).unwrap();
    copy_over(&version("two"), &there.join("counter.wasm"));
    bench.wait_for_version("2.0.0");
    bench.daemon.logged("the ext-dir is there again");
    // It is watched again.
    copy_over(&version("one"), &there.join("counter.wasm"));
    bench.wait_for_version("1.0.0");
    let report = flood.finish();
    bench.check(&report);
}

#[test]
fn nobody_watches_where_nobody_is_to() {
    let Some(net) = namespace("nobody_watches_where_nobody_is_to") else {
        return;
    };
    let mut bench = Bench::start(&net, "0", &["--no-watch"]);
    let flood = flood(&net);
    copy_over(&version("two"), &bench.file());
    sleep(Duration::from_secs(6));
    assert_eq!(bench.version(), "1.0.0");
    bench.daemon.ipqext("swap counter");
    assert_eq!(bench.version(), "2.0.0");
    bench.swap("one", serde_json::json!({})).unwrap();
    unharmed(&flood.finish());
}
