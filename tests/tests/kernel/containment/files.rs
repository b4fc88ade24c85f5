//! The files that are added: extensions, and what is none.

use std::fs;
use std::path::Path;

use ipqext_tests::assembled::{self, Misdeed};
use ipqext_tests::guests;

/// A directory with all extensions of the table, and `count`.
pub(super) fn extensions() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    for file in fs::read_dir(guests::hostile()).expect("it was just filled") {
        link(&file.expect("it can be read").path(), dir.path());
    }
    link(&guests::shipped().join("count.wasm"), dir.path());
    let template = fs::read(guests::shipped().join("template.wasm"));
    let template = template.expect("it was just built");
    let put = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name).with_extension("wasm");
        fs::write(file, bytes).expect("the directory is ours");
    };
    for misdeed in Misdeed::ALL {
        put(misdeed.name(), &assembled::module(misdeed));
    }
    put("no-wasm", b"#!/bin/sh\necho this is no WebAssembly\n");
    put("truncated", &template[..template.len() / 2]);
    put("other-world", &assembled::other_world());
    let other = assembled::of_version(&template, "0.9.0");
    put("other-version", &other);
    let huge = fs::File::create(dir.path().join("huge.wasm"));
    let huge = huge.expect("the directory is ours");
    huge.set_len(200_000_000).expect("it takes no room");
    dir
}

fn link(file: &Path, dir: &Path) {
    let name = file.file_name().expect("a listed file has a name");
    std::os::unix::fs::symlink(file, dir.join(name)).expect("the name is free");
}
