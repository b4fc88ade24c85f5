//! The `.wasm` file that an author's crate was last built to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::document::{self, DocumentError};

/// The profiles that an extension is built with, by their directories.
const PROFILES: [&str; 3] = ["guest", "release", "debug"];
const TARGET: &str = "wasm32-wasip1";
const MANIFEST: &str = "Cargo.toml";

/// A compiled extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasm {
    /// The file.
    pub path: PathBuf,
    /// What is newer than it, if anything is, and the command that builds it again.
    pub outdated: Option<String>,
}

/// Why it is not known which file is meant.
#[derive(Debug, thiserror::Error)]
pub enum NoWasm {
    /// It is no crate.
    #[error(
        "{} has no Cargo.toml, so it does not tell which .wasm file its cases are for; give one \
         with --wasm FILE",
        .0.display()
    )]
    NoCrate(PathBuf),
    /// The crate's manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] DocumentError),
    /// It has no name.
    #[error("{} names no package; give the .wasm file with --wasm FILE", .0.display())]
    NoPackage(PathBuf),
    /// It was not built.
    #[error(
        "there is no {file} in {}; build it:\n    {build}\nor give another file with --wasm FILE",
        of_profiles(target)
    )]
    NotBuilt {
        /// Its name.
        file: String,
        /// Where it was looked for.
        target: PathBuf,
        /// What builds it.
        build: String,
    },
}

fn of_profiles(target: &Path) -> String {
    let profiles = PROFILES.join(",");
    format!("{}/{{{profiles}}}", target.join(TARGET).display())
}

impl Wasm {
    /// The newest that a crate was built to, below the directory that cargo builds into:
    /// `target_dir`, or else that of the crate's workspace.
    ///
    /// # Errors
    /// There is none, or no crate.
    pub fn of_crate(dir: &Path, target_dir: Option<&Path>) -> Result<Self, NoWasm> {
        let path = dir.join(MANIFEST);
        if !path.is_file() {
            return Err(NoWasm::NoCrate(dir.to_owned()));
        }
        let manifest = Manifest::read(&path)?;
        let name = manifest.library.ok_or(NoWasm::NoPackage(path.clone()))?;
        let file = format!("{}.wasm", name.replace('-', "_"));
        let target = target_dir.map_or_else(
            || workspace(dir, manifest.is_workspace).join("target"),
            Path::to_owned,
        );
        let build = format!(
            "cargo build --release --target {TARGET} --manifest-path {}",
            path.display()
        );
        let built = PROFILES.iter().filter_map(|profile| {
            let path = target.join(TARGET).join(profile).join(&file);
            Some((modified(&path).ok()?, path))
        });
        let Some((time, wasm)) = built.max_by_key(|(time, _)| *time) else {
            return Err(NoWasm::NotBuilt {
                file,
                target,
                build,
            });
        };
        let newer = newest(&dir.join("src"), (modified(&path).ok(), path));
        let outdated = (newer.0 > Some(time)).then(|| {
            format!(
                "{} is older than {}: build it again with\n    {build}",
                wasm.display(),
                newer.1.display()
            )
        });
        Ok(Self {
            path: wasm,
            outdated,
        })
    }
}

/// What of a Cargo.toml matters here.
struct Manifest {
    /// The name of the library, or else of the package.
    library: Option<String>,
    is_workspace: bool,
}

impl Manifest {
    fn read(path: &Path) -> Result<Self, DocumentError> {
        document::read(path, |table, _| {
            let name = |section: &str| {
                let section = table.get(section)?.get_ref().as_table()?;
                section.get("name")?.get_ref().as_str().map(str::to_owned)
            };
            Self {
                library: name("package").map(|package| name("lib").unwrap_or(package)),
                is_workspace: table.get("workspace").is_some(),
            }
        })
    }
}

