//! The account of a flood of numbered packets: which arrived, how often, in which order
//! and when.

use serde::{Deserialize, Serialize};

/// What a packet of the flood says of itself, in the first bytes of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Which flow it belongs to, from 0.
    pub flow: u32,
    /// Which packet of that flow it is, from 0.
    pub number: u64,
    /// When it was sent, in nanoseconds since the Unix epoch.
    pub sent_ns: u64,
}

impl Numbered {
    /// How many bytes it takes.
    pub const LENGTH: usize = 20;

    /// Its bytes: flow, number and time, the highest byte of each first.
    pub fn bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.flow.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.number.to_be_bytes());
        bytes[12..].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes
    }

    /// Reads it from a payload, which may be longer.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (flow, rest) = payload.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent_ns, _) = rest.split_first_chunk()?;
        Some(Self {
            flow: u32::from_be_bytes(*flow),
            number: u64::from_be_bytes(*number),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }
}

/// A marked span of time, in nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was done in it.
    pub name: String,
    /// Its begin.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
}

/// What became of a flood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many packets were sent.
    pub sent: u64,
    /// How many of them arrived at least once.
    pub received: u64,
    /// How many of them never arrived.
    pub lost: u64,
    /// How often one arrived that had arrived before.
    pub doubled: u64,
    /// How many arrived after one of their flow that was sent later.
    pub reordered: u64,
    /// How many arrived that nobody sent so.
    pub foreign: u64,
    /// How many the kernel did not take from the sender at once; they count as sent.
    pub refused: u64,
    /// Which were lost: flow and number, the first 1,000 of them.
    pub lost_numbers: Vec<(u32, u64)>,
    /// From the first arrival to the last, in milliseconds.
    pub lasted_ms: u64,
    /// Of all.
    #[serde(flatten)]
    pub times: Times,
    /// Of each marked span, in the order in which they began.
    pub spans: Vec<Span>,
}

/// How regularly packets arrived, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The longest time between two arrivals.
    pub longest_gap_us: u64,
    /// The longest time between two sendings, of what arrived.
    pub longest_pause_us: u64,
    /// The longest time from a sending to the arrival.
    pub longest_delay_us: u64,
    /// Half of them took no longer to arrive.
    pub p50_delay_us: u64,
    /// 99 of 100 took no longer to arrive.
    pub p99_delay_us: u64,
}

/// The same of a span of time: of what arrived in it, with the gaps that reach into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What was done in it.
    pub name: String,
    /// How long it was, in microseconds.
    pub lasted_us: u64,
    /// How many packets arrived in it.
    pub received: u64,
    /// How regularly.
    #[serde(flatten)]
    pub times: Times,
}

/// How many lost packets a report names.
const LOST_NUMBERS_MAX: usize = 1000;

/// Keeps the account while packets arrive.
#[derive(Debug, Default)]
pub struct Account {
    flows: Vec<Flow>,
    arrivals: Vec<Arrival>,
    doubled: u64,
    reordered: u64,
    foreign: u64,
}

#[derive(Clone, Debug, Default)]
struct Flow {
    /// A bit for each number.
    seen: Vec<u64>,
    /// One more than the highest number seen.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrival {
    at_ns: u64,
    sent_ns: u64,
}

impl Account {
    /// One of so many flows.
    pub fn new(flows: u32) -> Self {
        Self {
            flows: vec![Flow::default(); flows as usize],
            ..Self::default()
        }
    }

    /// Takes down a packet that arrived. Gives by how much the flow went on: how many
    /// packets need not be waited for any more, as nothing overtakes in a flow.
    pub fn arrived(&mut self, payload: &[u8], at_ns: u64, sent_at_most: u64) -> u64 {
        let packet = Numbered::read(payload).filter(|packet| packet.number < sent_at_most);
        let Some(packet) = packet else {
            self.foreign += 1;
            return 0;
        };
        let Some(flow) = self.flows.get_mut(packet.flow as usize) else {
            self.foreign += 1;
            return 0;
        };
        if !flow.see(packet.number) {
            self.doubled += 1;
            return 0;
        }
        self.arrivals.push(Arrival {
            at_ns,
            sent_ns: packet.sent_ns,
        });
        if packet.number < flow.next {
            self.reordered += 1;
            return 0;
        }
        let before = std::mem::replace(&mut flow.next, packet.number + 1);
        flow.next - before
    }

