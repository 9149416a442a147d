//! What the program says of itself: these commands need no home, no server and no keys.

pub mod manual;
pub mod reasons;

use clap::Subcommand;

use crate::failure::Outcome;
use crate::print::Printer;

/// What can be asked of the program alone.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what a shell needs to complete this program's command lines
    #[command(
        after_help = "Example: suturectl completions bash > ~/.local/share/bash-completion/completions/suturectl"
    )]
    Completions(manual::Completions),
    /// Write this program's manual, a page for every command
    #[command(after_help = "Example: suturectl man -o ~/.local/share/man/man1")]
    Man(manual::Man),
    /// What a reason means, whose word it is, whether it is for good, and what to do
    #[command(after_help = "Examples: suturectl reasons disk-full\n\
    \x20         suturectl reasons")]
    Reasons(reasons::Args),
}

/// Answers from `program`, the whole command line.
pub fn run(command: Command, program: clap::Command, print: &mut Printer<'_>) -> Outcome {
    match command {
        Command::Completions(args) => manual::complete(&args, program, print),
        Command::Man(args) => manual::run(args, program, print),
        Command::Reasons(args) => reasons::run(&args, print),
    }
}
