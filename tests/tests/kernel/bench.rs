//! That the bench measures what it says, with its smallest run.

use std::path::Path;
use std::process::Command;

use ipqext_tests::guests;
use ipqext_tests::kernel;
use ipqext_tests::programs::program;
use serde_json::Value;

#[test]
fn the_bench_compares_rows_of_the_same_round() {
    let peers = tempfile::tempdir().unwrap();
    let Some(()) = kernel::demanded("the bench", prepared(peers.path())) else {
        return;
    };
    let output = Command::new(program("ipqext-bench"))
        .args(["--quick", "--json"])
        .args(["--only", "udp-64/native", "--only", "udp-64/nfq-1"])
        .arg("--extensions")
        .arg(guests::shipped())
        .arg("--peers")
        .arg(peers.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["row"]).collect();
    assert_eq!(names, ["udp-64/native", "udp-64/nfq-1"]);
    for row in rows {
        // It says itself when packets are missing or were not seen.
        assert_eq!(row["rounds"], 1, "{row}");
        for figure in ["cpu_ns_a_packet", "packets_a_second"] {
            let median = row["figures"][figure]["median"].as_f64();
            assert!(median.unwrap() > 0.0, "{row}");
        }
    }
}

/// Builds the programs beside ours that need no library.
fn prepared(peers: &Path) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("the bench is for root only".to_owned());
    }
    let sources = guests::workspace().join("tests/bench/peers");
    for name in ["flood", "batched"] {
        let status = Command::new("cc")
            .args(["-O2", "-pthread", "-o"])
            .arg(peers.join(name))
            .arg(sources.join(name).with_extension("c"))
            .status();
        let status = status.map_err(|error| format!("cc: {error}"))?;
        if !status.success() {
            return Err(format!("cc cannot compile {name}.c"));
        }
    }
    Ok(())
}
