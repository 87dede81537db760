//! What an audit found, as a document and as text.

use std::collections::BTreeSet;
use std::fmt;

use bake_base::Digest;
use serde::{Deserialize, Serialize};

use crate::Role;
use crate::generation::Number;

/// The revision of the report's format.
pub const SCHEMA: &str = "bake-audit-1";

/// What an audit found on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What the host calls itself; empty if it has no name.
    pub node: String,
    /// Whether there are neither differences nor overrides.
    pub clean: bool,
    /// The digest of everything that does not depend on roles or on the host: equal digests mean equal bits.
    pub state: Digest,
    /// The digest of everything else: roles and what they bring, units that run, ids of users, secrets.
    pub host: Digest,
    /// The configuration that is installed; none if the current generation was not made from a product.
    pub config_id: Option<String>,
    /// The current generation.
    pub generation: Number,
    /// What the host is.
    pub roles: BTreeSet<Role>,
    /// Everything that is not as it should be, by path.
    pub differences: Vec<Difference>,
    /// What an operator has changed on purpose, by name and path.
    pub overrides: Vec<Override>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Where, as the host names it: absolute. Bytes that are no UTF-8 and backslashes are `\x` and two hex digits.
    pub path: String,
    /// In which way.
    pub what: What,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// In which way something is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum What {
    /// It is not there.
    Missing,
    /// It should not be there.
    Extra,
    /// A change of the host that was killed has left it; the next change removes it.
    Leftover,
    /// A file where a directory is expected, and the like.
    Type,
    /// The bytes of a file.
    Content,
    /// Where a symbolic link leads.
    Link,
    /// Permissions.
    Mode,
    /// Owner or group.
    Owner,
    /// Extended attributes.
    Attributes,
    /// It cannot be read.
    Unreadable,
    /// Nothing says what should be there.
    Unverifiable,
    /// A record says something that cannot be, or what it vouches for is not so.
    Record,
    /// A user.
    User,
}

/// A file of a package that an operator has changed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Override {
    /// What the override is called.
    pub name: String,
    /// The file in the package store that it stands for: absolute.
    pub path: String,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Leftover => "leftover",
            Self::Type => "type",
            Self::Content => "content",
            Self::Link => "link",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
            Self::Unreadable => "unreadable",
            Self::Unverifiable => "unverifiable",
            Self::Record => "record",
            Self::User => "user",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, expected, found } = self;
        write!(f, "{what} {path}: expected {expected}, found {found}")
    }
}

/// So many of something, in words.
fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// One line says whether the host is clean; the others are few, unless it is not.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.clean, self.overrides.len()) {
            (true, _) => writeln!(f, "clean")?,
            (false, 0) => writeln!(f, "{}", count(self.differences.len(), "difference"))?,
            (false, overrides) => {
                let differences = count(self.differences.len(), "difference");
                writeln!(f, "{differences}, {}", count(overrides, "override"))?;
            }
        }
        writeln!(f, "state {}", self.state)?;
        writeln!(f, "host {}", self.host)?;
        writeln!(f, "generation {}", self.generation)?;
        writeln!(f, "configuration {}", self.config_id.as_deref().unwrap_or("none"))?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "{difference}"))?;
        self.overrides.iter().try_for_each(|it| writeln!(f, "override {} {}", it.name, it.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_same_after_a_journey_as_json_and_reads_as_lines() {
        let mut report = Report {
            schema: SCHEMA.to_owned(),
            node: "a".to_owned(),
            clean: false,
            state: Digest::of(b""),
            host: Digest::of(b"abc"),
            config_id: None,
            generation: Number::FIRST,
            roles: BTreeSet::from(["master".parse().unwrap()]),
            differences: vec![Difference {
                path: "/opt/mesosphere/bin".to_owned(),
                what: What::Mode,
                expected: "0755".to_owned(),
                found: "0700".to_owned(),
            }],
            overrides: vec![Override { name: "local".to_owned(), path: "/x".to_owned() }],
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""what":"mode""#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "1 difference, 1 override");
        assert_eq!(lines[1], format!("state {}", Digest::of(b"")));
        assert_eq!(
            lines[4..],
            [
                "configuration none",
                "mode /opt/mesosphere/bin: expected 0755, found 0700",
                "override local /x",
            ]
        );
        report.differences.clear();
        assert!(
            report.to_string().starts_with("0 differences, 1 override\n"),
            "an override is no clean host"
        );
        let more = Override { name: "more".to_owned(), path: "/x".to_owned() };
        report.overrides.push(more);
        assert!(report.to_string().starts_with("0 differences, 2 overrides\n"));
        report.clean = true;
        assert!(report.to_string().starts_with("clean\n"));
    }

    #[test]
    fn every_way_has_one_name() {
        for what in [
            What::Missing,
            What::Extra,
            What::Leftover,
            What::Type,
            What::Content,
            What::Link,
            What::Mode,
            What::Owner,
            What::Attributes,
            What::Unreadable,
            What::Unverifiable,
            What::Record,
            What::User,
        ] {
            assert_eq!(serde_json::to_string(&what).unwrap(), format!("\"{what}\""));
        }
    }
}
