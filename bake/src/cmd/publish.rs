//! `bake publish`: plan, publish, report.

#[cfg(feature = "aws")]
mod ami;
mod templates;

use crate::cli::PublishCommand;
use crate::error::Failure;

/// Runs `bake publish`.
pub fn run(command: &PublishCommand) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "aws")]
        PublishCommand::Ami(args) => ami::run(args),
        #[cfg(not(feature = "aws"))]
        PublishCommand::Ami(_) => Err(crate::cmd::cloud::without_aws()),
        PublishCommand::Templates(args) => templates::run(args),
    }
}
