//! What the needs of the started extensions make of a queue.

use crate::packet::{Edits, Needs, PACKET_BYTES_MAX};

/// When the kernel hands over packets that it has yet to segment, up to 64 KiB long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// As long as no extension edits packets.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How a queue has to be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// How many bytes of each packet are read.
    pub copy_range: u32,
    /// Whether packets may come that are yet to be segmented.
    pub gso: bool,
}

impl Demand {
    /// What the needs come to: as many bytes as are read, of as large packets as there
    /// are; to who edits, whole packets as they go onto the wire.
    pub fn of(needs: Needs, gso: Gso) -> Self {
        let edits = needs.edits != Edits::None;
        Self {
            copy_range: if edits {
                PACKET_BYTES_MAX as u32
            } else {
                needs.snap_length
            },
            gso: match gso {
                Gso::Auto => !edits,
                Gso::On => true,
                Gso::Off => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_headers_gets_no_more_and_who_edits_gets_all() {
        let headers = Needs {
            snap_length: 128,
            ..Needs::default()
        };
        let edits = Needs {
            edits: Edits::IpFields,
            ..headers
        };
        let demand = |copy_range, gso| Demand { copy_range, gso };
        assert_eq!(Demand::of(headers, Gso::Auto), demand(128, true));
        assert_eq!(Demand::of(headers, Gso::Off), demand(128, false));
        assert_eq!(Demand::of(edits, Gso::Auto), demand(65_535, false));
        assert_eq!(Demand::of(edits, Gso::On), demand(65_535, true));
        assert_eq!(Demand::of(Needs::default(), Gso::Auto), demand(0, true));
    }
}
