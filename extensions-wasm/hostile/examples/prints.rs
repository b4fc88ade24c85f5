//! Writes to stdout, stderr and the log for every packet, and passes it.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Prints;

impl Extension for Prints {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let id = packet.id();
        println!("stdout: packet {id}");
        eprintln!("stderr: packet {id}");
        log_error!("error: packet {id}");
        log_warn!("warn: packet {id}");
        log_info!("info: packet {id}");
        log_debug!("debug: packet {id}");
        log_trace!("trace: packet {id}");
        Verdict::Pass
    }
}

export!(Prints);
