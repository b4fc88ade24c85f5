//! Completion of the command lines in a shell.

use clap::CommandFactory;

pub use clap_complete::Shell;

/// A script that makes a shell complete the command line of a program.
pub fn script<Cli: CommandFactory>(shell: Shell) -> String {
    let mut command = Cli::command();
    let program = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &program, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => with_one_spelling(&script, &program),
        _ => script,
    }
}

/// clap_complete 4.6 spells the states of its bash scripts in two ways when a program
/// has a hyphen in its name, so that nothing is completed behind a subcommand
/// (<https://github.com/clap-rs/clap/issues/6421>).
fn with_one_spelling(script: &str, program: &str) -> String {
    let set = format!("{}__subcmd__", program.replace('-', "__"));
    let matched = format!("{}__subcmd__", program.replace('-', "__subcmd__"));
    script.replace(&matched, &set)
}
