//! The files of a new crate: those of `extensions-wasm/template`, with its name
//! replaced.

use std::fs;
use std::path::{Path, PathBuf};

use super::NewError;
use super::name::Name;

const SOURCE: &str = include_str!("../../../../extensions-wasm/template/src/lib.rs");
const CASES: &str = include_str!("../../../../extensions-wasm/template/cases/basic.toml");
/// What the cases take packets from.
const CAPTURE: &[u8] = include_bytes!("../../../../extensions-wasm/template/cases/pings.pcap");
const MANIFEST: &str = include_str!("../../../../extensions-wasm/template/Cargo.toml");
/// Has the target that extensions are built for, and the compiler that builds the SDK.
const TOOLCHAIN: &str = include_str!("../../../../rust-toolchain.toml");
/// Where the SDK was when this program was built.
const BUILT_WITH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk");

/// Types that the source does not name, but of which an author's own would hide
/// those of the prelude, or clash with what `export!` makes.
const NAMES_OF_THE_SDK: [&str; 7] = [
    "Exported", "OnFault", "Packet", "Params", "Self", "Verdict", "Verdicts",
];

/// A file to write.
pub(super) struct File {
    /// Its place in the crate.
    pub(super) path: &'static str,
    pub(super) content: Vec<u8>,
}

impl File {
    pub(super) fn new(path: &'static str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self { path, content }
    }
}

/// The directory of the SDK, in a checkout.
pub(super) struct Sdk {
    dir: PathBuf,
    /// As it is written into a Cargo.toml.
    text: String,
}

impl Sdk {
    /// The given one, or else that of the checkout that this program came from.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, NewError> {
        let asked = given.unwrap_or(Path::new(BUILT_WITH));
        let no_sdk = |why: String| NewError::NoSdk {
            dir: asked.to_owned(),
            why,
        };
        let manifest = fs::read_to_string(asked.join("Cargo.toml"));
        let manifest = manifest.map_err(|error| no_sdk(format!("Cargo.toml: {error}")))?;
        if !manifest
            .lines()
            .any(|line| line == r#"name = "ipqext-sdk""#)
        {
            return Err(no_sdk("its Cargo.toml is of another package".to_owned()));
        }
        let dir = asked.canonicalize();
        let dir = dir.map_err(|error| no_sdk(error.to_string()))?;
        let text = dir.to_str();
        let text = text.ok_or_else(|| no_sdk("its path is not UTF-8".to_owned()))?;
        let text = text.to_owned();
        Ok(Self { dir, text })
    }

    /// Whether crates in a directory are members of the SDK's workspace.
    pub(super) fn has_members_in(&self, dir: &Path) -> bool {
        self.beside("extensions-wasm").as_deref() == Some(dir)
    }

    fn beside(&self, name: &str) -> Option<PathBuf> {
        self.dir.parent().map(|workspace| workspace.join(name))
    }
}

