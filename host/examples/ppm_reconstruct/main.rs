//! `ppm_reconstruct CAPTURE [VICTIM]`: finds the routers that packets came by, in
//! what was captured at their victim while the routers had the extension `ppm`.
//!
//! Prints a line a router, the nearest to the victim first: its place, its address,
//! and the router before it. The method is that of S. Savage, D. Wetherall, A. Karlin,
//! T. Anderson, Practical Network Support for IP Traceback, SIGCOMM 2000; the OPERA
//! router had it as a service: B. C. B. Chan, J. C. F. Lau, J. C. S. Lui, OPERA: An
//! open-source extensible router architecture for adding new network services and
//! protocols, Journal of Systems and Software, 2005.
//!
//! What no router marked has what its sender wrote there. It looks like marks of
//! routers that are farther off than the true ones, so behind these an attacker may
//! invent more; the true ones he cannot hide, nor put others between them.

mod capture;
mod path;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context as _;

use path::Marks;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), victim, None) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: ppm_reconstruct CAPTURE [VICTIM]");
    };
    let file = PathBuf::from(file);
    let victim: Option<Ipv4Addr> = victim
        .map(|victim| victim.to_string_lossy().parse())
        .transpose()
        .context("the victim is given by its IPv4 address")?;

    let mut marks = Marks::default();
    capture::read(&file, |packet| {
        if victim.is_none_or(|victim| packet.destination == victim) {
            marks.add(packet.identification);
        }
    })
    .with_context(|| format!("cannot read {}", file.display()))?;

    eprintln!("{} packets", marks.count());
    let hops = path::routers(&marks)?;
    anyhow::ensure!(
        !hops.is_empty(),
        "no router is named: either none of them marks, or more packets are needed, a few \
         thousand for a few routers"
    );
    for hop in hops {
        println!("{hop}");
    }
    Ok(())
}
