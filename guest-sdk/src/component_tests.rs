use super::{Component, Guest, Instance, Manifest, state, wit};
use crate::prelude::*;

/// Does with a packet what its first byte says, and counts.
#[derive(Default)]
struct Told {
    seen: u32,
    is_started: bool,
}

impl Extension for Told {
    const NEEDS: Needs = Needs::none().snap_length(1).verdicts(Verdicts::all());

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["seen"])?;
        self.seen = context.params().parse("seen")?.unwrap_or(0);
        Ok(())
    }

    fn fini(&mut self) -> Result<(), String> {
        Err(format!("fini after {}", self.seen))
    }

    fn start(&mut self) -> Result<(), String> {
        self.is_started = true;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.is_started = false;
        Err("busy".to_owned())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.seen = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!("{} seen, started: {}", self.seen, self.is_started))
    }

    fn help() -> Option<String> {
        Some("told".to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.seen += 1;
        match packet.bytes() {
            [b'd'] => Verdict::Drop,
            [b'q'] => Verdict::Queue(3),
            [b'm'] => {
                packet.set_mark(1, 3);
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }
}

impl Stateful for Told {
    fn save(&self) -> Result<Vec<u8>, String> {
        let seen = u8::try_from(self.seen);
        Ok(vec![seen.map_err(|_| "too many to save")?])
    }

    fn restore(&mut self, version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
        if version != env!("CARGO_PKG_VERSION") {
            return Err(format!("cannot read what {version} saved"));
        }
        let seen = parts.concat();
        self.seen = seen.into_iter().map(u32::from).sum();
        Ok(())
    }
}

crate::export!(Told, stateful);

fn batch(orders: &[u8]) -> wit::Batch {
    let packets = (0u32..)
        .zip(orders)
        .map(|(offset, _)| wit::Packet {
            id: 100 + offset,
            mark: 0,
            arrived_ns: 0,
            in_link: 0,
            out_link: 0,
            hardware_address: 0,
            hardware_address_length: 0,
            hook: wit::Hook::Input,
            protocol: 0x0800,
            packet_flags: wit::PacketFlags::empty(),
            offset,
            captured_length: 1,
            original_length: 1,
        })
        .collect();
    wit::Batch {
        now_ns: 0,
        links_version: 0,
        packets,
        bytes: orders.to_vec(),
    }
}

fn context(params: &str) -> wit::Context {
    wit::Context {
        params: params.to_owned(),
        worker: 0,
        workers: 1,
        seed: 0,
    }
}

fn told() -> Instance<Told> {
    let Ok(instance) = Instance::init(&Context::new(""), Vec::new) else {
        panic!("no parameters are fine");
    };
    instance
}

#[test]
fn packets_that_plainly_pass_are_not_listed() {
    let outcome = told().proc(&batch(b".d..mq."));
    let listed: Vec<(u32, Verdict)> = outcome
        .decisions
        .iter()
        .map(|decision| (decision.packet, decision.verdict.into()))
        .collect();
    assert_eq!(
        listed,
        [
            (1, Verdict::Drop),
            (4, Verdict::Pass),
            (5, Verdict::Queue(3))
        ]
    );
    let marks: Vec<_> = outcome
        .decisions
        .iter()
        .map(|decision| decision.mark.map(|mark| (mark.value, mark.mask)))
        .collect();
    assert_eq!(marks, [None, Some((1, 3)), None]);
    assert!(outcome.edits.is_empty() && outcome.bytes.is_empty());
}

#[test]
fn nothing_is_allocated_for_a_batch_that_passes() {
    let outcome = told().proc(&batch(b"..."));
    assert_eq!(outcome.decisions.capacity(), 0);
}

#[test]
#[should_panic(expected = "the host gives every packet bytes of its batch")]
fn bytes_outside_the_batch_are_the_hosts_error() {
    let mut batch = batch(b"..");
    batch.packets[1].captured_length = 2;
    told().proc(&batch);
}

#[test]
fn the_life_of_an_exported_extension() {
    type Exported = Component<Told>;
    let description = Exported::describe();
    assert_eq!(description.name, "sdk");
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.summary, env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(description.needs.snap_length, 1);
    assert_eq!(Exported::help().as_deref(), Some("told"));

    assert!(Exported::init(context("sene=1")).is_err());
    assert_eq!(Exported::init(context("seen=40")), Ok(()));
    assert_eq!(Exported::start(), Ok(()));
    assert_eq!(Exported::proc(batch(b"d.")).decisions.len(), 1);
    assert_eq!(Exported::info().as_deref(), Some("42 seen, started: true"));
    assert_eq!(Exported::reset(), Ok(()));
    assert_eq!(Exported::stop(), Err("busy".to_owned()));
    assert_eq!(Exported::info().as_deref(), Some("0 seen, started: false"));
    assert_eq!(Exported::fini(), Err("fini after 0".to_owned()));
}

#[test]
fn the_state_of_an_exported_extension_is_carried_over() {
    type Exported = Component<Told>;
    let version = || env!("CARGO_PKG_VERSION").to_owned();
    let save = <Exported as state::Guest>::save;
    let restore = <Exported as state::Guest>::restore;
    assert_eq!(Exported::init(context("seen=40")), Ok(()));
    Exported::proc(batch(b".."));
    assert_eq!(save(), Ok(vec![42]));
    assert_eq!(Exported::init(context("")), Ok(()));
    assert_eq!(restore(version(), vec![vec![42], vec![], vec![1]]), Ok(()));
    assert_eq!(Exported::info().as_deref(), Some("43 seen, started: false"));
    assert_eq!(restore(version(), Vec::new()), Ok(()));
    assert_eq!(save(), Ok(vec![0]));
    assert_eq!(
        restore("0.0.1".to_owned(), Vec::new()),
        Err("cannot read what 0.0.1 saved".to_owned())
    );
    assert_eq!(Exported::init(context("seen=256")), Ok(()));
    assert_eq!(save(), Err("too many to save".to_owned()));
}

#[test]
#[should_panic(expected = "the host called `restore` of an extension that is not initialised")]
fn restore_before_init_is_a_clear_panic() {
    let _ = <Component<Told> as state::Guest>::restore(String::new(), Vec::new());
}

#[test]
#[should_panic(expected = "the host called `proc` of an extension that is not initialised")]
fn proc_before_init_is_a_clear_panic() {
    Component::<Told>::proc(batch(b"."));
}

#[test]
#[should_panic(expected = "the host called `info` of an extension that is not initialised")]
fn a_failed_init_leaves_nothing_behind() {
    assert!(Component::<Told>::init(context("seen=x")).is_err());
    Component::<Told>::info();
}

#[test]
#[should_panic(expected = "the host called `reset` of an extension that is not initialised")]
fn nothing_comes_after_fini() {
    assert_eq!(Component::<Told>::init(context("")), Ok(()));
    assert!(Component::<Told>::fini().is_err());
    let _ = Component::<Told>::reset();
}

#[test]
fn the_name_is_that_of_the_file() {
    let name = |crate_name| {
        Manifest {
            crate_name,
            version: "",
            description: "",
        }
        .extension_name()
    };
    assert_eq!(name("icmp_drop"), "icmp-drop");
    assert_eq!(name("ipqext_icmp_drop"), "icmp-drop");
    assert_eq!(name("count"), "count");
    assert_eq!(name("my_ipqext_one"), "my-ipqext-one");
}

#[test]
fn the_summary_is_one_line() {
    let manifest = Manifest {
        crate_name: "",
        version: "",
        description: "Drops\n  this and that\n",
    };
    assert_eq!(manifest.summary(), "Drops this and that");
}