/// The files of a member of the SDK's workspace.
pub(super) fn member(name: &Name) -> Vec<File> {
    let manifest = MANIFEST.replace(r#"name = "template""#, &format!(r#"name = "{name}""#));
    vec![
        File::new("Cargo.toml", manifest),
        File::new("README.md", readme(name)),
        File::new("src/lib.rs", source(name)),
        File::new("cases/basic.toml", CASES),
        File::new("cases/pings.pcap", CAPTURE),
    ]
}

/// The files of a crate that stands outside of any workspace.
pub(super) fn crate_of_its_own(name: &Name, sdk: &Sdk) -> Vec<File> {
    let mut files = vec![
        File::new("Cargo.toml", manifest(name, sdk)),
        File::new("README.md", readme(name)),
        File::new("src/lib.rs", source(name)),
        File::new("cases/basic.toml", CASES),
        File::new("cases/pings.pcap", CAPTURE),
        File::new("rust-toolchain.toml", TOOLCHAIN),
        File::new(".gitignore", "/target\n"),
    ];
    // With these versions the SDK is tested; cargo removes those that the crate does
    // not use. Without them it chooses its own.
    let locked = sdk.beside("Cargo.lock").map(fs::read_to_string);
    files.extend(locked.and_then(|lock| Some(File::new("Cargo.lock", lock.ok()?))));
    files
}

fn manifest(name: &Name, sdk: &Sdk) -> String {
    let sdk = sdk.text.replace('\\', r"\\").replace('"', r#"\""#);
    format!(
        r#"[package]
name = "{name}"
description = "Passes every packet"
version = "0.1.0"
edition = "2024"
publish = false

[lib]
crate-type = ["cdylib"]

[dependencies]
ipqext-sdk = {{ path = "{sdk}" }}

# Smaller and faster code, for a build that takes longer.
[profile.release]
lto = true
codegen-units = 1

# It belongs to no workspace, wherever it stands.
[workspace]
"#
    )
}

fn source(name: &Name) -> String {
    SOURCE.replace("Template", &type_name(name))
}

/// A name for its type that hides no other.
fn type_name(name: &Name) -> String {
    let name = name.in_camel_case();
    let mut words = SOURCE.split(|c: char| !c.is_alphanumeric());
    let of_source = words.any(|word| word == name && word != "Template");
    if of_source || NAMES_OF_THE_SDK.contains(&&*name) {
        return name + "Extension";
    }
    name
}

fn readme(name: &Name) -> String {
    let stem = name.file_stem();
    format!(
        "# {name}\n\
         \n\
         An extension of ipqext. `src/lib.rs` is all of it.\n\
         \n\
         \x20   cargo test                                     # runs its code natively\n\
         \x20   cargo build --release --target wasm32-wasip1   # makes {stem}.wasm\n\
         \x20   ipqext-host test                               # runs cases/ against {stem}.wasm\n\
         \n\
         Copy `{stem}.wasm` into the directory that `ipqext-host run --ext-dir` was given.\n\
         \n\
         \x20   ipqext add {name}\n\
         \x20   ipqext start {name}\n\
         \x20   ipqext list\n\
         \n\
         Name, version and summary come from `Cargo.toml`. What the extension reads and\n\
         which verdicts it gives stands in `NEEDS`, and the host holds it to that.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    #[test]
    fn the_word_template_is_replaced_everywhere() {
        let sdk = Sdk::find(None).unwrap();
        let name = named("my-test");
        for file in member(&name)
            .iter()
            .chain(&crate_of_its_own(&name, &sdk))
            .filter(|file| file.path != "Cargo.lock")
        {
            let text = String::from_utf8_lossy(&file.content).to_lowercase();
            assert!(!text.contains("template"), "{}: {text}", file.path);
        }
        assert!(source(&name).contains("impl Extension for MyTest {"));
        assert!(source(&name).contains("export!(MyTest);"));
    }

    #[test]
    fn a_type_hides_no_other() {
        assert_eq!(type_name(&named("template")), "Template");
        assert_eq!(type_name(&named("test1")), "Test1");
        for name in ["packet", "result", "none", "ok", "extension", "kit"] {
            let camel = named(name).in_camel_case();
            assert_eq!(type_name(&named(name)), camel + "Extension");
        }
        assert_eq!(type_name(&named("on-fault")), "OnFaultExtension");
    }

    #[test]
    fn a_path_is_written_so_that_toml_reads_it_back() {
        let sdk = Sdk {
            dir: PathBuf::new(),
            text: r#"/a "quoted" back\slash"#.to_owned(),
        };
        let manifest = manifest(&named("test1"), &sdk);
        assert!(manifest.contains(r#"{ path = "/a \"quoted\" back\\slash" }"#));
    }

    #[test]
    fn what_is_no_sdk_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = || match Sdk::find(Some(dir.path())) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is no SDK"),
        };
        assert!(refusal().contains("Cargo.toml: No such file"));
        assert!(refusal().contains("with --sdk"));
        fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
        assert!(refusal().contains("of another package"));
    }
}
