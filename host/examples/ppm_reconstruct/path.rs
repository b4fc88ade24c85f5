//! From marks to the routers that made them.

use std::cmp::Reverse;
use std::fmt;
use std::net::Ipv4Addr;

use anyhow::ensure;
use ppm::mark::{self, DISTANCE_MAX, FRAGMENTS, Mark};

/// How many pieces of one kind are tried, the most frequent. Each path that meets
/// there has one; of those that senders made up at random, each is rare.
const PIECES_TRIED: usize = 4;

/// How many routers there may be at one distance: each takes a search of its own.
const ROUTERS_MAX: usize = 64;

/// The identification fields that were seen, marks or not, and how often.
pub(crate) struct Marks {
    seen: Vec<u64>,
}

impl Default for Marks {
    fn default() -> Self {
        Marks {
            seen: vec![0; 1 << u16::BITS],
        }
    }
}

impl Marks {
    pub(crate) fn add(&mut self, identification: u16) {
        self.seen[usize::from(identification)] += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen.iter().sum()
    }

    /// The pieces with that offset from that distance, the most frequent first.
    fn pieces(&self, offset: u8, distance: u8) -> Vec<u8> {
        let seen = |fragment| {
            let mark = Mark {
                offset,
                distance,
                fragment,
            };
            self.seen[usize::from(mark.identification())]
        };
        let mut pieces: Vec<u8> = (0..=u8::MAX).filter(|&piece| seen(piece) > 0).collect();
        pieces.sort_by_key(|&piece| Reverse(seen(piece)));
        pieces.truncate(PIECES_TRIED);
        pieces
    }
}

/// A router on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    address: Ipv4Addr,
    /// The routers between it and the victim, the nearest to the victim first.
    nearer: Vec<Ipv4Addr>,
}

/// Its place from 1, its address, and the router before it.
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.nearer.len() + 1, self.address)?;
        match self.nearer.last() {
            Some(before) => write!(f, " behind {before}"),
            None => Ok(()),
        }
    }
}

/// The routers, the nearest to the victim first: the paper's reconstruction, for as
/// far as a distance has an edge to a router of the one before.
pub(crate) fn routers(marks: &Marks) -> anyhow::Result<Vec<Hop>> {
    let mut hops = Vec::new();
    // The paths so far: one, of no router.
    let mut paths: Vec<Vec<Ipv4Addr>> = vec![Vec::new()];
    // At the largest distance is also who is farther off.
    for distance in 0..DISTANCE_MAX {
        let offsets = [0, 1, 2, 3, 4, 5, 6, 7];
        let pieces = offsets.map(|offset| marks.pieces(offset, distance));
        let found: Vec<Hop> = paths
            .iter()
            .flat_map(|path| behind(path, &pieces))
            .collect();
        if found.is_empty() {
            break;
        }
        ensure!(
            found.len() <= ROUTERS_MAX,
            "{} routers seem to be {distance} away: too many to look behind each; capture less \
             traffic, or name the victim",
            found.len()
        );
        paths = found
            .iter()
            .map(|hop| [hop.nearer.as_slice(), &[hop.address]].concat())
            .collect();
        hops.extend(found);
    }
    Ok(hops)
}

/// The routers that may be behind a path: each combination of pieces, freed of those
/// of the path's last router, that its hash shows to be an address. None twice.
fn behind(path: &[Ipv4Addr], pieces: &[Vec<u8>; FRAGMENTS]) -> Vec<Hop> {
    let last = path
        .last()
        .map_or([0; FRAGMENTS], |last| mark::fragments(last.to_bits()));
    combinations(pieces)
        .filter_map(|mut combination| {
            for (piece, last) in combination.iter_mut().zip(last) {
                *piece ^= last;
            }
            mark::address(combination).map(Ipv4Addr::from_bits)
        })
        .filter(|address| !path.contains(address))
        .map(|address| Hop {
            address,
            nearer: path.to_vec(),
        })
        .collect()
}

/// One piece of each kind, in all ways; none if there is none of a kind.
fn combinations(pieces: &[Vec<u8>; FRAGMENTS]) -> impl Iterator<Item = [u8; FRAGMENTS]> {
    let count: usize = pieces.iter().map(Vec::len).product();
    (0..count).map(move |number| {
        let mut rest = number;
        let mut combination = [0; FRAGMENTS];
        for (piece, choices) in combination.iter_mut().zip(pieces) {
            *piece = choices[rest % choices.len()];
            rest /= choices.len();
        }
        combination
    })
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