/// The root of the workspace that a crate is in, as cargo looks for it: upwards.
fn workspace(dir: &Path, is_workspace: bool) -> PathBuf {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    if is_workspace {
        return dir;
    }
    let is_root = |above: &&Path| {
        Manifest::read(&above.join(MANIFEST)).is_ok_and(|manifest| manifest.is_workspace)
    };
    let root = dir.ancestors().skip(1).find(is_root).map(Path::to_owned);
    root.unwrap_or(dir)
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// The newest file of a directory and all below, or what was newest before.
fn newest(dir: &Path, before: (Option<SystemTime>, PathBuf)) -> (Option<SystemTime>, PathBuf) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.fold(before, |newest_yet, entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => newest(&path, newest_yet),
            _ => {
                let time = modified(&path).ok();
                if time > newest_yet.0 {
                    (time, path)
                } else {
                    newest_yet
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A crate in `name` of a directory, with that in its Cargo.toml.
    fn make(dir: &Path, name: &str, manifest: &str) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(path.join("src/deep")).unwrap();
        fs::write(path.join("Cargo.toml"), manifest).unwrap();
        fs::write(path.join("src/lib.rs"), "").unwrap();
        fs::write(path.join("src/deep/more.rs"), "").unwrap();
        path
    }

    /// Makes a file that was last changed some seconds after the sources.
    fn built(target: &Path, profile: &str, file: &str, seconds: u64) -> PathBuf {
        let dir = target.join("wasm32-wasip1").join(profile);
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(file);
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(seconds))
            .unwrap();
        path
    }

    #[test]
    fn the_newest_of_the_profiles_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = make(
            dir.path(),
            "a",
            "[package]\nname = \"my-test\"\n[workspace]\n",
        );
        let target = path.join("target");
        let release = built(&target, "release", "my_test.wasm", 100);
        let found = || Wasm::of_crate(&path, None).unwrap();
        assert_eq!(found().path, release);
        let debug = built(&target, "debug", "my_test.wasm", 300);
        built(&target, "guest", "my_test.wasm", 200);
        let expected = Wasm {
            path: debug,
            outdated: None,
        };
        assert_eq!(found(), expected);
        // What cargo was told to build into counts alone.
        let elsewhere = dir.path().join("elsewhere");
        let other = built(&elsewhere, "guest", "my_test.wasm", 1);
        let found = Wasm::of_crate(&path, Some(&elsewhere)).unwrap();
        assert_eq!(found.path, other);
    }

    #[test]
    fn a_member_is_found_in_the_target_of_its_workspace_by_the_name_of_its_library() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        let manifest = "[package]\nname = \"a\"\n[lib]\nname = \"other\"\n";
        let path = make(dir.path(), "members/a", manifest);
        let wasm = built(&dir.path().join("target"), "release", "other.wasm", 100);
        let found = Wasm::of_crate(&path, None).unwrap();
        assert_eq!(found.path, wasm.canonicalize().unwrap());
    }

    #[test]
    fn one_that_is_older_than_a_source_is_told_with_what_builds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = make(dir.path(), "a", "[package]\nname = \"a\"\n[workspace]\n");
        let wasm = built(&path.join("target"), "release", "a.wasm", 100);
        let source = fs::File::open(path.join("src/deep/more.rs")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(200);
        source.set_modified(later).unwrap();
        let outdated = Wasm::of_crate(&path, None).unwrap().outdated.unwrap();
        let expected = format!(
            "a.wasm is older than {}/src/deep/more.rs: build",
            path.display()
        );
        assert!(outdated.contains(&expected), "{outdated}");
        assert!(outdated.contains("cargo build --release --target wasm32-wasip1 --manifest-path"));
        assert!(wasm.is_file());
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = |dir: &Path| Wasm::of_crate(dir, None).unwrap_err().to_string();
        assert!(
            error(dir.path()).contains("has no Cargo.toml"),
            "{}",
            error(dir.path())
        );
        let path = make(dir.path(), "a", "[package]\nname = \"a-b\"\n[workspace]\n");
        let text = error(&path);
        assert!(text.starts_with("there is no a_b.wasm in "), "{text}");
        assert!(
            text.contains(
                "/target/wasm32-wasip1/{guest,release,debug}; build it:\n    cargo build"
            ),
            "{text}"
        );
        let path = make(dir.path(), "b", "[workspace]\n");
        assert!(error(&path).contains("names no package"));
        let path = make(dir.path(), "c", "[package\n");
        assert!(
            error(&path).contains("Cargo.toml:1:9: this is no TOML"),
            "{}",
            error(&path)
        );
    }
}
