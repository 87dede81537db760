//! `/etc/selinux/config`: whether SELinux is wanted, and with which policy. Read as libselinux reads it
//! (`selinux_config.c`), with its unlike rules for the two keys.

use super::text::{is_space, trim};

/// The policy of a configuration that names none.
const DEFAULT_POLICY: &[u8] = b"targeted";

/// The mode without a policy.
const DISABLED: &str = "disabled";

/// What the configuration asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// `enforcing` or `permissive`.
    pub mode: &'static str,
    /// The directory below `/etc/selinux` that holds the policy.
    pub policy: Vec<u8>,
}

impl Config {
    /// Reads the configuration; nothing when SELinux is off, or when it does not say.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The first line with a known mode counts, and only at the margin.
        let mode = lines(text).find_map(|line| mode(trim(line.strip_prefix(b"SELINUX=")?)))?;
        if mode == DISABLED {
            return None;
        }
        // Of policies, the last.
        let policies = lines(text).filter_map(|line| policy(trim(line)));
        let policy = policies.last().unwrap_or(DEFAULT_POLICY).to_vec();
        Some(Self { mode, policy })
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// The mode that a value begins with.
fn mode(value: &[u8]) -> Option<&'static str> {
    let is =
        |name: &str| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    ["enforcing", "permissive", DISABLED].into_iter().find(|name| is(name))
}

fn policy(line: &[u8]) -> Option<&[u8]> {
    let (key, value) = line.split_at_checked(b"SELINUXTYPE=".len())?;
    let end = value.iter().rposition(|byte| !is_space(*byte) && !byte.is_ascii_control())?;
    key.eq_ignore_ascii_case(b"SELINUXTYPE=").then(|| trim(&value[..=end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_whether_and_what() {
        for (text, expected) in [
            ("SELINUX=enforcing\nSELINUXTYPE=default\n", Some(("enforcing", "default"))),
            ("# x\nSELINUX= Permissive # y\n", Some(("permissive", "targeted"))),
            ("SELINUXTYPE=mls \t\r\nSELINUX=enforcing", Some(("enforcing", "mls"))),
            ("  selinuxtype= a\nSELINUXTYPE=b\nSELINUX=enforcing\n", Some(("enforcing", "b"))),
            ("SELINUX=nonsense\nSELINUX=enforcing\nSELINUX=disabled\n", Some(("enforcing", "targeted"))),
            ("SELINUX=disabled\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", None),
            (" SELINUX=enforcing\n#SELINUX=enforcing\nselinux=enforcing\n", None),
            ("SELINUXTYPE=targeted\n", None),
            ("", None),
        ] {
            let expected =
                expected.map(|(mode, policy): (_, &str)| Config { mode, policy: policy.as_bytes().to_vec() });
            assert_eq!(Config::parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
