//! `pkgpanda seed`, which images of systems with a read-only `/usr` have run at boot.

use bake_host::Failure;
use bake_host::seed;

use crate::global::{Global, print, print_json};

/// Takes the seed of the system, unless the host took it before.
pub(crate) fn seed(global: &Global) -> Result<(), Failure> {
    let outcome = seed::take(&global.root, &mut |step| global.say(&step))?;
    if global.json {
        return print_json(&outcome);
    }
    print(&outcome.describe())
}
