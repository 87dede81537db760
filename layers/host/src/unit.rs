//! Names of systemd units (systemd.unit(5)).

/// What the target that wants every unit of a host is called, and so the directories that hold units.
pub const WANTS: &str = "dcos.target.wants";

/// Units that the installation itself brings.
pub const RESERVED: [&str; 5] =
    ["dcos.target", "dcos-download.service", "dcos-roles.path", "dcos-roles.service", "dcos-setup.service"];

/// The kinds of units that a target can start.
const SUFFIXES: [&str; 9] =
    [".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".swap", ".slice"];

/// Longest name of a unit, in bytes (`UNIT_NAME_MAX` without its NUL).
const LONGEST: usize = 255;

/// What [`is_name`] expects, for messages.
pub const EXPECTED: &str = "letters, digits and `:_.\\@-`, ending in .service, .socket, .timer, .path, \
                            .target, .mount, .automount, .swap or .slice";

/// Whether systemd would take `name` for that of a unit that a target can start.
pub fn is_name(name: &str) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    name.len() <= LONGEST
        && stem.is_some_and(|stem| !stem.is_empty() && !stem.starts_with(['.', '@']))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_unit_is_named_as_systemd_wants_it() {
        for right in ["dcos-net.service", "a@b.timer", r"run-x\x2dy.mount", "9.slice"] {
            assert!(super::is_name(right), "{right}");
        }
        for wrong in ["", ".service", "@a.service", "a", "a.conf", "a b.service", "a.service\n", "ä.service"]
        {
            assert!(!super::is_name(wrong), "{wrong}");
        }
        assert!(!super::is_name(&format!("{}.service", "a".repeat(248))));
    }
}
