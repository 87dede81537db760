//! `bake`: from recipes and a root file system to reproducible images. This crate is the command line; it
//! knows no format.

mod cli;
mod cmd;
mod env;
mod error;
mod fleet;
mod signals;
mod spec;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A stage of a build's sandbox. It comes before everything that might start a thread, and is nothing that
    // anybody types, so the command line does not know it.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == bake_package::sandbox::SUBCOMMAND) {
        return bake_package::sandbox::enter();
    }
    let result = match cli::Cli::parse().command {
        cli::Command::Package(args) => cmd::package::run(&args),
        cli::Command::Tree(args) => cmd::tree::run(&args),
        cli::Command::Configure(args) => cmd::configure::run(&args),
        cli::Command::Image(args) => cmd::image::run(&args),
        cli::Command::Boot(args) => cmd::boot::run(&args),
        cli::Command::Inspect(args) => cmd::inspect::run(&args),
        cli::Command::Diff(args) => cmd::diff::run(&args),
        cli::Command::Publish(command) => cmd::publish::run(&command),
        cli::Command::Verify(args) => cmd::verify::run(&args),
        cli::Command::Pull(args) => cmd::pull::run(&args),
        cli::Command::Fleet(command) => cmd::fleet::run(&command),
        cli::Command::Doctor { json } => cmd::doctor::run(json),
        cli::Command::Completions { shell } => cmd::completions::run(shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is_untold() {
                ui::report(&failure);
            }
            ExitCode::from(failure.status())
        }
    }
}
