//! Looks on every packet for files, environment variables, arguments and the network, and
//! tells what it found.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::{env, fs};

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Pries {
    found: BTreeSet<&'static str>,
}

impl Extension for Pries {
    const NEEDS: Needs = Needs::none();

    fn info(&self) -> Option<String> {
        let found: Vec<&str> = self.found.iter().copied().collect();
        Some(if found.is_empty() {
            "found nothing".to_owned()
        } else {
            format!("found {}", found.join(", "))
        })
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        let found = [
            ("a file to read", fs::read("/etc/passwd").is_ok()),
            ("a directory to list", fs::read_dir("/").is_ok()),
            ("a file to write", fs::write("/tmp/pries", "").is_ok()),
            ("a working directory", fs::read_dir(".").is_ok()),
            ("environment variables", env::vars_os().next().is_some()),
            ("arguments", env::args_os().next().is_some()),
            ("TCP", TcpStream::connect("127.0.0.1:9999").is_ok()),
            ("a TCP port", TcpListener::bind("127.0.0.1:0").is_ok()),
            ("UDP", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ];
        let found = found.iter().filter(|(_, is_there)| *is_there);
        self.found.extend(found.map(|(what, _)| what));
        Verdict::Pass
    }
}

export!(Pries);
