//! Parameters that stand in a file.

use ipqext_tests::guests;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::Daemon;

use crate::queue_icmp;

#[test]
fn parameters_from_a_file_reach_the_extension() {
    let Some(net) = namespace("parameters_from_a_file_reach_the_extension") else {
        return;
    };
    let file = tempfile::NamedTempFile::new().expect("there is room for a file");
    std::fs::write(file.path(), "every=2\n").expect("the file is ours");
    let at = format!("@{}", file.path().display());
    let start = format!("icmp-drop={at}");
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", &start]);
    queue_icmp(&net);
    assert_eq!(net.ping(6, "127.0.0.1"), 3, "given when the daemon started");

    daemon.ipqext("delete icmp-drop");
    std::fs::write(file.path(), "every=3\n").expect("the file is ours");
    daemon.ipqext(&format!("add icmp-drop {at}"));
    daemon.ipqext("start icmp-drop");
    assert_eq!(net.ping(6, "127.0.0.1"), 4, "given when it was added");
    assert_eq!(daemon.listed("icmp-drop")["params"], "every=3\n");
}
