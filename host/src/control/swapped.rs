//! From a swap to the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipqext_protocol::swap as wire;

use super::response::extension;
use crate::event::{Carried, Rejected, Swapped, Took, VersionReport};

/// A swap for the wire.
pub(super) fn swapped(swapped: Swapped) -> wire::Swapped {
    wire::Swapped {
        extension: extension(swapped.extension),
        from: version(swapped.from),
        state: match swapped.state {
            Carried::Whole => "carried",
            Carried::Older => "older",
            Carried::Lost => "lost",
            Carried::Anew => "anew",
            Carried::None => "none",
        }
        .to_owned(),
        tried: swapped.tried as u64,
        took_us: took(&swapped.took),
    }
}

/// A version for the wire.
pub(super) fn version(report: VersionReport) -> wire::Version {
    wire::Version {
        version: report.version,
        hash: report.hash,
        params: report.params,
    }
}

/// For the wire, why a version does not run.
pub(super) fn rejected(rejected: Rejected) -> wire::Rejected {
    wire::Rejected {
        at_ms: ms(rejected.at),
        file: rejected.file.display().to_string(),
        hash: rejected.hash,
        reason: rejected.reason,
    }
}

fn took(took: &Took) -> wire::Took {
    let us = |time: Duration| time.as_micros() as u64;
    wire::Took {
        compile: us(took.compile),
        preflight: us(took.preflight),
        init: us(took.init),
        adopt: us(took.adopt),
        pause: us(took.pause),
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
