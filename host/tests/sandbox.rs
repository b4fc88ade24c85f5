//! Real extensions in the real sandbox: what they are told, what they may do, and
//! that what they do wrong costs nobody else anything.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ipqext_host::chain::{
    Chain, Fault, FaultKind, Filter, Lifecycle, LifecycleError, Limits, Place, Recovered, Stage,
    StageId, Terms, View, cpu_time,
};
use ipqext_host::packet::{
    Batch, Decision, Edits, Fallback, Group, HardwareAddress, Hook, Link, Links, Needs, Outcome,
    Packet, PacketFlags, Settlement, Verdicts,
};
use ipqext_host::runtime::{
    CompileError, Compiled, ComponentizeError, Context, Hash, Instance, Runtime,
};
use ipqext_host::telemetry::{LogLevel, StageCounters};
use ipqext_tests::guests;
use ipqext_tests::programs::{PATIENCE, wait_until};
use proptest::prelude::*;

use packets::{packet, ping, udp};

mod packets;

#[test]
fn the_template_passes_every_packet() {
    let template = Guest::shipped("template", "");
    let mut chain = chain([template.stage]);
    let batch = evaluated(&mut chain, [ping(1), udp(2)]);
    assert_eq!(settled(&batch), [Settlement::Accept; 2]);
    assert_eq!(template.counters.passed.get(), 2);
    assert_eq!(info(&mut chain, 0), None);
}

#[test]
fn icmp_drop_drops_every_second_ping() {
    let guest = Guest::shipped("icmp-drop", "every=2");
    let mut chain = chain([guest.stage]);
    let batch = evaluated(&mut chain, [ping(1), udp(2), ping(3), ping(4), ping(5)]);
    let (accept, drop) = (Settlement::Accept, Settlement::Drop);
    assert_eq!(settled(&batch), [accept, accept, drop, accept, drop]);
    assert_eq!(guest.counters.dropped.get(), 2);
    let text = info(&mut chain, 0).unwrap();
    assert_eq!(text, "2 echo requests dropped, 4 seen");
}

