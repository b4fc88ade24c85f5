use super::{Marks, routers};
use ppm::mark::{DISTANCE_MAX, Mark, fragments};
use std::net::Ipv4Addr;

/// What becomes of an identification on the way by these routers, the nearest to the
/// victim last: the paper's marking procedure, written once more.
fn on_the_way(mut identification: u16, path: &[[u8; 4]], chance: &mut fastrand::Rng) -> u16 {
    for &router in path {
        let pieces = fragments(u32::from_be_bytes(router));
        let mut mark = Mark::of_identification(identification);
        if chance.u8(..25) == 0 {
            mark.offset = chance.u8(..8);
            mark.distance = 0;
            mark.fragment = pieces[usize::from(mark.offset)];
        } else {
            if mark.distance == 0 {
                mark.fragment ^= pieces[usize::from(mark.offset)];
            }
            mark.distance = (mark.distance + 1).min(DISTANCE_MAX);
        }
        identification = mark.identification();
    }
    identification
}

fn told(marks: &Marks) -> Vec<String> {
    let hops = routers(marks).expect("there are few");
    hops.iter().map(ToString::to_string).collect()
}

#[test]
fn the_routers_of_a_path_are_named_the_nearest_first() {
    let mut chance = fastrand::Rng::with_seed(1);
    let path = [
        [10, 0, 0, 1],
        [192, 0, 2, 7],
        [10, 0, 2, 1],
        [172, 16, 0, 1],
    ];
    let mut marks = Marks::default();
    for _ in 0..20_000 {
        let forged = chance.u16(..);
        marks.add(on_the_way(forged, &path, &mut chance));
    }
    assert_eq!(marks.count(), 20_000);
    assert_eq!(
        told(&marks),
        [
            "1 172.16.0.1",
            "2 10.0.2.1 behind 172.16.0.1",
            "3 192.0.2.7 behind 10.0.2.1",
            "4 10.0.0.1 behind 192.0.2.7",
        ]
    );
}

#[test]
fn two_attackers_are_told_apart() {
    let mut chance = fastrand::Rng::with_seed(2);
    let mut marks = Marks::default();
    for _ in 0..20_000 {
        for far in [[10, 0, 0, 1], [10, 0, 0, 2]] {
            let forged = chance.u16(..);
            marks.add(on_the_way(forged, &[far, [10, 0, 9, 9]], &mut chance));
        }
    }
    let mut told = told(&marks);
    told.sort();
    assert_eq!(
        told,
        [
            "1 10.0.9.9",
            "2 10.0.0.1 behind 10.0.9.9",
            "2 10.0.0.2 behind 10.0.9.9",
        ]
    );
}

#[test]
fn a_sender_that_always_writes_the_same_hides_nobody() {
    let path = [[10, 0, 0, 1], [10, 0, 1, 1]];
    for forged in [0, 0x1234, 0xffff] {
        let mut chance = fastrand::Rng::with_seed(3);
        let mut marks = Marks::default();
        for _ in 0..20_000 {
            marks.add(on_the_way(forged, &path, &mut chance));
        }
        let routers = ["1 10.0.1.1", "2 10.0.0.1 behind 10.0.1.1"];
        assert_eq!(told(&marks), routers, "{forged}");
    }
}

#[test]
fn no_router_is_named_without_marks() {
    let mut chance = fastrand::Rng::with_seed(4);
    let mut marks = Marks::default();
    assert_eq!(told(&marks), [""; 0]);
    for _ in 0..100_000 {
        marks.add(chance.u16(..));
    }
    assert_eq!(told(&marks), [""; 0]);
}

#[test]
fn a_router_is_named_when_all_its_pieces_are_there() {
    let mut marks = Marks::default();
    let pieces = fragments(Ipv4Addr::new(10, 0, 0, 1).to_bits());
    for (offset, fragment) in (0..).zip(pieces) {
        assert_eq!(told(&marks), [""; 0], "without piece {offset}");
        let mark = Mark {
            offset,
            distance: 0,
            fragment,
        };
        marks.add(mark.identification());
    }
    assert_eq!(told(&marks), ["1 10.0.0.1"]);
}
