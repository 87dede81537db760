//! Names that become paths, unit names and accounts, so each is checked once, where it comes in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: expected {expected}")]
pub struct NameError {
    text: String,
    what: &'static str,
    expected: &'static str,
}

/// The longest name, in bytes: `<name>--<version>.tar.xz.unfinished` has to fit into a file name of 255.
const LONGEST: usize = 120;
/// The same for messages.
const SHORTER: &str = "at most 120 bytes";
/// The component that is the program on hosts itself. It comes with the tool and from no recipe.
pub const PKGPANDA: &str = "pkgpanda";

/// Declares a text with a rule: parsed, shown, and read from and written to documents.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $expected:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let rule: fn(&str) -> bool = $rule;
                let expected = match (rule(text), text.len() <= LONGEST) {
                    (true, true) => return Ok(Self(text.to_owned())),
                    (true, false) => SHORTER,
                    (false, _) => $expected,
                };
                Err(NameError { text: text.to_owned(), what: $what, expected })
            }
        }

        document!($type);
    };
}

/// Shows a type by its text, and reads and writes it as one in documents.
macro_rules! document {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What a component is called; the name of its recipe's directory.
    PackageName,
    "package name",
    "letters, digits and `@._+-`, not beginning with `.` or `-`, without `--`",
    |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte))
            && !text.is_empty()
            && !text.starts_with(['.', '-'])
            // The id `a---1` would split in two ways.
            && !text.contains("--")
            && !text.ends_with('-')
    }
);

name!(
    /// What tells the builds of a component apart: 40 hex digits for what was built from a recipe.
    Version,
    "package version",
    "letters, digits and `@_+:.`",
    |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@_+:.".contains(&byte))
    }
);

name!(
    /// A system user of a component.
    UserName,
    "user name of a package",
    "`dcos_` and then lower-case letters, digits and `_`, at most 32 bytes",
    |text| {
        text.len() <= 32
            && text.strip_prefix("dcos_").is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            })
    }
);

name!(
    /// A group of the host.
    GroupName,
    "group name",
    "lower-case letters, digits, `_` and `-`, beginning with a letter or `_`, at most 32 bytes",
    |text| {
        text.len() <= 32
            && text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
    }
);

name!(
    /// Which subset of the same bits a host runs: the name of a file in `/etc/mesosphere/roles`.
    Role,
    "role",
    "letters, digits, `_` and `-`",
    |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    }
);

/// `<name>--<version>`: one immutable build of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    text: String,
    /// Where in `text` the dashes are.
    dashes: usize,
}

impl PackageId {
    /// The id of a version of a component.
    pub fn new(name: &PackageName, version: &Version) -> Self {
        Self { text: format!("{name}--{version}"), dashes: name.0.len() }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The component.
    pub fn name(&self) -> PackageName {
        PackageName(self.text[..self.dashes].to_owned())
    }

    /// Which build of it.
    pub fn version(&self) -> Version {
        Version(self.text[self.dashes + 2..].to_owned())
    }
}

impl FromStr for PackageId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |expected| NameError { text: text.to_owned(), what: "package id", expected };
        let rule = "a package name, `--`, and a version";
        let of_part = |part: NameError| match part.expected {
            SHORTER => error("a package name and a version of at most 120 bytes each"),
            _ => error(rule),
        };
        let (name, version) = text.split_once("--").ok_or_else(|| error(rule))?;
        Ok(Self::new(&name.parse().map_err(of_part)?, &version.parse().map_err(of_part)?))
    }
}

document!(PackageId);

/// One of the ways in which a component or a tree is described; the default one has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant(Option<PackageName>);

impl Variant {
    /// The variant called `name`.
    ///
    /// # Errors
    /// When it breaks the rule of package names.
    pub fn named(name: &str) -> Result<Self, NameError> {
        let name = name.parse().map_err(|error| NameError { what: "variant", ..error })?;
        Ok(Self(Some(name)))
    }

    /// Its name, unless it is the default one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(PackageName::as_str)
    }

    /// What file names of this variant begin with: nothing, or the name and a dot.
    pub fn prefix(&self) -> String {
        self.name().map(|name| format!("{name}.")).unwrap_or_default()
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("<default>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_name_and_a_version() {
        let id: PackageId = "dcos-net--0a1b".parse().unwrap();
        assert_eq!((id.name().as_str(), id.version().as_str()), ("dcos-net", "0a1b"));
        assert_eq!(PackageId::new(&id.name(), &id.version()), id);
        for wrong in ["", "a", "a--", "--b", "a--b--c", "a---b", "a--b-c", ".a--b", "-a--b", "a--b\n", "ä--b"]
        {
            let error = wrong.parse::<PackageId>().unwrap_err().to_string();
            assert!(
                error.ends_with("is no package id: expected a package name, `--`, and a version"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_become_paths_and_accounts_so_their_rules_are_strict() {
        for right in ["a", "python-requests", "prometheus_client", "libfoo+1.2", "@x"] {
            right.parse::<PackageName>().unwrap();
        }
        for wrong in ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "a--b", "a-", &"a".repeat(121)] {
            assert!(wrong.parse::<PackageName>().is_err(), "{wrong}");
        }
        assert!("dcos_net2".parse::<UserName>().is_ok());
        for wrong in ["dcos_", "net", "dcos_Net", "dcos_a-b", "dcos_a\n"] {
            assert!(wrong.parse::<UserName>().is_err(), "{wrong}");
        }
        assert!("systemd-journal".parse::<GroupName>().is_ok());
        for wrong in ["", "1a", "-a", "A"] {
            assert!(wrong.parse::<GroupName>().is_err(), "{wrong}");
        }
        assert!("slave_public".parse::<Role>().is_ok());
        for wrong in ["", "a/b", "..", "a b"] {
            assert!(wrong.parse::<Role>().is_err(), "{wrong}");
        }
        let long = "a".repeat(LONGEST + 1);
        let error = long.parse::<Role>().unwrap_err().to_string();
        assert_eq!(error, format!("`{long}` is no role: expected at most {LONGEST} bytes"));
        assert!(long[1..].parse::<Role>().is_ok());
        let id = format!("{long}--1").parse::<PackageId>().unwrap_err().to_string();
        assert!(id.ends_with("expected a package name and a version of at most 120 bytes each"), "{id}");
    }

    #[test]
    fn a_variant_is_what_file_names_begin_with() {
        assert_eq!(Variant::default().prefix(), "");
        assert_eq!(Variant::default().to_string(), "<default>");
        assert_eq!(Variant::named("installer").unwrap().prefix(), "installer.");
        assert!(Variant::named("").is_err());
    }
}
