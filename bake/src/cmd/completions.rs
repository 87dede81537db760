//! `bake completions`.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::Failure;
use crate::ui::Printer;

/// Prints the completions for one shell.
pub fn run(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bake", &mut script);
    Printer::new(false).raw(&script)
}
