use std::time::Duration;

use super::{Decision, Kit};
use crate::prelude::*;
use crate::test::TestPacket;
use crate::{Hook, Link, PacketFlags};

/// Does as the parameters say, and remembers what it saw.
#[derive(Default)]
struct Probe {
    verdict: Option<Verdict>,
    mark: Option<u32>,
    refuses: String,
    seen: Vec<String>,
}

impl Extension for Probe {
    const NEEDS: Needs = Needs::none()
        .snap_length(24)
        .verdicts(Verdicts::DROP.union(Verdicts::REPEAT))
        .mark_mask(0xff);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["verdict", "mark", "refuses"])?;
        self.verdict = match params.get("verdict") {
            Some("drop") => Some(Verdict::Drop),
            Some("accept") => Some(Verdict::Accept),
            Some("repeat") => Some(Verdict::Repeat),
            _ => None,
        };
        self.mark = params.parse("mark")?;
        self.refuses = params.get("refuses").unwrap_or_default().to_owned();
        self.refuse("init")
    }

    fn fini(&mut self) -> Result<(), String> {
        self.refuse("fini")
    }

    fn start(&mut self) -> Result<(), String> {
        self.refuse("start")
    }

    fn stop(&mut self) -> Result<(), String> {
        self.refuse("stop")
    }

    fn reset(&mut self) -> Result<(), String> {
        self.seen.clear();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        self.seen.last().cloned()
    }

    fn help() -> Option<String> {
        Some("help".to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let name = |link: Option<&Link>| link.map_or("-".to_owned(), |link| link.name.clone());
        self.seen.push(format!(
            "{} {}/{} {}>{} {} {:?} {} {}",
            packet.id(),
            packet.bytes().len(),
            packet.original_length(),
            name(packet.in_link()),
            name(packet.out_link()),
            packet.hook(),
            packet.flags(),
            packet.arrived_ns(),
            packet.now_ns(),
        ));
        if let Some(mark) = self.mark {
            packet.set_mark(mark, mark);
        }
        self.verdict.unwrap_or(Verdict::Pass)
    }
}

impl Stateful for Probe {
    fn save(&self) -> Result<Vec<u8>, String> {
        self.refuse("save")?;
        if self.refuses == "brevity" {
            return Ok(vec![0; (1 << 20) + 1]);
        }
        Ok(self.seen.join("\n").into_bytes())
    }

    fn restore(&mut self, version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
        self.refuse("restore")?;
        self.seen.push(format!("from {version}"));
        for part in parts {
            let lines = String::from_utf8(part).map_err(|error| error.to_string())?;
            self.seen.extend(lines.lines().map(str::to_owned));
        }
        Ok(())
    }
}

impl Probe {
    fn refuse(&self, function: &str) -> Result<(), String> {
        if self.refuses == function {
            return Err(format!("{function} refused"));
        }
        Ok(())
    }
}

fn kit(params: &str) -> Kit<Probe> {
    Kit::with_params(params).unwrap()
}

fn packet() -> TestPacket {
    TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53").payload(&[0; 12])
}

#[test]
fn verdict_and_mark_come_back() {
    let mut kit = kit("verdict=drop,mark=0x0f");
    assert_eq!(kit.proc(packet()), Verdict::Drop);
    assert_eq!(
        kit.decide(packet().mark(0x70)),
        Decision {
            verdict: Verdict::Drop,
            mark: 0x7f,
            edited: None,
        }
    );
}

#[test]
fn a_batch_of_any_size_is_decided_in_order() {
    let mut kit = kit("mark=1");
    let packets = (0..150).map(|number| packet().mark(number << 8));
    let decisions = kit.decide_batch(packets);
    let marks: Vec<u32> = decisions.iter().map(|decision| decision.mark).collect();
    let expected: Vec<u32> = (0..150).map(|number| number << 8 | 1).collect();
    assert_eq!(marks, expected);
    assert_eq!(kit.extension().seen.len(), 150);
    assert!(kit.decide_batch([]).is_empty());
}

#[test]
fn the_extension_sees_what_it_declared_and_no_more() {
    let mut kit = kit("");
    kit.set_now_ns(5);
    kit.proc(packet());
    assert_eq!(kit.now_ns(), 5);
    assert_eq!(
        kit.info().as_deref(),
        Some("1 24/40 ->- input PacketFlags(0x0) 5 5")
    );
    kit.proc(packet().truncated(10));
    assert_eq!(
        kit.info().as_deref(),
        Some("2 10/40 ->- input PacketFlags(0x0) 5 5")
    );
}

#[test]
fn time_goes_on_as_it_is_told() {
    let mut kit = kit("");
    kit.set_now_ns(5);
    kit.advance(Duration::from_millis(2));
    kit.proc(packet());
    assert_eq!(kit.now_ns(), 2_000_005);
    assert!(
        kit.info()
            .is_some_and(|info| info.ends_with(" 2000005 2000005"))
    );
    kit.advance(Duration::MAX);
    assert_eq!(kit.now_ns(), u64::MAX);
}

#[test]
fn metadata_of_a_packet_is_handed_over() {
    let link = |index, name: &str| Link {
        index,
        name: name.to_owned(),
        hardware_type: 1,
    };
    let mut kit = kit("");
    let special = packet()
        .id(9)
        .hook(Hook::Forward)
        .in_link(&link(2, "eth0"))
        .out_link(&link(3, "eth1"))
        .flags(PacketFlags::GSO)
        .arrived_ns(7);
    kit.set_now_ns(8);
    kit.proc(special);
    assert_eq!(
        kit.info().as_deref(),
        Some("9 24/40 eth0>eth1 forward PacketFlags(GSO) 7 8")
    );
    kit.proc(packet().in_link(&link(2, "renamed")));
    assert_eq!(
        kit.info().as_deref(),
        Some("10 24/40 renamed>- input PacketFlags(0x0) 8 8")
    );
}

