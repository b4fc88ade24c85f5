//! Routers in a row mark what they forward, and its victim traces it back.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace_after};
use ipqext_tests::programs::{Daemon, Killed, program};

/// How many packets the attacker sends.
const PACKETS: u32 = 20_000;

#[test]
fn the_way_of_an_attack_is_reconstructed_from_its_marks() {
    let Some(attacker) = namespace_after(
        "the_way_of_an_attack_is_reconstructed_from_its_marks",
        &["test -w /proc/sys/net/ipv4/ip_forward"],
    ) else {
        return;
    };
    let routers = [(); 3].map(|()| attacker.neighbour());
    let victim = attacker.neighbour();
    connect_in_a_row(&attacker, &routers, &victim);
    let daemons: Vec<Daemon> = routers.iter().zip(1..).map(mark).collect();

    let dir = tempfile::tempdir().expect("there is room for a directory");
    let capture = dir.path().join("capture.pcap");
    let arguments = [
        "victim",
        capture.to_str().expect("it is UTF-8"),
        &PACKETS.to_string(),
    ];
    let mut receiver = Killed(victim.spawn(end(&victim, &arguments).stdout(Stdio::piped())));
    let mut printed = BufReader::new(receiver.0.stdout.take().expect("it is piped"));
    let mut line = String::new();
    printed.read_line(&mut line).expect("it is UTF-8");
    assert_eq!(line, "ready\n");

    let sender = end(&attacker, &["attack", &PACKETS.to_string()]).output();
    let sender = sender.expect("python3 was there a moment ago");
    let error = String::from_utf8_lossy(&sender.stderr);
    assert!(sender.status.success(), "{error}");
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("it is UTF-8");
    assert_eq!(rest, format!("captured {PACKETS}\n"), "not one is lost");

    for daemon in &daemons {
        let listed = daemon.listed("ppm");
        assert_eq!(listed["packets"]["seen"], PACKETS, "{listed}");
        assert_eq!(listed["faults"], 0, "{}", daemon.log());
    }
    let output = Command::new(program("examples/ppm_reconstruct"))
        .args([capture.as_os_str(), "10.0.3.2".as_ref()])
        .output()
        .expect("the example was built");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(error, format!("{PACKETS} packets\n"));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1 10.0.2.2\n2 10.0.1.2 behind 10.0.2.2\n3 10.0.0.2 behind 10.0.1.2\n"
    );
}

/// The attacker 10.0.0.1, the routers 10.0.0.2, 10.0.1.2 and 10.0.2.2, the victim
/// 10.0.3.2; each network has its next router at .2.
fn connect_in_a_row(attacker: &Namespace, routers: &[Namespace; 3], victim: &Namespace) {
    let [first, second, third] = routers;
    let row = [attacker, first, second, third, victim];
    for (number, pair) in row.windows(2).enumerate() {
        let (near, far) = (pair[0], pair[1]);
        near.connect("next", far, "before");
        near.run(&format!("ip addr add 10.0.{number}.1/24 dev next"));
        near.run("ip link set next up");
        far.run(&format!("ip addr add 10.0.{number}.2/24 dev before"));
        far.run("ip link set before up");
    }
    for router in routers {
        forward(router);
    }
    attacker.run("ip route add default via 10.0.0.2");
    // From each router on: what is farther to the victim, and what to the attacker.
    for (number, router) in routers.iter().enumerate() {
        for network in number + 2..4 {
            let next = number + 1;
            router.run(&format!(
                "ip route add 10.0.{network}.0/24 via 10.0.{next}.2"
            ));
        }
        for network in 0..number {
            router.run(&format!(
                "ip route add 10.0.{network}.0/24 via 10.0.{number}.1"
            ));
        }
    }
    victim.run("ip route add default via 10.0.3.1");
}

fn forward(router: &Namespace) {
    let mut shell = router.command("sh");
    shell.args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
    let status = shell.status().expect("every machine has a shell");
    assert!(status.success(), "forwarding is refused");
}

/// A router's daemon, which marks what goes on to the victim.
fn mark((router, number): (&Namespace, u32)) -> Daemon {
    router.run("iptables -A FORWARD -o next -p udp -j NFQUEUE --queue-num 0");
    let marks = format!("ppm=address=10.0.{}.2", number - 1);
    Daemon::start(router, guests::shipped(), &["--start", &marks])
}

fn end(namespace: &Namespace, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/ppm.py");
    let mut command = namespace.command("python3");
    command.arg(script).args(arguments);
    command
}
