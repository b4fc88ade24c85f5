//! Versions that fail, and what becomes of the state.

use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::wait_until;
use serde_json::json;

use super::bench::{Bench, flood, unharmed};

#[test]
fn a_version_that_panics_after_adoption_is_rolled_back_by_itself() {
    let test = "a_version_that_panics_after_adoption_is_rolled_back_by_itself";
    let Some(net) = namespace(test) else { return };
    let mut bench = Bench::start(&net, "0:1", &[]);
    let mut flood = flood(&net);
    // It behaves until it has the count of one that ran for a while.
    wait_until("both have counted", || {
        bench.counted().iter().all(|count| *count > 2000)
    });
    let before = bench.generation();
    let swapped = bench.swap("panics", json!({})).unwrap();
    assert_eq!(swapped["extension"]["version"], "4.0.0");
    bench.daemon.logged("extension rolled back");
    bench.wait_for_version("1.0.0");
    assert_eq!(bench.generation(), before + 2);
    let listed = bench.listed();
    let faults = listed["faults"].as_u64().unwrap();
    // More than three by default; and what comes until it is taken back.
    assert!(faults > 3, "{listed}");
    let reason = listed["rejected"]["reason"].as_str().unwrap();
    assert!(reason.contains("the version before runs again"), "{reason}");
    // It goes on as before.
    flood.wait_for(5000);
    let after = bench.listed();
    assert_eq!(after["faults"], faults, "{after}");
    let report = flood.finish();
    // The packets on which it failed pass by its policy, and so do those beside.
    unharmed(&report);
    let packets = &bench.listed()["packets"];
    let [seen, failed, skipped] =
        ["seen", "failed", "skipped"].map(|kind| packets[kind].as_u64().unwrap());
    assert_eq!(seen + skipped, report.sent, "{packets}");
    println!(
        "{faults} faults until it was taken back; {failed} packets got the policy, {skipped} none"
    );
    // Each costs its own packet; on a busy machine time may be up for others of its batch.
    assert!(failed <= faults * 64, "{faults} faults, {packets}");
}

#[test]
fn a_swap_that_is_to_begin_anew_does() {
    let Some(net) = namespace("a_swap_that_is_to_begin_anew_does") else {
        return;
    };
    let mut bench = Bench::start(&net, "0", &[]);
    let mut flood = flood(&net);
    flood.wait_for(3000);
    let counted = bench.counted()[0];
    let swapped = bench.swap("two", json!({"fresh": true})).unwrap();
    assert_eq!(swapped["state"], "anew");
    let seen = bench.listed()["packets"]["seen"].as_u64().unwrap();
    let anew = bench.counted()[0];
    assert!(
        counted >= 3000 && anew < seen - 2000,
        "{counted}, {anew}, {seen}"
    );
    // The host's counters go on.
    let report = flood.finish();
    bench.check(&report);
    let lost = report.sent - bench.counted()[0];
    assert!(
        (counted..report.sent).contains(&lost),
        "{lost} of {report:?}"
    );
    // And back, to what the one before had counted.
    bench.daemon.ipqext("rollback counter");
    assert_eq!(bench.counted(), [lost]);
    assert_eq!(bench.version(), "1.0.0");
}

/// Only one of two workers has counted more than a hundred packets, which is too much for
/// these versions.
#[test]
fn a_state_that_one_of_two_workers_refuses_changes_none() {
    let test = "a_state_that_one_of_two_workers_refuses_changes_none";
    let Some(net) = namespace(test) else { return };
    let mut bench = Bench::start(&net, "0:1", &[]);
    let traffic = Traffic {
        flows: 1,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    flood.wait_for(1000);
    let mut counted = bench.counted();
    counted.sort_unstable();
    assert!(counted[0] == 0 && counted[1] > 1000, "{counted:?}");
    let before = bench.generation();
    for (name, words) in [
        ("refuses_restore", "too much to go on with"),
        ("traps_in_restore", "too much to go on with"),
        ("loops_in_restore", "CPU time"),
    ] {
        let error = bench.swap(name, json!({})).unwrap_err();
        assert!(
            error.contains("restore") && error.contains(words),
            "{name}: {error}"
        );
        assert_eq!(bench.version(), "1.0.0", "{name}");
        assert_eq!(bench.generation(), before, "{name}");
        let listed = bench.listed();
        assert_eq!(listed["rejected"]["reason"], error, "{listed}");
        flood.wait_for(1000);
    }
    // Without the state it is none to refuse.
    let swapped = bench
        .swap("refuses_restore", json!({"fresh": true}))
        .unwrap();
    assert_eq!(swapped["extension"]["version"], "6.0.0");
    // Once it has counted, this one does not give its state away.
    bench.swap("refuses_save", json!({"fresh": true})).unwrap();
    flood.wait_for(1000);
    let error = bench.swap("one", json!({})).unwrap_err();
    assert!(error.contains("too much to give away"), "{error}");
    assert_eq!(bench.version(), "6.3.0");
    bench.swap("one", json!({"fresh": true})).unwrap();
    let report = flood.finish();
    bench.check(&report);
}

#[test]
fn a_state_of_an_older_version_is_migrated_and_one_of_a_newer_refused() {
    let test = "a_state_of_an_older_version_is_migrated_and_one_of_a_newer_refused";
    let Some(net) = namespace(test) else { return };
    let mut bench = Bench::start(&net, "0:1", &[]);
    let mut flood = flood(&net);
    flood.wait_for(1000);
    bench.swap("migrates", json!({})).unwrap();
    flood.wait_for(1000);
    let error = bench.swap("one", json!({})).unwrap_err();
    assert!(error.contains("state version 2"), "{error}");
    assert_eq!(bench.version(), "5.0.0");
    // It goes on with its own.
    bench.swap("migrates", json!({})).unwrap();
    let report = flood.finish();
    bench.check(&report);
    assert_eq!(bench.counted().iter().sum::<u64>(), report.sent);
}

#[test]
fn a_version_that_reads_more_is_given_more_from_its_first_packet() {
    let test = "a_version_that_reads_more_is_given_more_from_its_first_packet";
    let Some(net) = namespace(test) else { return };
    let mut bench = Bench::start(&net, "0:1", &[]);
    let traffic = Traffic {
        flows: 16,
        size: 1000,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    for _ in 0..20 {
        bench.swap("needs_more", json!({})).unwrap();
        flood.wait_for(200);
        bench.swap("one", json!({})).unwrap();
        flood.wait_for(200);
    }
    let report = flood.finish();
    unharmed(&report);
    let listed = bench.listed();
    assert_eq!(listed["faults"], 0, "{listed}");
    // Those that were queued for the narrower one are decided by it, but for one that the
    // kernel cut at the very moment in which it was told to cut no more.
    let packets = &listed["packets"];
    let [seen, skipped] = ["seen", "skipped"].map(|kind| packets[kind].as_u64().unwrap());
    println!("{seen} seen, {skipped} queued too short for who came to take over");
    assert!(skipped <= 2, "{listed}");
    assert_eq!(seen + skipped, report.sent, "{listed}");
    assert_eq!(bench.counted().iter().sum::<u64>(), seen);
}