#[test]
fn refusals_come_through() {
    let refused = |params: &str| Kit::<Probe>::with_params(params).err();
    assert_eq!(refused("refuses=init").as_deref(), Some("init refused"));
    assert_eq!(refused("refuses=start").as_deref(), Some("start refused"));
    assert!(refused("colour=red").is_some());
    assert_eq!(kit("refuses=stop").stop(), Err("stop refused".to_owned()));
    assert_eq!(kit("refuses=fini").fini(), Err("fini refused".to_owned()));
    assert_eq!(kit("refuses=stop").fini(), Err("stop refused".to_owned()));
    assert_eq!(kit("").fini(), Ok(()));
}

#[test]
fn it_can_be_stopped_and_started_again() {
    let mut kit = Kit::<Probe>::new().unwrap();
    kit.proc(packet());
    assert_eq!(kit.stop(), Ok(()));
    assert_eq!(kit.start(), Ok(()));
    kit.proc(packet());
    assert_eq!(kit.extension().seen.len(), 2, "the state stays");
    assert_eq!(kit.reset(), Ok(()));
    assert_eq!(kit.info(), None);
    assert_eq!(kit.help().as_deref(), Some("help"));
    assert_eq!(kit.needs(), Probe::NEEDS);
}

#[test]
fn state_is_saved_and_restored_into_a_fresh_one() {
    let mut first = kit("");
    first.decide_batch([packet(), packet()]);
    let saved = first.save().unwrap();
    let seen = first.extension().seen.clone();
    let mut next = Kit::<Probe>::restored("verdict=drop", "1.0.0", [saved]).unwrap();
    let expected = [vec!["from 1.0.0".to_owned()], seen].concat();
    assert_eq!(next.extension().seen, expected);
    assert_eq!(
        next.proc(packet()),
        Verdict::Drop,
        "it is started, with its parameters"
    );
    let empty = Kit::<Probe>::restored("", "1.0.0", []).unwrap();
    assert_eq!(empty.save(), Ok(b"from 1.0.0".to_vec()));
}

#[test]
fn refusals_of_state_come_through() {
    assert_eq!(kit("refuses=save").save(), Err("save refused".to_owned()));
    for step in ["init", "restore", "start"] {
        let params = format!("refuses={step}");
        let refused = Kit::<Probe>::restored(&params, "1.0.0", []).err();
        assert_eq!(refused, Some(format!("{step} refused")));
    }
    // Without a state to restore it is not asked.
    assert!(Kit::<Probe>::with_params("refuses=restore").is_ok());
}

#[test]
#[should_panic(expected = "refused by the host: the state has 1048577 bytes")]
fn a_state_that_the_host_would_not_take_fails_the_test() {
    let _ = kit("refuses=brevity").save();
}

#[test]
#[should_panic(expected = "the host hands no packets to a stopped extension")]
fn a_stopped_extension_gets_no_packets() {
    let mut kit = kit("");
    kit.stop().unwrap();
    kit.proc(packet());
}

#[test]
#[should_panic(expected = "gave the verdict Accept, but declares Verdicts(DROP | REPEAT) only")]
fn an_undeclared_verdict_fails_the_test() {
    kit("verdict=accept").proc(packet());
}

#[test]
#[should_panic(expected = "would come back for ever")]
fn a_verdict_that_the_host_does_not_carry_out_fails_the_test() {
    kit("verdict=repeat").proc(packet());
}

#[test]
#[should_panic(expected = "set the bits 0x100 of the mark, but declares 0xff only")]
fn an_undeclared_bit_of_the_mark_fails_the_test() {
    kit("mark=0x100").proc(packet());
}

/// Writes a byte where the parameters say.
#[derive(Default)]
struct Writes {
    at: usize,
}

impl Extension for Writes {
    const NEEDS: Needs = Needs::headers().edits(Edits::IpFields);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.at = context.params().parse::<u32>("at")?.unwrap_or(0) as usize;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        packet.edit(self.at..self.at + 1, &[9]);
        Verdict::Pass
    }
}

fn writes(at: usize) -> Kit<Writes> {
    Kit::with_params(&format!("at={at}")).unwrap()
}

#[test]
fn an_edited_packet_comes_back_whole_and_right() {
    let edited = writes(8).decide(packet()).edited.unwrap();
    assert_eq!(edited[8], 9);
    assert_eq!(edited.len(), packet().bytes().len());
    assert_ne!(
        edited[10..12],
        packet().bytes()[10..12],
        "the checksum of IP"
    );
}

#[test]
#[should_panic(expected = "the extension edited headers, but declares ip-fields only")]
fn an_edit_beyond_what_was_declared_is_a_fault() {
    writes(12).proc(packet());
}

#[test]
#[should_panic(expected = "an edit changes the protocol, which must stay")]
fn an_edit_that_makes_no_right_packet_is_a_fault() {
    writes(9).proc(packet());
}

#[test]
#[should_panic(expected = "a packet that is not all there")]
fn an_edit_of_a_truncated_packet_is_a_fault() {
    writes(8).proc(packet().truncated(24));
}
