//! Marks packets so that their victim can trace them back: probabilistic packet
//! marking, as in S. Savage, D. Wetherall, A. Karlin, T. Anderson, Practical Network
//! Support for IP Traceback, SIGCOMM 2000, and as in the OPERA router, for which the
//! ipqext of 2003 was made: B. C. B. Chan, J. C. F. Lau, J. C. S. Lui, OPERA: An
//! open-source extensible router architecture for adding new network services and
//! protocols, Journal of Systems and Software, 2005.
//!
//! The example `ppm_reconstruct` of the host finds the routers in a capture.

pub mod mark;
mod router;

use std::net::Ipv4Addr;

use ipqext_sdk::Value;
use ipqext_sdk::prelude::*;

use mark::Mark;
use router::{Marking, Router};

/// The paper's example, 1/25.
const DEFAULT_PROBABILITY: Probability = Probability(0.04);

#[derive(Default)]
struct Ppm {
    /// It is there from `init` on.
    router: Option<Router>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    begun: u64,
    continued: u64,
    fragments: u64,
    not_ipv4: u64,
    unchangeable: u64,
}

/// A share that is not none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Probability(f64);

impl Value for Probability {
    const WANTED: &str = "a number above 0, and at most 1";

    fn from_text(text: &str) -> Option<Self> {
        let number = f64::from_text(text).filter(|&number| number > 0.0 && number <= 1.0);
        number.map(Probability)
    }
}

impl Extension for Ppm {
    const NEEDS: Needs = Needs::whole().edits(Edits::IpFields);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["address", "p"])?;
        let address: Ipv4Addr = params
            .parse("address")?
            .ok_or("parameter `address` is missing, as `address=192.0.2.1`: that of this router")?;
        let Probability(probability) = params.parse("p")?.unwrap_or(DEFAULT_PROBABILITY);
        self.router = Some(Router::new(address, probability, context.seed()));
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.tally = Tally::default();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        let Tally {
            begun,
            continued,
            fragments,
            not_ipv4,
            unchangeable,
        } = self.tally;
        Some(format!(
            "{begun} packets marked, {continued} marks of others continued; \
             passed as they are: {fragments} fragments, {not_ipv4} not IPv4, {unchangeable} that \
             cannot be changed"
        ))
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").trim_end().to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let (Some(router), Some(header)) = (&mut self.router, packet.ipv4()) else {
            self.tally.not_ipv4 += 1;
            return Verdict::Pass;
        };
        if packet.is_fragment() {
            self.tally.fragments += 1;
            return Verdict::Pass;
        }
        let (marked, count) = match router.mark(Mark::of_identification(header.identification())) {
            Marking::Begun(mark) => (mark, &mut self.tally.begun),
            Marking::Continued(mark) => (mark, &mut self.tally.continued),
        };
        // Malformed, or covered by an authentication header.
        match packet.set_identification(marked.identification()) {
            Ok(()) => *count += 1,
            Err(_) => self.tally.unchangeable += 1,
        }
        Verdict::Pass
    }
}

export!(Ppm);

#[cfg(test)]
mod tests;
