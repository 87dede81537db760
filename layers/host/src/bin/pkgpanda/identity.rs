//! `pkgpanda identity`, which images have run at boot.

use std::path::PathBuf;

use bake_host::Failure;
use bake_host::identity::{self, Outcome};
use clap::Args;
use serde_json::json;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// A file with the disk of the root, of which nothing is mounted; the disk that the root is on unless given
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
}

/// Gives disk, partitions and file systems ids of this machine's own.
pub(crate) fn identity(global: &Global, args: &IdentityArgs) -> Result<(), Failure> {
    let outcome: Outcome =
        identity::make_own(&global.root, args.disk.as_deref(), &mut |step| global.say(&step))?;
    if global.json {
        return print_json(&json!({ "identity": outcome }));
    }
    print(outcome.describe())
}
