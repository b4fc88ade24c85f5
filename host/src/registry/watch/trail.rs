//! The way to a file: which names can lead elsewhere.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Every symbolic link on the way to a file, each with the real path of its directory, and at
/// last what it all leads to, which need not be there.
pub(super) fn trail(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut links = Vec::new();
    let mut at = PathBuf::from("/");
    let mut rest = names(&path);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        match fs::read_link(&next) {
            Ok(target) if links.len() < LINKS_MAX => {
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                links.push(next);
                let mut onwards = names(&target);
                onwards.append(&mut rest);
                rest = onwards;
            }
            // No link, or nothing at all.
            _ => at = next,
        }
    }
    links.push(at);
    links
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_links_are_named_and_what_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("ext")).unwrap();
        fs::create_dir_all(dir.join("ext/one")).unwrap();
        fs::write(dir.join("ext/one/a.wasm"), b"").unwrap();
        symlink("one", dir.join("ext/..data")).unwrap();
        symlink("..data/a.wasm", dir.join("ext/a.wasm")).unwrap();
        symlink(dir.join("ext"), dir.join("link")).unwrap();
        symlink("../link/./a.wasm", dir.join("ext/far.wasm")).unwrap();
        let trail = |name: &str| {
            let names = super::trail(&dir.join(name)).into_iter();
            let names = names.map(|name| name.strip_prefix(&dir).unwrap().to_owned());
            names
                .map(|name| name.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(trail("ext/one/a.wasm"), ["ext/one/a.wasm"]);
        assert_eq!(
            trail("ext/a.wasm"),
            ["ext/a.wasm", "ext/..data", "ext/one/a.wasm"]
        );
        assert_eq!(
            trail("link/far.wasm"),
            [
                "link",
                "ext/far.wasm",
                "link",
                "ext/a.wasm",
                "ext/..data",
                "ext/one/a.wasm"
            ]
        );
        assert_eq!(trail("ext/missing/b.wasm"), ["ext/missing/b.wasm"]);
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(trail(&dir.path().join("a")).len(), LINKS_MAX + 1);
    }
}
