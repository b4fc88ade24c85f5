//! An extension that `ipqext-host new` made.

use std::process::Command;

use ipqext_tests::guests::built_outside;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::{Daemon, program};

use crate::queue_icmp;

#[test]
fn a_new_extension_gets_packets_and_lets_them_pass() {
    let Some(net) = namespace("a_new_extension_gets_packets_and_lets_them_pass") else {
        return;
    };
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let mut new = Command::new(program("ipqext-host"));
    let made = new.args(["new", "fresh-one", "--dir"]).arg(dir.path());
    assert!(made.status().expect("it was built").success());
    let built = built_outside(&dir.path().join("fresh-one"));

    let daemon = Daemon::start(&net, &built, &["--start", "fresh-one"]);
    queue_icmp(&net);
    assert_eq!(net.ping(2, "127.0.0.1"), 2);
    let listed = daemon.listed("fresh-one");
    assert_eq!(listed["version"], "0.1.0");
    assert_eq!(listed["packets"]["seen"], 4, "requests and replies");
    assert_eq!(listed["packets"]["passed"], 4);
    assert_eq!(listed["faults"], 0);
}
