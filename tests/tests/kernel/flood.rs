//! The flood that other tests use: it loses nothing itself, and sees what others do.

use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::Daemon;

use crate::queue_udp;

#[test]
fn a_flood_loses_nothing_by_itself() {
    let Some(net) = namespace("a_flood_loses_nothing_by_itself") else {
        return;
    };
    // As fast as it goes: the receiver may fall behind, and must not lose any.
    let traffic = Traffic {
        rate: 0,
        count: 200_000,
        window: 0,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    flood.during("something", || {
        std::thread::sleep(std::time::Duration::from_millis(20));
    });
    flood.wait_for(1000);
    let report = flood.finish();
    println!("{report:?}");
    assert!(report.sent > 1000, "{report:?}");
    assert_eq!(report.received, report.sent, "{report:?}");
    let kinds = [report.lost, report.doubled, report.reordered];
    assert_eq!(kinds, [0; 3], "{report:?}");
    assert_eq!((report.foreign, report.refused), (0, 0), "{report:?}");
    assert_eq!(report.spans.len(), 1, "{report:?}");
    assert!(report.spans[0].lasted_us >= 20_000, "{report:?}");
}

#[test]
fn a_flood_sees_what_is_lost_and_when_it_was_held_up() {
    let Some(net) = namespace("a_flood_sees_what_is_lost_and_when_it_was_held_up") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &[]);
    queue_udp(&net);
    let mut flood = Flood::begin(&net, Traffic::default());
    flood.during("quiet", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
    });
    // The gap of the next span is not to reach into this one.
    flood.wait_for(100);
    let pause = std::time::Duration::from_millis(300);
    flood.during("stopped", || {
        daemon.signal(nix::sys::signal::Signal::SIGSTOP);
        std::thread::sleep(pause);
        daemon.signal(nix::sys::signal::Signal::SIGCONT);
    });
    flood.wait_for(100);
    daemon.ipqext("add decides verdict=drop");
    daemon.ipqext("start decides");
    std::thread::sleep(pause);
    daemon.ipqext("stop decides");
    flood.wait_for(100);
    let dropped = daemon.listed("decides")["packets"]["dropped"].clone();
    let report = flood.finish();
    println!("{:?} {:?}", report.times, report.spans);
    assert!(report.lost > 0);
    assert_eq!(report.lost, dropped);
    assert_eq!(report.sent - report.lost, report.received);
    assert_eq!(report.lost_numbers.len() as u64, report.lost.min(1000));
    assert_eq!(
        (report.doubled, report.reordered, report.foreign),
        (0, 0, 0)
    );
    let [quiet, stopped] = &report.spans[..] else {
        panic!("two spans: {:?}", report.spans);
    };
    assert_eq!((&*quiet.name, &*stopped.name), ("quiet", "stopped"));
    let held_up = pause.as_micros() as u64 * 9 / 10;
    assert!(stopped.times.longest_gap_us > held_up, "{stopped:?}");
    assert!(quiet.times.longest_gap_us < held_up, "{quiet:?}");
    assert!(stopped.times.longest_delay_us > held_up, "{stopped:?}");
}
