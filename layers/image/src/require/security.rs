//! SELinux as its configuration has it (selinux_config(5)).

use bake_tree::Tree;

use super::{LIMIT, Verdict};
use crate::error::{Error, path};

const CONFIG: &str = "etc/selinux/config";

/// Whether the policy that is enforced is one of `policies`. Without a configuration nothing is.
pub(super) fn selinux(tree: &Tree, policies: &[String]) -> Result<Verdict, Error> {
    let text = tree.read(&path(CONFIG)?, LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| {
        let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        values.next_back().map(|value| value.trim().to_owned())
    };
    let policy = value("SELINUXTYPE").unwrap_or_default();
    if value("SELINUX").is_none_or(|mode| !mode.eq_ignore_ascii_case("enforcing"))
        || policies.contains(&policy)
    {
        return Ok(Verdict::Met);
    }
    Ok(Verdict::Broken(format!("SELinux enforces the policy `{policy}`, by /{CONFIG}")))
}
