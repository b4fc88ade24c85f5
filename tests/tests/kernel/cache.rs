//! Compiled code is kept from one start to the next, in a directory of ours alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ipqext_tests::guests;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::Daemon;

use crate::queue_icmp;

fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_second_start_takes_the_kept_code_and_a_spoiled_file_is_compiled_again() {
    let test = "a_second_start_takes_the_kept_code_and_a_spoiled_file_is_compiled_again";
    let Some(net) = namespace(test) else {
        return;
    };
    queue_icmp(&net);
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("code");
    let start = || {
        let arguments = ["--start", "icmp-drop", "--cache-dir", dir.to_str().unwrap()];
        Daemon::start(&net, guests::shipped(), &arguments)
    };
    drop(start());
    let [file] = &files(&dir)[..] else {
        panic!("one file is kept");
    };
    let made = fs::metadata(file).unwrap().modified().unwrap();
    let daemon = start();
    assert_eq!(net.ping(2, "127.0.0.1"), 0, "it drops");
    drop(daemon);
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), made);

    fs::write(file, b"spoiled").unwrap();
    let daemon = start();
    assert!(
        daemon.log().contains("compiled code is damaged"),
        "{}",
        daemon.log()
    );
    assert_eq!(net.ping(2, "127.0.0.1"), 0, "it drops");
    assert!(fs::metadata(file).unwrap().len() > 10_000, "kept anew");
}

#[test]
fn a_directory_that_others_can_write_is_not_used_and_the_daemon_runs_without() {
    let test = "a_directory_that_others_can_write_is_not_used_and_the_daemon_runs_without";
    let Some(net) = namespace(test) else {
        return;
    };
    queue_icmp(&net);
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dir = place.path().to_str().unwrap();
    let arguments = ["--start", "icmp-drop", "--cache-dir", dir];
    let daemon = Daemon::start(&net, guests::shipped(), &arguments);
    let log = daemon.log();
    assert!(
        log.contains("compiled code is not kept") && log.contains("its mode is 777"),
        "{log}"
    );
    assert_eq!(files(place.path()), Vec::<PathBuf>::new());
    assert_eq!(net.ping(2, "127.0.0.1"), 0, "it drops");
}
