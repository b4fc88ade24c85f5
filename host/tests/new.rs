//! `ipqext-host new`: what it makes, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ipqext_tests::guests::{built_outside, cargo_outside, outside_dir, workspace};

#[test]
fn a_new_crate_builds_and_passes_its_own_test() {
    let dir = tempfile::tempdir().unwrap();
    // The second one's type would hide one of the standard library.
    for name in ["fresh-two", "result"] {
        let output = new(&[name, "--dir", dir.path().to_str().unwrap()]);
        let printed = succeeded(&output);
        let path = dir.path().join(name);
        let stem = name.replace('-', "_");
        let build = format!(
            "cd {} && cargo build --release --target wasm32-wasip1\n",
            path.display()
        );
        assert!(printed.contains(&build), "{printed}");
        let add = format!("cp target/wasm32-wasip1/release/{stem}.wasm DIR && ipqext add {name}\n");
        assert!(printed.contains(&add), "{printed}");

        let built = built_outside(&path).join(format!("{stem}.wasm"));
        assert!(built.is_file());
        let test = "\n    ipqext-host test\n    ipqext-host replay CAPTURE --ext target/";
        assert!(printed.contains(test), "{printed}");
        let mut cases = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
        let cases = cases.arg("test").current_dir(&path);
        let cases = cases.env("CARGO_TARGET_DIR", outside_dir());
        let tested = succeeded(&cases.output().unwrap());
        let expected = format!("{name} 0.1.0: 3 ok, 0 failed, 9 packets\n");
        assert!(tested.ends_with(&expected), "{tested}");
        let tested = succeeded(&cargo_outside(&path, &["test"]));
        assert!(tested.contains("1 passed; 0 failed"), "{tested}");
        let readme = fs::read_to_string(path.join("README.md")).unwrap();
        assert!(readme.contains(&format!("makes {stem}.wasm")), "{readme}");
    }
    assert_eq!(names(dir.path()), ["fresh-two", "result"]);
}

#[test]
fn a_new_crate_uses_the_versions_that_the_sdk_is_tested_with() {
    let dir = tempfile::tempdir().unwrap();
    succeeded(&new(&[
        "fresh-three",
        "--dir",
        dir.path().to_str().unwrap(),
    ]));
    let path = dir.path().join("fresh-three");
    built_outside(&path);
    let locked = fs::read_to_string(path.join("Cargo.lock")).unwrap();
    let tested = fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let version = |lock: &str| {
        let entry = lock
            .split("\n\n")
            .find(|entry| entry.contains("\"wit-bindgen\"\n"));
        let line = entry
            .unwrap()
            .lines()
            .find(|line| line.starts_with("version"));
        line.unwrap().to_owned()
    };
    assert_eq!(version(&locked), version(&tested));
    assert!(!locked.contains("wasmtime"), "what it does not use is gone");
}

#[test]
fn in_the_directory_of_extensions_it_becomes_a_member() {
    // A workspace like ours, as far as `new` looks at it.
    let dir = tempfile::tempdir().unwrap();
    let sdk = dir.path().join("guest-sdk");
    let members = dir.path().join("extensions-wasm");
    fs::create_dir(&sdk).unwrap();
    fs::create_dir(&members).unwrap();
    fs::copy(
        workspace().join("guest-sdk/Cargo.toml"),
        sdk.join("Cargo.toml"),
    )
    .unwrap();
    let sdk = sdk.to_str().unwrap();
    succeeded(&new(&[
        "test1",
        "--sdk",
        sdk,
        "--dir",
        members.to_str().unwrap(),
    ]));
    let manifest = fs::read_to_string(members.join("test1/Cargo.toml")).unwrap();
    let template = workspace().join("extensions-wasm/template/Cargo.toml");
    let template = fs::read_to_string(template).unwrap();
    assert_eq!(manifest, template.replace("\"template\"", "\"test1\""));
    assert_eq!(
        names(&members.join("test1")),
        ["Cargo.toml", "README.md", "cases", "src"]
    );
    // Elsewhere it is none, whatever is around it.
    succeeded(&new(&["test1", "--sdk", sdk, "--dir", sdk]));
    let manifest = format!("{sdk}/test1/Cargo.toml");
    assert!(
        fs::read_to_string(manifest)
            .unwrap()
            .contains("\n[workspace]\n")
    );
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test1");
    let at = dir.path().to_str().unwrap();
    let refused = |words: &str| {
        let output = new(&["test1", "--dir", at]);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains(words), "{error}");
        assert!(output.stdout.is_empty());
        assert_eq!(names(dir.path()), ["test1"]);
    };
    let exists = format!("{} exists already", path.display());
    fs::create_dir(&path).unwrap();
    refused(&exists);
    assert_eq!(names(&path).len(), 0);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    refused(&exists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    refused(&exists);
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let missing = format!("{at}/missing");
    for (arguments, words) in [
        (["Test1", "--dir", at], "no name for an extension"),
        (["../test1", "--dir", at], "no name for an extension"),
        (["fn", "--dir", at], "a word of Rust"),
        (["ipqext-x", "--dir", at], "leave out `ipqext-`"),
        (["test1", "--dir", &missing], "cannot make"),
        (["test1", "--dir", "/proc"], "cannot make"),
    ] {
        let output = new(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(words), "{error}");
    }
    let output = new(&["test1", "--dir", at, "--sdk", at]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("with --sdk"));
    assert_eq!(names(dir.path()).len(), 0);
}

fn new(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    let program = program.arg("new").args(arguments);
    program.env_remove("CARGO_TARGET_DIR").output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
