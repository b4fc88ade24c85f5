//! The marking procedure of a router.

use std::net::Ipv4Addr;

use crate::mark::{DISTANCE_MAX, FRAGMENTS, Mark, fragments};

/// A router that marks.
#[derive(Debug)]
pub(crate) struct Router {
    fragments: [u8; FRAGMENTS],
    probability: f64,
    chance: fastrand::Rng,
}

/// What a router did to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marking {
    /// It wrote a piece of its own.
    Begun(Mark),
    /// It noted that another router's mark came by.
    Continued(Mark),
}

impl Router {
    pub(crate) fn new(address: Ipv4Addr, probability: f64, seed: u64) -> Self {
        Router {
            fragments: fragments(address.to_bits()),
            probability,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// Marks a packet that came with this mark; which may be none, as nobody can see
    /// of an identification whether it is one.
    pub(crate) fn mark(&mut self, mut mark: Mark) -> Marking {
        if self.chance.f64() < self.probability {
            let offset = self.chance.u8(..FRAGMENTS as u8);
            return Marking::Begun(Mark {
                offset,
                distance: 0,
                fragment: self.fragment(offset),
            });
        }
        if mark.distance == 0 {
            mark.fragment ^= self.fragment(mark.offset);
        }
        // Without a bound, an attacker's large distance would become a small one.
        mark.distance = DISTANCE_MAX.min(mark.distance + 1);
        Marking::Continued(mark)
    }

    fn fragment(&self, offset: u8) -> u8 {
        self.fragments[usize::from(offset)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Marking, Router};
    use crate::mark::{Mark, fragments};
    use std::net::Ipv4Addr;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn mark(offset: u8, distance: u8, fragment: u8) -> Mark {
        Mark {
            offset,
            distance,
            fragment,
        }
    }

    #[test]
    fn a_mark_is_begun_with_one_of_its_pieces() {
        let mut router = Router::new(ADDRESS, 1.0, 7);
        let mut begun = [0; 8];
        for _ in 0..8000 {
            let Marking::Begun(mark) = router.mark(mark(1, 9, 0xff)) else {
                panic!("it always begins one");
            };
            assert_eq!(mark.distance, 0);
            let offset = usize::from(mark.offset);
            assert_eq!(mark.fragment, fragments(ADDRESS.to_bits())[offset]);
            begun[offset] += 1;
        }
        for count in begun {
            assert!((800..1200).contains(&count), "each as often: {begun:?}");
        }
    }

    #[test]
    fn the_router_behind_completes_the_edge_and_the_others_count() {
        let mut router = Router::new(ADDRESS, f64::MIN_POSITIVE, 7);
        let ours = fragments(ADDRESS.to_bits());
        let continued = |router: &mut Router, came| match router.mark(came) {
            Marking::Continued(mark) => mark,
            Marking::Begun(mark) => panic!("it hardly ever begins one: {mark:?}"),
        };
        let edge = continued(&mut router, mark(3, 0, 0x5a));
        assert_eq!(edge, mark(3, 1, 0x5a ^ ours[3]));
        assert_eq!(continued(&mut router, edge), mark(3, 2, 0x5a ^ ours[3]));
        assert_eq!(continued(&mut router, mark(7, 30, 1)), mark(7, 31, 1));
        assert_eq!(continued(&mut router, mark(7, 31, 1)), mark(7, 31, 1));
    }

    #[test]
    fn it_begins_marks_with_its_probability() {
        let mut router = Router::new(ADDRESS, 0.04, 7);
        let begun = (0..100_000)
            .filter(|_| matches!(router.mark(mark(0, 0, 0)), Marking::Begun(_)))
            .count();
        assert!((3700..4300).contains(&begun), "{begun} of 100000");
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let choices = |seed| {
            let mut router = Router::new(ADDRESS, 0.5, seed);
            [(); 64].map(|()| router.mark(mark(0, 0, 0)))
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }
}