#[test]
fn count_tells_a_table() {
    let mut chain = chain([Guest::shipped("count", "").stage]);
    let mut jumbo = udp(1);
    jumbo.0.original_length = 1500;
    jumbo.1.resize(1500, 0);
    evaluated(&mut chain, [ping(1), ping(2), ping(3), jumbo]);
    insta::assert_snapshot!(info(&mut chain, 0).unwrap(), @r"
    protocol  packets  bytes
    ICMP            3     84
    UDP             1   1500
    total           4   1584
    ");
}

#[test]
fn an_extension_of_the_stateful_world_is_taken() {
    // It is written from the contract alone, without the SDK.
    let guest = Guest::hostile("stateful", "");
    assert_eq!(
        compiled_from(guests::hostile(), "stateful")
            .description
            .version,
        "1.2.3"
    );
    let batch = evaluated(&mut chain([guest.stage]), [ping(1)]);
    assert_eq!(settled(&batch), [Settlement::Accept]);
    assert_eq!(guest.counters.passed.get(), 1);
}

#[test]
fn marks_sets_the_bits_it_was_told() {
    let mut chain = chain([Guest::hostile("marks", "value=0x22,mask=0xff").stage]);
    let mut marked = ping(1);
    marked.0.mark = 0x0101;
    let batch = evaluated(&mut chain, [marked]);
    assert_eq!(batch.entries()[0].new_mark(), Some(0x0122));
}

#[test]
fn a_group_follows_the_mark_that_another_extension_set() {
    let marks = Guest::hostile("marks", "value=2,mask=2");
    let mut drops = Guest::hostile("drops_all", "");
    let group = Group::Mask(NonZeroU32::new(2).unwrap());
    let terms = Terms {
        group,
        ..drops.stage.terms()
    };
    drops.stage.set_terms(terms);
    let batch = evaluated(&mut chain([marks.stage, drops.stage]), [ping(1)]);
    assert_eq!(settled(&batch), [Settlement::Drop]);
}

#[test]
fn who_comes_after_accepts_all_sees_nothing() {
    let accepts = Guest::hostile("accepts_all", "");
    let drops = Guest::hostile("drops_all", "");
    let batch = evaluated(&mut chain([accepts.stage, drops.stage]), [ping(1), ping(2)]);
    assert_eq!(settled(&batch), [Settlement::Accept; 2]);
    assert_eq!(accepts.counters.accepted.get(), 2);
    assert_eq!(drops.counters.seen.get(), 0);
}

#[test]
fn an_extension_is_told_all_of_a_packet() {
    let mut chain = chain([Guest::hostile("observe", "").stage]);
    let (mut packet, mut bytes) = ping(9);
    bytes.resize(1028, 0);
    packet.mark = 0x1f;
    packet.arrived_ns = 1_000_000_000_000_000_007;
    packet.in_link = 2;
    packet.out_link = 3;
    packet.hardware_address = HardwareAddress::new(&[2, 0, 0, 0, 0, 0xfe]);
    packet.hook = Hook::Forward;
    packet.flags = PacketFlags::all();
    packet.original_length = 1028;
    let mut batch = Batch::new();
    batch.begin(2_000_000_000_000_000_009);
    batch.push(packet, &bytes);
    let links = links(1, &[(2, "eth0", 1), (3, "lo", 772)]);
    chain.evaluate(&mut batch, &links);
    assert_eq!(
        info(&mut chain, 0).unwrap(),
        "seen=1 id=9 mark=0x1f arrived_ns=1000000000000000007 now_ns=2000000000000000009 \
         hook=forward protocol=0x0800 in_link=2/eth0/1 out_link=3/lo/772 \
         hardware_address=02:00:00:00:00:fe captured_length=128 original_length=1028 \
         flags=GSO|CHECKSUM_PARTIAL|CHECKSUM_UNVERIFIED|KERNEL_TIMESTAMP|ALTERED \
         source=10.0.0.1 destination=10.0.0.2 ip_protocol=1"
    );
}

#[test]
fn every_hook_and_flag_has_its_own_name() {
    let hooks = [
        (Hook::Prerouting, "prerouting"),
        (Hook::Input, "input"),
        (Hook::Forward, "forward"),
        (Hook::Output, "output"),
        (Hook::Postrouting, "postrouting"),
        (Hook::Other, "other"),
    ];
    let flags = PacketFlags::all().iter_names();
    let flags = flags.map(|(name, flag)| (flag, name));
    let flags: Vec<_> = flags.chain([(PacketFlags::empty(), "-")]).collect();
    let mut chain = chain([Guest::hostile("observe", "").stage]);
    for (hook, hook_name) in hooks {
        for &(flag, flag_name) in &flags {
            let (mut packet, bytes) = ping(1);
            (packet.hook, packet.flags) = (hook, flag);
            evaluated(&mut chain, [(packet, bytes)]);
            let told = info(&mut chain, 0).unwrap();
            let expected = format!(" hook={hook_name} ");
            assert!(told.contains(&expected), "{told}");
            let expected = format!(" flags={flag_name} ");
            assert!(told.contains(&expected), "{told}");
        }
    }
}

#[test]
fn a_changed_device_is_seen_with_the_next_batch() {
    let mut chain = chain([Guest::hostile("observe", "").stage]);
    for (version, name) in [(1, "eth0"), (2, "wan"), (3, "dmz")] {
        let mut batch = batch_of([ping(1)]);
        chain.evaluate(&mut batch, &links(version, &[(1, name, 1)]));
        let told = info(&mut chain, 0).unwrap();
        assert!(told.contains(&format!("in_link=1/{name}/1")), "{told}");
    }
    let mut batch = batch_of([ping(1)]);
    chain.evaluate(&mut batch, &links(4, &[]));
    let told = info(&mut chain, 0).unwrap();
    assert!(told.contains("in_link=1/-/-"), "{told}");
}

#[test]
fn a_panic_is_a_trap_and_the_fault_tells_its_words_and_its_place() {
    let mut panics = instance("panics", "").unwrap();
    // The second time is another panic, not the trap of a dead instance.
    for id in [7, 8] {
        let fault = proc(&mut panics, [ping(id)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Trap);
        let words = format!("packet {id} is too much");
        assert!(fault.told().contains(&words), "{fault}");
        assert!(fault.told().contains("examples/panics.rs:"), "{fault}");
        panics.recover(true, None).unwrap();
    }
}

#[test]
fn a_fault_costs_nobody_else_anything() {
    let before = Guest::shipped("count", "");
    let panics = Guest::hostile("panics", "");
    let after = Guest::shipped("icmp-drop", "");
    let counters = panics.counters.clone();
    let mut chain = chain([before.stage, panics.stage, after.stage]);
    for round in 1..=3 {
        let batch = evaluated(&mut chain, [ping(1), udp(2), ping(3)]);
        let (accept, drop) = (Settlement::Accept, Settlement::Drop);
        assert_eq!(settled(&batch), [drop, accept, drop]);
        let told = info(&mut chain, 0).unwrap();
        let total = told.lines().last().unwrap().split_whitespace().nth(1);
        assert_eq!(total.unwrap(), (round * 3).to_string());
        let told = info(&mut chain, 2).unwrap();
        assert_eq!(
            told,
            format!("{0} echo requests dropped, {0} seen", round * 2)
        );
        // One for each packet: it was each alone.
        assert_eq!(counters.faults.get(), round * 3);
        assert_eq!(counters.passed.get(), round * 3);
    }
}

#[test]
fn an_endless_loop_meets_its_deadline_and_the_next_batch_works() {
    let loops = Guest::hostile("loops_hundredth", "");
    let drops = Guest::hostile("drops_all", "");
    let counters = loops.counters.clone();
    let mut chain = chain([loops.stage, drops.stage]);
    let (batch, log) = logged(|| evaluated(&mut chain, (80..=120).map(ping)));
    assert_eq!(settled(&batch), [Settlement::Drop; 41]);
    assert_eq!(counters.faults.get(), 1);
    assert!(log.contains("kind=\"deadline\""), "{log}");
    assert!(log.contains("of CPU time"), "{log}");

    let batch = evaluated(&mut chain, (101..=140).map(ping));
    assert_eq!(settled(&batch), [Settlement::Drop; 40]);
    assert_eq!(counters.faults.get(), 1);
    assert_eq!(counters.passed.get(), 81);
}

/// The clock by which guests are interrupted rests while none runs.
#[test]
fn an_endless_loop_meets_its_deadline_after_a_long_silence_too() {
    let runtime = Runtime::new().unwrap();
    let compiled = runtime.compile(&wasm(guests::hostile(), "loops_hundredth"));
    let guest = Guest::of(compiled.unwrap(), "").started();
    let counters = guest.counters.clone();
    let mut chain = chain([guest.stage]);
    for faults in 1..=3 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        evaluated(&mut chain, (1..=100).map(ping));
        assert_eq!(counters.faults.get(), faults);
    }
}

#[test]
fn bytes_that_a_guest_does_not_have_or_that_are_too_many_are_a_fault() {
    use FaultKind::{HostCall, Trap};
    for (lie, kind, told) in [
        ("beyond", Trap, "out of bounds of memory"),
        ("wraps", Trap, "out of bounds of memory"),
        ("long", Trap, "out of bounds of memory"),
        ("much", HostCall, "too much data"),
    ] {
        let mut liar = instance("lies", lie).unwrap();
        let fault = proc(&mut liar, [ping(1)]).unwrap_err();
        assert_eq!(fault.kind, kind, "{lie}: {}", fault.detail);
        assert!(fault.told().contains(told), "{lie}: {}", fault.detail);
        liar.recover(true, None).unwrap();
    }
    let mut honest = instance("lies", "").unwrap();
    assert_eq!(proc(&mut honest, [ping(1)]).unwrap(), []);
}

#[test]
fn who_takes_memory_without_end_is_refused_it() {
    // A deadline that cannot come first.
    let limits = Limits {
        batch_deadline: PATIENCE,
        ..Limits::default()
    };
    let context = Context {
        limits,
        ..context("")
    };
    let runtime = Runtime::new().unwrap();
    let compiled = runtime.compile(&wasm(guests::hostile(), "grows")).unwrap();
    let mut grows = Instance::new(Arc::new(compiled), context, Arc::default()).unwrap();
    for _ in 0..2 {
        let fault = proc(&mut grows, [ping(1)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Memory, "{fault}");
        grows.recover(true, None).unwrap();
    }
}

#[test]
fn what_goes_beyond_the_declared_needs_is_a_fault() {
    for (name, kind, words) in [
        ("undeclared_drop", "ungranted", "the verdict drop without"),
        ("undeclared_mark", "ungranted", "mark bits 0x2 without"),
        ("undeclared_edit", "ungranted", "edited headers of packet 0"),
        ("repeats", "invalid-decision", "come back for ever"),
    ] {
        let guest = Guest::hostile(name, "");
        let mut chain = chain([guest.stage]);
        let (batch, log) = logged(|| evaluated(&mut chain, [ping(1), ping(2)]));
        assert_eq!(settled(&batch), [Settlement::Accept; 2], "{name}");
        assert!(
            batch
                .entries()
                .iter()
                .all(|entry| entry.new_mark().is_none() && !entry.is_altered()),
            "{name}"
        );
        assert_eq!(guest.counters.faults.get(), 2, "{name}: one a packet");
        assert!(log.contains(&format!("kind=\"{kind}\"")), "{log}");
        assert!(log.contains(words), "{log}");
    }
}

#[test]
fn what_an_extension_edits_comes_out_of_the_sandbox_with_its_checksum() {
    let guest = Guest::hostile("edits", "icmp");
    let counters = guest.counters.clone();
    let mut chain = chain([guest.stage]);
    let mut banana = ping(1).1;
    banana.extend_from_slice(b"banana");
    banana[3] += 6;
    let batch = evaluated(&mut chain, [packet(1, banana), ping(2)]);
    let entries = batch.entries();
    let altered = batch.bytes_of(&entries[0].packet);
    assert_eq!(&altered[28..], b"bbnbnb");
    // The sum of the words grew by three: thrice a low byte by one.
    assert_eq!(altered[22..24], [0xf7, 0xfc]);
    assert_eq!(
        [entries[0].is_altered(), entries[1].is_altered()],
        [true, false]
    );
    assert_eq!(counters.edited.get(), 1);
}

#[test]
fn faults_are_logged_a_few_times_a_second_and_counted_all() {
    let guest = Guest::hostile("undeclared_drop", "").never_quarantined();
    let mut chain = chain([guest.stage]);
    let ((), log) = logged(|| {
        for id in 0..50 {
            evaluated(&mut chain, [ping(id)]);
        }
    });
    assert_eq!(guest.counters.faults.get(), 50);
    // A few a second, and it may take more than one on a busy machine.
    let lines = log
        .lines()
        .filter(|line| line.contains("extension failed"))
        .count();
    assert!((1..50).contains(&lines), "{log}");
}

#[test]
fn who_sleeps_is_not_waited_for() {
    let mut chain = chain([Guest::hostile("sleeps", "").stage]);
    let (ended, end) = channel();
    // 64 minutes, if anybody waited.
    std::thread::spawn(move || ended.send(settled(&evaluated(&mut chain, (0..64).map(ping)))));
    let settled = end.recv_timeout(PATIENCE).expect("the sleeper returns");
    assert_eq!(settled, [Settlement::Accept; 64]);
}

#[test]
fn who_refuses_init_is_heard() {
    match instance("refuses_init", "") {
        Err(LifecycleError::Refused(text)) => {
            assert_eq!(text, "this extension refuses to be added");
        }
        other => panic!("{:?}", other.err()),
    }
    match instance("marks", "value=red") {
        Err(LifecycleError::Refused(text)) => assert!(text.contains("`red`"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn who_panics_in_init_has_failed() {
    match instance("panics_in_init", "") {
        Err(LifecycleError::Fault(fault)) => {
            assert_eq!(fault.kind, FaultKind::Trap);
            for words in ["panics in init", "examples/panics_in_init.rs:"] {
                assert!(fault.told().contains(words), "{fault}");
            }
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn who_refuses_to_stop_or_start_is_heard_and_lives() {
    let mut guest = Guest::added("refuses_start", "");
    let refused = guest.stage.lifecycle(Lifecycle::Start).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it refused: this extension refuses to start"
    );
    let mut guest = Guest::hostile("refuses_stop", "");
    let refused = guest.stage.lifecycle(Lifecycle::Stop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it refused: this extension refuses to stop"
    );
    guest.stage.lifecycle(Lifecycle::Fini).unwrap();
    assert_eq!(guest.counters.faults.get(), 0, "to refuse is no fault");
}

#[test]
fn who_will_not_start_again_cannot_recover_to_started() {
    let mut instance = instance("refuses_start", "").unwrap();
    instance.recover(false, None).unwrap();
    let fault = instance.recover(true, None).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Restart);
    assert!(fault.told().contains("refuses to start"), "{fault}");
    instance.recover(false, None).unwrap();
}

/// A packet of UDP with such a payload.
fn telling(id: u32, payload: &[u8]) -> (Packet, Vec<u8>) {
    let (packet, mut bytes) = udp(id);
    bytes.truncate(28);
    bytes.extend_from_slice(payload);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[24..26].copy_from_slice(&(length - 20).to_be_bytes());
    // No checksum, which UDP over IPv4 may have.
    bytes[26..28].fill(0);
    let original_length = bytes.len() as u32;
    (
        Packet {
            original_length,
            ..packet
        },
        bytes,
    )
}

#[test]
fn after_a_fault_the_state_that_was_saved_last_is_there_again() {
    let guest = Guest::hostile("keeps", "");
    let counters = guest.counters.clone();
    let mut chain = chain([guest.stage]);
    evaluated(&mut chain, (0..5).map(udp));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    chain.rest();
    let batch = evaluated(&mut chain, [udp(5), telling(6, b"poison"), udp(7)]);
    assert_eq!(settled(&batch), [Settlement::Accept; 3]);
    assert_eq!(counters.faults.get(), 1);
    let told = info(&mut chain, 0).unwrap();
    // Five were saved, and one came after the fault.
    assert!(told.starts_with("count=6 "), "{told}");
}

#[test]
fn who_takes_long_to_start_starts_again_where_nobody_waits() {
    let guest = Guest::hostile("slow_init", "in=start").never_quarantined();
    let counters = guest.counters.clone();
    let mut chain = chain([guest.stage]);
    let mut slowest = std::time::Duration::ZERO;
    wait_until("it has started again, twice", || {
        let began = cpu_time();
        evaluated(&mut chain, [ping(1)]);
        slowest = slowest.max(cpu_time() - began);
        counters.faults.get() >= 3
    });
    assert!(counters.skipped.get() > 0, "packets do not wait for it");
    // Its `start` takes 200 ms.
    assert!(
        slowest < std::time::Duration::from_millis(50),
        "{slowest:?}"
    );
    assert!(!counters.quarantined.load(Ordering::Relaxed));
}

#[test]
fn who_refuses_its_state_begins_anew_and_is_told_of() {
    begins_anew("", "does not take up the state");
}

#[test]
fn who_will_not_start_with_its_state_begins_anew_and_is_told_of() {
    begins_anew("at=start", "will not start with what it saved");
}

fn begins_anew(params: &str, because: &str) {
    let guest = Guest::hostile("refuses_restore", params);
    let counters = guest.counters.clone();
    let mut chain = chain([guest.stage]);
    evaluated(&mut chain, (0..5).map(udp));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    chain.rest();
    let (_, log) = logged(|| evaluated(&mut chain, [udp(5), telling(6, b"poison"), udp(7)]));
    assert_eq!(counters.faults.get(), 2, "the panic, and the state");
    assert!(log.contains(because), "{log}");
    assert_eq!(info(&mut chain, 0).as_deref(), Some("count=1"));
}

#[test]
fn who_panics_in_info_still_decides_packets() {
    let guest = Guest::hostile("panics_in_info", "");
    let mut chain = chain([guest.stage]);
    let asked = chain
        .stage_mut(StageId(0))
        .unwrap()
        .lifecycle(Lifecycle::Info);
    match asked {
        Err(LifecycleError::Fault(fault)) => {
            assert!(fault.told().contains("panics in info"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    evaluated(&mut chain, [ping(1)]);
    assert_eq!(guest.counters.passed.get(), 1);
    assert_eq!(guest.counters.faults.get(), 1);
}

#[test]
fn a_guest_speaks_through_its_streams_and_its_log() {
    let guest = Guest::hostile("prints", "");
    let (_, log) = logged(|| evaluated(&mut chain([guest.stage]), [ping(1), ping(2)]));
    let lines: Vec<_> = log.lines().map(str::trim_start).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    INFO guest: stdout: packet 1 extension="prints" suppressed=0
    WARN guest: stderr: packet 1 extension="prints" suppressed=0
    ERROR guest: error: packet 1 extension="prints" suppressed=0
    WARN guest: warn: packet 1 extension="prints" suppressed=0
    INFO guest: info: packet 1 extension="prints" suppressed=0
    INFO guest: stdout: packet 2 extension="prints" suppressed=0
    WARN guest: stderr: packet 2 extension="prints" suppressed=0
    ERROR guest: error: packet 2 extension="prints" suppressed=0
    WARN guest: warn: packet 2 extension="prints" suppressed=0
    INFO guest: info: packet 2 extension="prints" suppressed=0
    "#);
}

#[test]
fn a_chatterbox_is_cut_short_and_the_cut_is_told() {
    let guest = Guest::hostile("prints", "");
    let (_, log) = logged(|| evaluated(&mut chain([guest.stage]), (0..64).map(ping)));
    // Five lines a packet at this level; 32 of a call are kept, and 20 a second.
    assert_eq!(log.lines().count(), 20, "{log}");
    let cut = format!("suppressed={}", 64 * 5 - 32);
    assert!(log.lines().next().unwrap().contains(&cut), "{log}");
}

/// Fails once in place of the extension that it wraps.
struct FailsOnce {
    instance: Instance,
    at_call: usize,
    calls: usize,
}

impl Filter for FailsOnce {
    fn proc(
        &mut self,
        view: &View<'_>,
        allowed: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        self.calls += 1;
        self.instance.proc(view, allowed, outcome)?;
        if self.calls == self.at_call {
            return Err(Fault::new(FaultKind::Trap, "on purpose"));
        }
        Ok(())
    }

    fn recover(&mut self, started: bool, allowed: Option<Duration>) -> Result<Recovered, Fault> {
        self.instance.recover(started, allowed)
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        self.instance.lifecycle(call)
    }
}

#[test]
fn after_a_fault_the_guest_counts_anew_and_the_host_goes_on() {
    let filter = FailsOnce {
        instance: instance("observe", "").unwrap(),
        at_call: 3,
        calls: 0,
    };
    let guest = Guest::new(Needs::default(), Box::new(filter));
    let mut chain = chain([guest.stage]);
    for (id, seen_by_guest) in [(1, 1), (2, 2), (3, 0), (4, 1)] {
        evaluated(&mut chain, [ping(id)]);
        let told = info(&mut chain, 0).unwrap();
        assert!(told.starts_with(&format!("seen={seen_by_guest}")), "{told}");
        assert_eq!(guest.counters.seen.get(), u64::from(id));
        assert_eq!(guest.counters.passed.get(), u64::from(id));
    }
    assert_eq!(guest.counters.faults.get(), 1);
}

#[test]
fn reset_clears_the_guests_state_and_not_its_parameters() {
    let mut chain = chain([Guest::shipped("icmp-drop", "every=2").stage]);
    evaluated(&mut chain, (1..=3).map(ping));
    let stage = chain.stage_mut(StageId(0)).unwrap();
    stage.lifecycle(Lifecycle::Reset).unwrap();
    let told = info(&mut chain, 0).unwrap();
    assert_eq!(told, "0 echo requests dropped, 0 seen");
    let batch = evaluated(&mut chain, [ping(4), ping(5)]);
    assert_eq!(settled(&batch), [Settlement::Accept, Settlement::Drop]);
}

#[test]
fn an_extension_says_what_it_is_and_how_to_use_it() {
    let wasm = wasm(guests::shipped(), "icmp_drop");
    let compiled = runtime().compile(&wasm).unwrap();
    let description = &compiled.description;
    assert_eq!(description.name, "icmp-drop");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert!(!description.summary.is_empty());
    let expected = Needs {
        snap_length: 128,
        edits: Edits::None,
        verdicts: Verdicts::DROP,
        mark_mask: 0,
        on_fault: Fallback::Pass,
    };
    assert_eq!(description.needs, expected);
    assert_eq!(compiled.hash.to_string(), Hash::of(&wasm).to_string());
    assert!(compiled.help().unwrap().unwrap().contains("every=N"));
    let template = compiled_from(guests::shipped(), "template");
    assert_eq!(template.help().unwrap(), None);
}

#[test]
fn a_component_is_taken_as_well_as_a_module() {
    let module = wasm(guests::shipped(), "icmp_drop");
    let component = encoded(&module);
    assert_ne!(module, component);
    let compiled = runtime().compile(&component).unwrap();
    let instance = Instance::new(Arc::new(compiled), context(""), Arc::default()).unwrap();
    let guest = Guest::new(NEEDS_OF_ICMP_DROP, Box::new(instance));
    let batch = evaluated(&mut chain([guest.stage]), [ping(1), udp(2)]);
    assert_eq!(settled(&batch), [Settlement::Drop, Settlement::Accept]);
}

#[test]
fn what_is_not_webassembly_is_told_so() {
    for bytes in [
        &b""[..],
        b"#!/bin/sh\n",
        b"\x7fELF\x02",
        b"(module)",
        &[0; 100],
    ] {
        match refusal(bytes) {
            CompileError::Componentize(ComponentizeError::NotWasm) => {}
            other => panic!("{bytes:?}: {other}"),
        }
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let module = wasm(guests::shipped(), "template");
    for wasm in [encoded(&module), module] {
        let lengths = (0..64).chain((64..wasm.len()).step_by(wasm.len() / 200));
        for length in lengths.chain(wasm.len() - 16..wasm.len()) {
            refusal(&wasm[..length]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever comes of it: the daemon lives.
    #[test]
    fn a_damaged_file_never_panics_the_host(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut wasm = wasm(guests::shipped(), "template");
        // Behind it nearly all is debug information, which nobody reads.
        let debug = b".debug_";
        let end = wasm.windows(debug.len()).position(|bytes| bytes == debug).unwrap();
        for (place, byte) in flips {
            *place.get_mut(&mut wasm[..end]) = byte;
        }
        if let Ok(compiled) = runtime().compile(&wasm) {
            let instance = Instance::new(Arc::new(compiled), context(""), Arc::default());
            if let Ok(instance) = instance {
                let guest = Guest::new(Needs::default(), Box::new(instance));
                evaluated(&mut chain([guest.stage]), [ping(1)]);
            }
        }
    }
}

#[test]
fn a_file_without_our_interface_is_told_what_is_missing() {
    for bytes in [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        let refused = refusal(bytes);
        assert!(
            matches!(
                refused,
                CompileError::Componentize(ComponentizeError::NoWorld)
            ),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains("ipqext:packet/extension"), "{text}");
    }
}

#[test]
fn an_extension_for_another_version_is_told_both_versions() {
    let module = wasm(guests::shipped(), "template");
    let patched = replaced(&module, b"extension@0.1.0", b"extension@0.9.0");
    match refusal(&patched) {
        CompileError::Componentize(error @ ComponentizeError::OtherVersion { .. }) => {
            let text = error.to_string();
            assert!(text.contains("0.9.0") && text.contains("0.1.0"), "{text}");
        }
        other => panic!("{other}"),
    }
}

/// The module's own account of its world then has a cycle of packages, over which
/// wit-parser 0.254 overflows the stack: the host must not read it.
#[test]
fn a_file_with_a_cycle_in_its_account_of_its_world_is_refused() {
    let module = wasm(guests::shipped(), "template");
    let patched = replaced(&module, b"ipqext:packet/host@", b"pqext:packet/ghost@");
    let refused = refusal(&patched);
    assert!(
        matches!(
            refused,
            CompileError::Componentize(ComponentizeError::Encode(_))
        ),
        "{refused}"
    );
}

#[test]
fn an_extension_that_wants_what_no_guest_gets_does_not_fit() {
    let module = wasm(guests::shipped(), "template");
    for (from, to) in [
        (
            &b"packet/host@0.1.0\x05links"[..],
            &b"packet/host@0.1.0\x05lynks"[..],
        ),
        (
            b"wasi_snapshot_preview1\x09proc_exit",
            b"wasi_snapshot_preview9\x09proc_exit",
        ),
    ] {
        match refusal(&replaced(&module, from, to)) {
            CompileError::Componentize(ComponentizeError::Encode(_)) | CompileError::Link(_) => {}
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_extension_with_a_name_for_no_file_is_refused() {
    let module = wasm(guests::hostile(), "drops_all");
    match refusal(&replaced(&module, b"drops_all", b"Drops/all")) {
        CompileError::BadName(name) => assert_eq!(name, "Drops/all"),
        other => panic!("{other}"),
    }
}

const NEEDS_OF_ICMP_DROP: Needs = Needs {
    snap_length: 128,
    edits: Edits::None,
    verdicts: Verdicts::DROP,
    mark_mask: 0,
    on_fault: Fallback::Pass,
};

/// An extension in its stage, with the counters that the test holds.
struct Guest {
    stage: Stage,
    counters: Arc<StageCounters>,
}

impl Guest {
    fn new(needs: Needs, filter: Box<dyn Filter>) -> Self {
        let counters = Arc::<StageCounters>::default();
        let stage = Stage::new(StageId(0), "guest".into(), needs, filter, counters.clone());
        Self { stage, counters }
    }

    /// A misbehaving extension, initialised.
    fn added(name: &str, params: &str) -> Self {
        Self::of(compiled_from(guests::hostile(), name), params)
    }

    /// A misbehaving extension, started.
    fn hostile(name: &str, params: &str) -> Self {
        Self::added(name, params).started()
    }

    /// A shipped extension, started.
    fn shipped(name: &str, params: &str) -> Self {
        let file = name.replace('-', "_");
        Self::of(compiled_from(guests::shipped(), &file), params).started()
    }

    fn of(compiled: Compiled, params: &str) -> Self {
        let needs = compiled.description.needs;
        let instance = Instance::new(Arc::new(compiled), context(params), Arc::default());
        let instance = instance.unwrap_or_else(|error| panic!("init: {error}"));
        Self::new(needs, Box::new(instance))
    }

    fn never_quarantined(mut self) -> Self {
        let mut terms = self.stage.terms();
        terms.policy.quarantine = None;
        self.stage.set_terms(terms);
        self
    }

    fn started(mut self) -> Self {
        self.stage.lifecycle(Lifecycle::Start).unwrap();
        self
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

fn compiled_from(dir: &Path, name: &str) -> Compiled {
    let compiled = runtime().compile(&wasm(dir, name));
    compiled.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn instance(name: &str, params: &str) -> Result<Instance, LifecycleError> {
    let compiled = compiled_from(guests::hostile(), name);
    Instance::new(Arc::new(compiled), context(params), Arc::default())
}

fn wasm(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name).with_extension("wasm")).unwrap()
}

fn context(params: &str) -> Context {
    Context {
        params: params.to_owned(),
        worker: 0,
        workers: 1,
        seed: 1,
        determined: false,
        limits: Limits::default(),
        log: LogLevel::default(),
    }
}

/// A module made into a component, as its author could have done.
fn encoded(module: &[u8]) -> Vec<u8> {
    use wasi_preview1_component_adapter_provider as provider;
    let adapter = provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    wit_component::ComponentEncoder::default()
        .module(module)
        .unwrap()
        .adapter(provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)
        .unwrap()
        .encode()
        .unwrap()
}

fn refusal(wasm: &[u8]) -> CompileError {
    match runtime().compile(wasm) {
        Err(refused) => refused,
        Ok(taken) => panic!("{} bytes were taken: {:?}", wasm.len(), taken.description),
    }
}

/// Puts other bytes, as many, wherever these stand.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..bytes.len())
        .filter(|&place| bytes[place..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "it has no {from:?}");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

/// A chain whose stages are numbered from 0.
fn chain(stages: impl IntoIterator<Item = Stage>) -> Chain {
    let places = (0..).zip(stages).map(|(number, mut stage)| {
        stage.id = StageId(number);
        Place {
            id: stage.id,
            terms: stage.terms(),
            incoming: Some(stage),
        }
    });
    let mut chain = Chain::default();
    chain.rearrange(places.collect());
    chain
}

fn batch_of(packets: impl IntoIterator<Item = (Packet, Vec<u8>)>) -> Batch {
    let mut batch = Batch::new();
    for (packet, bytes) in packets {
        batch.push(packet, &bytes);
    }
    batch
}

fn evaluated(chain: &mut Chain, packets: impl IntoIterator<Item = (Packet, Vec<u8>)>) -> Batch {
    let mut batch = batch_of(packets);
    chain.evaluate(&mut batch, &Arc::default());
    batch
}

fn settled(batch: &Batch) -> Vec<Settlement> {
    let entries = batch.entries().iter();
    entries.map(|entry| entry.settlement()).collect()
}

/// Gives packets to an extension without a chain around it.
fn proc(
    instance: &mut Instance,
    packets: impl IntoIterator<Item = (Packet, Vec<u8>)>,
) -> Result<Vec<Decision>, Fault> {
    let batch = batch_of(packets);
    let entries = batch.entries().iter();
    let packets: Vec<Packet> = entries.map(|entry| entry.packet).collect();
    let links = Arc::default();
    let view = View {
        now_ns: 0,
        links: &links,
        packets: &packets,
        bytes: batch.bytes(),
    };
    let mut outcome = Outcome::default();
    instance.proc(&view, PATIENCE, &mut outcome)?;
    Ok(outcome.decisions)
}

fn info(chain: &mut Chain, number: u64) -> Option<String> {
    let stage = chain
        .stage_mut(StageId(number))
        .expect("it is in the chain");
    stage.lifecycle(Lifecycle::Info).unwrap()
}

fn links(version: u32, devices: &[(u32, &str, u16)]) -> Arc<Links> {
    let link = |&(index, name, hardware_type): &(u32, &str, u16)| Link {
        index,
        name: name.to_owned(),
        hardware_type,
    };
    Arc::new(Links {
        version,
        devices: devices.iter().map(link).collect(),
    })
}

/// Runs something, and gives with its value what it logged, without times.
fn logged<T>(run: impl FnOnce() -> T) -> (T, String) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let value = tracing::subscriber::with_default(subscriber, run);
    let bytes = lines.0.lock().unwrap().clone();
    (value, String::from_utf8(bytes).unwrap())
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
