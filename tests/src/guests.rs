//! Extensions, built as their authors build them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::{env, fs, io};

/// The directory that cargo builds into, wherever CARGO_TARGET_DIR has it.
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    // TARGET/PROFILE/deps/TEST
    let target = test.ancestors().nth(3);
    target
        .expect("cargo runs tests in TARGET/PROFILE/deps")
        .to_owned()
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace")
}

/// The output directory of the shipped extensions, just as cargo leaves it.
pub fn shipped() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let names = shipped_names();
        let packages = names.iter().flat_map(|name| ["-p", name]);
        build(&packages.collect::<Vec<_>>());
        release_dir()
    })
}

/// The shipped extensions, by the names of their packages: all of `extensions-wasm`
/// but those that misbehave on purpose.
pub fn shipped_names() -> Vec<String> {
    let packages = fs::read_dir(workspace().join("extensions-wasm"));
    let packages = packages.expect("the workspace has extensions");
    let names = packages.map(|package| {
        let name = package.expect("the directory can be read").file_name();
        name.into_string().expect("packages have plain names")
    });
    let mut names: Vec<String> = names.filter(|name| name != "hostile").collect();
    names.sort();
    names
}

/// A directory with the misbehaving extensions of `extensions-wasm/hostile`.
pub fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(&["-p", "hostile", "--examples"]);
        // Cargo keeps a second copy of each example, with a hash in its name.
        collect_examples().expect("the examples were just built")
    })
}

/// A directory with the versions of the extension `counter`: `one.wasm` is that of
/// `extensions-wasm/hostile/examples/counter_one.rs`. All say that their name is `counter`, so one that
/// is to be added has to be copied to `counter.wasm` first.
pub fn counters() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        hostile();
        let (_, counters) = example_names().expect("the sources were just read");
        let names = counters.iter().map(String::as_str);
        collect(&release_dir().join("examples"), names, COUNTER, "counters")
            .expect("the examples were just built")
    })
}

/// What the examples that are versions of `counter` begin with.
const COUNTER: &str = "counter_";

/// A directory with some of the misbehaving extensions, built as `cargo build` does without
/// `--release`: with their debug information.
pub fn hostile_debug() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let examples = DEBUG_EXAMPLES.iter().flat_map(|name| ["--example", name]);
        let arguments: Vec<_> = ["-p", "hostile"].into_iter().chain(examples).collect();
        cargo_build(&arguments);
        let built = target_dir().join("wasm32-wasip1/debug/examples");
        let names: Vec<String> = DEBUG_EXAMPLES
            .iter()
            .map(|name| format!("{name}.wasm"))
            .collect();
        let names = names.iter().map(String::as_str);
        collect(&built, names, "", "hostile-debug").expect("the examples were just built")
    })
}

/// Those of the misbehaving extensions that are built with debug information, too.
const DEBUG_EXAMPLES: &[&str] = &["observe", "panics"];

/// Builds a crate outside of the workspace as its README says, and gives the directory
/// of its `.wasm` file. What it depends on must have been downloaded before.
///
/// # Panics
/// If it does not build.
pub fn built_outside(package: &Path) -> PathBuf {
    cargo_outside(
        package,
        &["build", "--release", "--target", "wasm32-wasip1"],
    );
    outside_dir().join("wasm32-wasip1").join("release")
}

/// Runs a command of cargo for a crate outside of the workspace, offline.
///
/// # Panics
/// If it fails.
pub fn cargo_outside(package: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(cargo())
        .args(arguments)
        .arg("--offline")
        .current_dir(package)
        .env("CARGO_TARGET_DIR", outside_dir())
        // Its own rust-toolchain.toml is to count.
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .expect("cargo runs the tests, so it is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {error}");
    output
}

/// What crates outside of the workspace are built into: one for all, so that what they depend
/// on is compiled once.
pub fn outside_dir() -> PathBuf {
    target_dir().join("ipqext-tests").join("outside")
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn release_dir() -> PathBuf {
    target_dir().join("wasm32-wasip1").join("release")
}

fn build(arguments: &[&str]) {
    cargo_build(&[&["--release"], arguments].concat());
}

fn cargo_build(arguments: &[&str]) {
    let status = Command::new(cargo())
        .args(["build", "--quiet", "--target", "wasm32-wasip1"])
        .args(arguments)
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", target_dir())
        .status()
        .expect("cargo runs the tests, so it is there");
    assert!(status.success(), "cargo build {arguments:?} failed");
}

fn collect_examples() -> io::Result<PathBuf> {
    let (names, _) = example_names()?;
    let names = names.iter().map(String::as_str);
    collect(&release_dir().join("examples"), names, "", "hostile")
}

/// The files of the misbehaving extensions, and apart those of `counter`.
fn example_names() -> io::Result<(Vec<String>, Vec<String>)> {
    let sources = workspace().join("extensions-wasm/hostile/examples");
    let mut names = Vec::new();
    for source in fs::read_dir(sources)? {
        let name = source?.path().with_extension("wasm");
        let name = name.file_name().expect("a listed file has a name");
        names.push(name.to_string_lossy().into_owned());
    }
    let (counters, others) = names
        .into_iter()
        .partition(|name: &String| name.starts_with(COUNTER));
    Ok((others, counters))
}

/// Copies files from where cargo left them to a directory of their own, without what all
/// their names begin with.
fn collect<'a>(
    from: &Path,
    names: impl IntoIterator<Item = &'a str>,
    prefix: &str,
    to: &str,
) -> io::Result<PathBuf> {
    let collected = target_dir().join("ipqext-tests").join(to);
    fs::create_dir_all(&collected)?;
    for name in names {
        // Another test's process may do the same at this time: a name appears
        // only with its whole content.
        let copy = tempfile::NamedTempFile::new_in(&collected)?;
        fs::copy(from.join(name), copy.path())?;
        let name = name.strip_prefix(prefix).unwrap_or(name);
        copy.persist(collected.join(name))?;
    }
    Ok(collected)
}
