//! What all measurements share: namespaces, programs, extensions, a cache.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use ipqext_tests::kernel::Namespace;

use crate::options::Options;
use crate::subject::counter;

/// How many extensions the longest chain has.
pub(crate) const LONGEST_CHAIN: usize = 16;
/// The addresses of both ends of the cable.
pub(crate) const FAR: &str = "10.77.0.1";
pub(crate) const NEAR: &str = "10.77.0.2";

/// The place where everything is measured. Its namespaces have no names and end with
/// this process.
pub(crate) struct Laboratory {
    /// Packets over the loopback are queued here, and what comes over the cable.
    pub(crate) near: Namespace,
    /// The other end of the cable, made when it is needed.
    far: OnceCell<Namespace>,
    /// How long packets are sent for a figure.
    pub(crate) seconds: f64,
    /// Whether figures may be poor if only they come soon.
    pub(crate) quick: bool,
    programs: PathBuf,
    peers: PathBuf,
    /// The help of `ipqext-host run`, which tells what it can.
    help: String,
    dir: tempfile::TempDir,
}

impl Laboratory {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let near = Namespace::new().map_err(anyhow::Error::msg)?;
        let own = std::env::current_exe()?;
        let beside = own.parent().map(Path::to_owned).unwrap_or_default();
        let dir = tempfile::tempdir()?;
        collect(&options.extensions, &dir.path().join("extensions"))?;
        let mut laboratory = Self {
            near,
            far: OnceCell::new(),
            seconds: options.seconds(),
            quick: options.quick,
            programs: options.programs.clone().unwrap_or(beside),
            peers: options.peers.clone(),
            help: String::new(),
            dir,
        };
        let help = Command::new(laboratory.program("ipqext-host")?)
            .args(["run", "--help"])
            .output()?;
        laboratory.help = String::from_utf8_lossy(&help.stdout).into_owned();
        Ok(laboratory)
    }

    /// The namespace at the other end of the cable.
    pub(crate) fn far(&self) -> anyhow::Result<&Namespace> {
        if let Some(far) = self.far.get() {
            return Ok(far);
        }
        let far = self.near.neighbour();
        self.near.connect("near", &far, "far");
        for (namespace, device, address) in [(&self.near, "near", NEAR), (&far, "far", FAR)] {
            for line in [
                format!("ip address add {address}/24 dev {device}"),
                format!("ip link set {device} up"),
            ] {
                namespace
                    .check(&line.split(' ').collect::<Vec<_>>())
                    .map_err(anyhow::Error::msg)?;
            }
        }
        Ok(self.far.get_or_init(|| far))
    }

    /// A program of ours.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<String> {
        path(self.programs.join(name)).with_context(|| {
            let dir = self.programs.display();
            format!(
                "there is no {name} in {dir}; build it: cargo build --release --workspace --bins"
            )
        })
    }

    /// A program of others, if it was built.
    pub(crate) fn peer(&self, name: &str) -> Option<String> {
        path(self.peers.join(name))
    }

    /// The generator of UDP packets.
    pub(crate) fn flood(&self) -> anyhow::Result<String> {
        let flood = self.peer("flood");
        flood.context("the generator was not built; it needs gcc, and scripts/bench builds it")
    }

    /// The directory of the extensions.
    pub(crate) fn extensions(&self) -> PathBuf {
        self.dir.path().join("extensions")
    }

    /// The directory for what daemons keep from one start to the next.
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Whether `ipqext-host run` has an option.
    pub(crate) fn knows(&self, option: &str) -> bool {
        self.help
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '='))
            .any(|word| word == option)
    }
}

fn path(path: PathBuf) -> Option<String> {
    path.is_file().then(|| path.display().to_string())
}

/// Copies the extensions that are measured into one directory. Cargo puts those that are
/// examples elsewhere.
fn collect(built: &Path, collected: &Path) -> anyhow::Result<()> {
    fs::create_dir(collected)?;
    let others = ["ttl", "match"].map(str::to_owned);
    for name in (0..LONGEST_CHAIN).map(counter).chain(others) {
        let file = format!("{}.wasm", name.replace('-', "_"));
        let places = [built.join(&file), built.join("examples").join(&file)];
        // What is missing is told where it is wanted.
        if let Some(place) = places.iter().find(|place| place.is_file()) {
            fs::copy(place, collected.join(&file))?;
        }
    }
    Ok(())
}
