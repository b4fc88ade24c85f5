//! Gives the verdict that the parameters say to UDP packets that come with mark 0, and
//! a mark with it. All others pass.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Decides {
    verdict: Option<Verdict>,
    mark: u32,
    seen: u64,
}

impl Extension for Decides {
    const NEEDS: Needs = Needs::headers()
        .verdicts(Verdicts::all())
        .mark_mask(u32::MAX);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["verdict", "queue", "mark"])?;
        self.mark = params.parse("mark")?.unwrap_or(0);
        self.verdict = Some(match params.get("verdict").unwrap_or("pass") {
            "pass" => Verdict::Pass,
            "accept" => Verdict::Accept,
            "drop" => Verdict::Drop,
            "repeat" => Verdict::Repeat,
            "stop" => Verdict::Stop,
            "queue" => Verdict::Queue(params.parse("queue")?.unwrap_or(0)),
            "reject" => Verdict::Reject,
            "accept-flow" => Verdict::AcceptFlow,
            "drop-flow" => Verdict::DropFlow,
            other => return Err(format!("there is no verdict {other:?}")),
        });
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.seen += 1;
        if packet.udp().is_none() || packet.mark() != 0 {
            return Verdict::Pass;
        }
        if self.mark != 0 {
            packet.set_mark(self.mark, self.mark);
        }
        self.verdict.unwrap_or(Verdict::Pass)
    }

    fn info(&self) -> Option<String> {
        Some(format!("{} seen", self.seen))
    }
}

export!(Decides);
