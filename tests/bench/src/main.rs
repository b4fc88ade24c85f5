//! Measures what a queued packet costs in ipqext, side by side with other programs, all
//! in turn in each of many rounds, because single figures scatter and ratios within a
//! round scatter less.
//!
//! It builds nothing: `scripts/bench` does that and starts it.

mod claims;
mod figures;
mod generate;
mod laboratory;
mod machine;
mod measures;
mod options;
mod report;
mod rows;
mod serving;
mod subject;

use anyhow::Context;
use clap::Parser;

use crate::figures::Results;
use crate::laboratory::Laboratory;
use crate::options::{Command, Options};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options.command {
        Some(Command::Generate(traffic)) => generate::run(traffic),
        None => bench(&options),
    }
}

fn bench(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "run it as root: receive buffers of the size that is measured, and the kernel's \
         counters, are for root only"
    );
    let rows = rows::chosen(&options.only);
    anyhow::ensure!(
        !rows.is_empty(),
        "no row is named like that; there are: {}",
        rows::names().join(", ")
    );
    let laboratory = Laboratory::new(options)?;
    let mut results = Results::new(rows);
    for round in 0..options.rounds() {
        results.measure(round, |row| {
            eprint!(
                "\r\x1b[Kround {} of {}: {}",
                round + 1,
                options.rounds(),
                row.name()
            );
            measures::measure(&laboratory, row)
        });
    }
    eprint!("\r\x1b[K");
    let machine = machine::describe();
    if options.json {
        println!("{}", report::json(&results, &machine));
    } else {
        print!("{}", report::text(&results, &machine));
    }
    if options.plot || options.record {
        report::plot(&results, &machine).context("the plot")?;
    }
    if options.record {
        report::record(&results, &machine).context("docs/performance.md")?;
    }
    Ok(())
}
