//! What documents name is there: files, and subcommands of both programs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ipqext_tests::guests::workspace;

#[test]
fn relative_links_lead_to_files() {
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            let path = target.split('#').next().unwrap();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let path = document.parent().unwrap().join(path);
            let document = document.display();
            assert!(path.exists(), "{document} leads to {target}");
        }
    }
    assert!(links > 20, "only {links} links were found");
}

#[test]
fn subcommands_exist() {
    let mut commands = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let mut words = quoted.split_whitespace();
            let program = match words.next() {
                Some("ipqext") => env!("CARGO_BIN_EXE_ipqext"),
                Some("ipqext-host") => env!("CARGO_BIN_EXE_ipqext-host"),
                _ => continue,
            };
            let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
            let Some(subcommand) = words.next().filter(is_word) else {
                continue;
            };
            commands += 1;
            let help = Command::new(program).args([subcommand, "--help"]).output();
            let document = document.display();
            let found = help.unwrap().status.success();
            assert!(found, "{document} names `{quoted}`, which is no command");
        }
    }
    assert!(commands > 20, "only {commands} commands were found");
}

/// The documents at the root and in `docs/`.
fn documents() -> Vec<PathBuf> {
    let directories = [workspace().to_owned(), workspace().join("docs")];
    let entries = directories
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}