    /// How many packets arrived at least once.
    pub fn received(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// What became of a flood of which so many packets were sent in each flow.
    pub fn report(mut self, sent: &[u64], marks: &[Mark]) -> Report {
        self.arrivals.sort_by_key(|arrival| arrival.at_ns);
        let all: u64 = sent.iter().sum();
        let [first, .., last] = self.arrivals[..] else {
            return self.summary(all, sent);
        };
        let arrivals = &self.arrivals;
        let spans = marks.iter().map(|mark| span(arrivals, mark)).collect();
        Report {
            lasted_ms: (last.at_ns - first.at_ns) / 1_000_000,
            times: times(arrivals, arrivals),
            spans,
            ..self.summary(all, sent)
        }
    }

    fn summary(&self, all: u64, sent: &[u64]) -> Report {
        let lost = (0_u32..).zip(sent).zip(&self.flows);
        let lost = lost.flat_map(|((number, sent), flow)| {
            let missing = (0..*sent).filter(|packet| !flow.has_seen(*packet));
            missing.map(move |packet| (number, packet))
        });
        Report {
            sent: all,
            received: self.received(),
            lost: all.saturating_sub(self.received()),
            doubled: self.doubled,
            reordered: self.reordered,
            foreign: self.foreign,
            lost_numbers: lost.take(LOST_NUMBERS_MAX).collect(),
            ..Report::default()
        }
    }
}

impl Flow {
    /// Marks a number as seen; false if it was.
    fn see(&mut self, number: u64) -> bool {
        let (word, bit) = place(number);
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    fn has_seen(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn place(number: u64) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

fn span(arrivals: &[Arrival], mark: &Mark) -> Span {
    let begin = arrivals.partition_point(|arrival| arrival.at_ns <= mark.from_ns);
    let end = arrivals.partition_point(|arrival| arrival.at_ns < mark.to_ns);
    // One before and one behind: their gaps reach into it.
    let around = begin.saturating_sub(1)..arrivals.len().min(end + 1);
    // A packet that it held up arrives behind its end only.
    let held_up = begin..arrivals.len().min(end + 1);
    Span {
        name: mark.name.clone(),
        lasted_us: (mark.to_ns - mark.from_ns) / 1000,
        received: (end - begin) as u64,
        times: times(&arrivals[around], &arrivals[held_up]),
    }
}

/// `sorted` by arrival, for gaps; and `own` for delays.
fn times(sorted: &[Arrival], own: &[Arrival]) -> Times {
    let mut sent: Vec<u64> = sorted.iter().map(|arrival| arrival.sent_ns).collect();
    sent.sort_unstable();
    let delay = |arrival: &Arrival| arrival.at_ns.saturating_sub(arrival.sent_ns) / 1000;
    let mut delays: Vec<u64> = own.iter().map(delay).collect();
    delays.sort_unstable();
    let at = |percent: usize| {
        let place = (delays.len() * percent / 100).min(delays.len().saturating_sub(1));
        delays.get(place).copied().unwrap_or(0)
    };
    let gaps = sorted.windows(2).map(|two| two[1].at_ns - two[0].at_ns);
    let pauses = sent.windows(2).map(|two| two[1] - two[0]);
    Times {
        longest_gap_us: gaps.max().unwrap_or(0) / 1000,
        longest_pause_us: pauses.max().unwrap_or(0) / 1000,
        longest_delay_us: delays.last().copied().unwrap_or(0),
        p50_delay_us: at(50),
        p99_delay_us: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes down packets that were sent and arrived at these milliseconds.
    fn account(packets: &[(u32, u64, u64, u64)]) -> Account {
        let mut account = Account::new(2);
        for &(flow, number, sent_ms, at_ms) in packets {
            let packet = Numbered {
                flow,
                number,
                sent_ns: sent_ms * 1_000_000,
            };
            account.arrived(&packet.bytes(), at_ms * 1_000_000, 100);
        }
        account
    }

    fn mark(from_ms: u64, to_ms: u64) -> Mark {
        Mark {
            name: "swap".to_owned(),
            from_ns: from_ms * 1_000_000,
            to_ns: to_ms * 1_000_000,
        }
    }

    #[test]
    fn a_packet_says_what_it_is() {
        let packet = Numbered {
            flow: 7,
            number: u64::from(u32::MAX) + 3,
            sent_ns: 11,
        };
        assert_eq!(Numbered::read(&packet.bytes()), Some(packet));
        let longer = [&packet.bytes()[..], b"more"].concat();
        assert_eq!(Numbered::read(&longer), Some(packet));
        assert_eq!(Numbered::read(&packet.bytes()[..19]), None);
    }

    #[test]
    fn what_arrives_in_order_in_each_flow_is_in_order() {
        let packets = [(0, 0, 1, 2), (1, 0, 1, 2), (1, 1, 2, 3), (0, 1, 2, 3)];
        let report = account(&packets).report(&[2, 2], &[]);
        assert_eq!((report.sent, report.received, report.lost), (4, 4, 0));
        assert_eq!(
            (report.doubled, report.reordered, report.foreign),
            (0, 0, 0)
        );
        assert_eq!(report.lost_numbers, []);
    }

    #[test]
    fn lost_ones_are_named_also_those_behind_the_last_that_arrived() {
        let report = account(&[(0, 0, 1, 2), (0, 2, 1, 2)]).report(&[4, 1], &[]);
        assert_eq!((report.sent, report.received, report.lost), (5, 2, 3));
        assert_eq!(report.lost_numbers, [(0, 1), (0, 3), (1, 0)]);
    }

    #[test]
    fn doubled_and_reordered_ones_are_told_apart() {
        let packets = [
            (0, 0, 1, 2),
            (0, 2, 1, 3),
            (0, 1, 1, 4),
            (0, 1, 1, 5),
            (0, 2, 1, 6),
        ];
        let report = account(&packets).report(&[3, 0], &[]);
        assert_eq!((report.received, report.lost), (3, 0));
        assert_eq!((report.doubled, report.reordered), (2, 1));
    }

    #[test]
    fn what_nobody_sent_so_is_foreign() {
        let mut account = account(&[(2, 0, 1, 2), (0, 100, 1, 2)]);
        assert_eq!(account.arrived(b"short", 1, 100), 0);
        let report = account.report(&[0, 0], &[]);
        assert_eq!((report.foreign, report.received, report.lost), (3, 0, 0));
    }

    #[test]
    fn a_flow_goes_on_by_what_it_need_not_wait_for() {
        let mut account = Account::new(1);
        let mut arrived = |number| {
            let packet = Numbered {
                flow: 0,
                number,
                sent_ns: 0,
            };
            account.arrived(&packet.bytes(), 1, 100)
        };
        assert_eq!([0, 3, 2, 3, 4].map(&mut arrived), [1, 3, 0, 0, 1]);
    }

    #[test]
    fn gaps_are_between_arrivals_and_pauses_between_sendings() {
        let packets = [(0, 0, 0, 1), (0, 1, 2, 10), (0, 2, 9, 11), (0, 3, 12, 13)];
        let times = account(&packets).report(&[4, 0], &[]).times;
        assert_eq!(times.longest_gap_us, 9000);
        assert_eq!(times.longest_pause_us, 7000);
        assert_eq!(times.longest_delay_us, 8000);
        assert_eq!((times.p50_delay_us, times.p99_delay_us), (2000, 8000));
    }

    #[test]
    fn a_span_has_the_gaps_that_reach_into_it() {
        let packets = [
            (0, 0, 0, 1),
            (0, 1, 0, 21),
            (0, 2, 30, 31),
            (0, 3, 30, 34),
            (0, 4, 40, 60),
        ];
        let gap = |from, to| {
            let report = account(&packets).report(&[5, 0], &[mark(from, to)]);
            let span = report.spans[0].clone();
            (span.received, span.times.longest_gap_us)
        };
        // Before all, between two, with one, with two, and behind all.
        assert_eq!(gap(0, 1), (0, 0));
        assert_eq!(gap(5, 6), (0, 20_000));
        assert_eq!(gap(22, 32), (1, 10_000));
        assert_eq!(gap(31, 34), (0, 3000));
        assert_eq!(gap(31, 35), (1, 26_000));
        assert_eq!(gap(70, 80), (0, 0));
        // One that arrives behind the span was held up in it.
        let report = account(&packets).report(&[5, 0], &[mark(41, 45)]);
        assert_eq!(report.spans[0].times.longest_delay_us, 20_000);
        assert_eq!(report.spans[0].lasted_us, 4000);
    }

    #[test]
    fn a_report_stands_in_one_line_of_json() {
        let report = account(&[(0, 0, 1, 2), (0, 1, 3, 5)]).report(&[3, 0], &[mark(0, 9)]);
        let line = serde_json::to_string(&report).expect("it has no maps");
        assert!(!line.contains('\n'));
        let read: Report = serde_json::from_str(&line).expect("it is what was written");
        assert_eq!(read, report);
    }
}
