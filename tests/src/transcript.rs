//! Documents whose commands can be run: what they say, and whether a run said the same.
//!
//! In a document in Markdown,
//!
//! - a block of the language `console` has commands behind the prompt `$ `, each followed
//!   by what it prints. A line that begins with `> ` continues the command;
//! - a block whose first line is the language and a path, as `rust src/lib.rs`, is the
//!   content of that file;
//! - every other block is for readers only;
//! - in what is printed, `…` stands for any text in a line, and a line of nothing but
//!   `…` for any number of lines.

/// Something to do for who follows a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a file.
    File {
        /// Where.
        path: String,
        /// What.
        text: String,
    },
    /// Type a command.
    Command {
        /// Where it stands in the document, from 1.
        line: usize,
        /// It, perhaps in several lines.
        command: String,
        /// The lines that it is to print.
        expected: Vec<String>,
    },
}

/// The steps of a document, in order.
///
/// # Panics
/// If a block of `console` does not begin with a command.
pub fn steps(document: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((line, _)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let block = lines.by_ref().take_while(|(line, _)| *line != "```");
        let block: Vec<(&str, usize)> = block.collect();
        match info.split_once(' ') {
            Some((_, path)) => {
                let text = block.iter().map(|(line, _)| format!("{line}\n")).collect();
                let path = path.to_owned();
                steps.push(Step::File { path, text });
            }
            None if info == "console" => steps.extend(commands(&block)),
            None => {}
        }
    }
    steps
}

fn commands(block: &[(&str, usize)]) -> Vec<Step> {
    let mut commands = Vec::new();
    for (text, line) in block {
        let typed = text.strip_prefix("$ ");
        if let Some(command) = typed {
            commands.push(Step::Command {
                line: *line,
                command: command.to_owned(),
                expected: Vec::new(),
            });
            continue;
        }
        let Some(Step::Command {
            command, expected, ..
        }) = commands.last_mut()
        else {
            panic!("line {line} is printed by no command: {text}");
        };
        match text.strip_prefix("> ") {
            Some(more) => *command += &format!("\n{more}"),
            None => expected.push((*text).to_owned()),
        }
    }
    commands
}

/// Whether lines are as expected, with `…` for what may differ.
pub fn matches(expected: &[&str], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        ([line, expected @ ..], [text, printed @ ..]) => {
            line_matches(line, text) && matches(expected, printed)
        }
        _ => false,
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    match expected.split_once('…') {
        None => expected == printed,
        Some((begin, rest)) => printed.strip_prefix(begin).is_some_and(|printed| {
            let mut ends = printed.char_indices().map(|(at, _)| at);
            ends.any(|at| line_matches(rest, &printed[at..])) || line_matches(rest, "")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_files_and_what_is_for_readers_are_told_apart() {
        let document = "text\n```sh\nnot run\n```\n```console\n$ one\n# printed\n\n$ two \\\n\
                        > more\n```\n```rust src/lib.rs\nfn f() {}\n\n```\n```rust\nno\n```\n";
        let command = |line, command: &str, expected: &[&str]| Step::Command {
            line,
            command: command.to_owned(),
            expected: expected.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(
            steps(document),
            [
                command(6, "one", &["# printed", ""]),
                command(9, "two \\\nmore", &[]),
                Step::File {
                    path: "src/lib.rs".to_owned(),
                    text: "fn f() {}\n\n".to_owned(),
                },
            ]
        );
    }

    #[test]
    #[should_panic(expected = "line 2 is printed by no command")]
    fn a_block_begins_with_a_command() {
        steps("```console\nprinted\n```\n");
    }

    #[test]
    fn three_dots_stand_for_what_differs() {
        for (expected, printed, same) in [
            (vec![], vec![], true),
            (vec![], vec!["a"], false),
            (vec!["a"], vec![], false),
            (vec!["a b"], vec!["a b"], true),
            (vec!["a b"], vec!["a  b"], false),
            (vec!["time=… ms"], vec!["time=0.1 ms"], true),
            (vec!["time=… ms"], vec!["time=0.1 s"], false),
            (vec!["a…b…c"], vec!["abcbc"], true),
            (vec!["a…b…c"], vec!["acb"], false),
            (vec!["a…"], vec!["a"], true),
            (vec!["a…"], vec!["aé"], true),
            (vec!["…"], vec![], true),
            (vec!["…", "end"], vec!["x", "y", "end"], true),
            (vec!["…", "end"], vec!["x", "end", "y"], false),
            (vec!["… x"], vec!["y"], false),
        ] {
            assert_eq!(matches(&expected, &printed), same, "{expected:?}");
        }
    }
}
