//! What stands in the identification field of a marked packet: compressed edge
//! fragment sampling (Savage et al., Practical Network Support for IP Traceback,
//! SIGCOMM 2000). The extension writes it, its reconstruction reads it.

/// Into how many pieces a router's address and its hash are cut.
pub const FRAGMENTS: usize = 8;

/// The farthest that the field can tell: who is farther off, is there too.
pub const DISTANCE_MAX: u8 = 31;

/// The 16 bits of the field: offset (3), distance (5), fragment (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which of the pieces it is.
    pub offset: u8,
    /// Over how many routers it came since it was made.
    pub distance: u8,
    /// The piece: of a router, or of two by exclusive or, which are an edge.
    pub fragment: u8,
}

impl Mark {
    /// Reads the field.
    pub fn of_identification(identification: u16) -> Self {
        let [high, fragment] = identification.to_be_bytes();
        Mark {
            offset: high >> 5,
            distance: high & DISTANCE_MAX,
            fragment,
        }
    }

    /// The field with this mark.
    pub fn identification(self) -> u16 {
        u16::from_be_bytes([self.offset << 5 | self.distance, self.fragment])
    }
}

/// The pieces of a router's address, its bits interleaved with those of its hash:
/// by it, pieces that do not belong together are told.
pub fn fragments(address: u32) -> [u8; FRAGMENTS] {
    (spread(address) << 1 | spread(hash(address))).to_be_bytes()
}

/// The address that these pieces are of; `None` if they are of no single one.
pub fn address(fragments: [u8; FRAGMENTS]) -> Option<u32> {
    let interleaved = u64::from_be_bytes(fragments);
    let address = gather(interleaved >> 1);
    (gather(interleaved) == hash(address)).then_some(address)
}

/// Any that scatters well does, if all routers and the victim have the same: this is
/// the last step of MurmurHash3, with a start that makes no address its own hash.
fn hash(address: u32) -> u32 {
    let mut hash = address ^ 0x9e37_79b9;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The bits of a number, each with a zero before it.
fn spread(bits: u32) -> u64 {
    (0..u32::BITS).fold(0, |spread, place| {
        spread | u64::from(bits >> place & 1) << (2 * place)
    })
}

/// Every second bit of a number, the last one included.
fn gather(bits: u64) -> u32 {
    (0..u32::BITS).fold(0, |gathered, place| {
        gathered | ((bits >> (2 * place) & 1) as u32) << place
    })
}

#[cfg(test)]
mod tests {
    use super::{Mark, address, fragments};

    #[test]
    fn the_field_is_offset_distance_and_fragment() {
        let mark = Mark {
            offset: 0b101,
            distance: 0b00011,
            fragment: 0xa5,
        };
        assert_eq!(mark.identification(), 0b101 << 13 | 0b00011 << 8 | 0xa5);
        for identification in 0..=u16::MAX {
            let mark = Mark::of_identification(identification);
            assert_eq!(mark.identification(), identification);
        }
    }

    #[test]
    fn an_address_is_had_from_its_pieces() {
        for router in [0, 1, 0x0a00_0001, 0xc000_0201, u32::MAX] {
            assert_eq!(address(fragments(router)), Some(router));
        }
    }

    #[test]
    fn the_address_has_the_first_bit_of_each_pair() {
        let pieces = u64::from_be_bytes(fragments(0xf000_0000));
        assert_eq!(pieces & 0xaaaa_aaaa_aaaa_aaaa, 0xaa00_0000_0000_0000);
    }

    #[test]
    fn pieces_that_do_not_belong_together_are_of_no_address() {
        let (one, other) = (fragments(0x0a00_0001), fragments(0x0a00_0102));
        for mixture in 1..u8::MAX {
            let mut pieces = one;
            for (place, piece) in pieces.iter_mut().enumerate() {
                if mixture >> place & 1 == 1 {
                    *piece = other[place];
                }
            }
            if pieces != one && pieces != other {
                assert_eq!(address(pieces), None, "{mixture:08b}");
            }
        }
        assert_eq!(address([0; 8]), None, "an attacker's zeros");
    }
}
