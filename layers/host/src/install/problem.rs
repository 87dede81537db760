//! What can be wrong with a set of packages, as data and as messages.

use std::collections::BTreeSet;
use std::fmt;

use bake_tree::TreePath;

use super::Kind;
use crate::{GroupName, InfoProblem, PackageId, PackageName, Requirement, UserName, Variant};

/// A reason why packages do not make an install root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A `pkginfo.json` is wrong by itself.
    #[error("`{package}`: pkginfo.json: {problem}")]
    Info {
        /// Whose.
        package: PackageId,
        /// What about it.
        problem: InfoProblem,
    },
    /// Something in a package is not what it has to be.
    #[error("`{package}`: {} {reason}", shown(path))]
    Contents {
        /// Whose.
        package: PackageId,
        /// Where in the package.
        path: TreePath,
        /// What it is, and what was expected.
        reason: String,
    },
    /// Two packages of one name.
    #[error("`{first}` and `{second}` are the same component: expected one version of `{}`", first.name())]
    Repeated {
        /// One.
        first: PackageId,
        /// Another one.
        second: PackageId,
    },
    /// A required package is not there.
    #[error("`{package}` requires `{requires}`, which is not among the packages: add it")]
    Missing {
        /// Who requires it.
        package: PackageId,
        /// What.
        requires: PackageName,
    },
    /// A required package is there, in another variant.
    #[error("`{package}` requires {requires}, but `{found}` is variant `{variant}`")]
    WrongVariant {
        /// Who requires it.
        package: PackageId,
        /// What.
        requires: Requirement,
        /// What is there instead.
        found: PackageId,
        /// In which variant.
        variant: Variant,
    },
    /// Two packages define one variable.
    #[error("environment variable `{name}` is defined by both `{first}` and `{second}`: rename one of them")]
    Variable {
        /// Which.
        name: String,
        /// By whom.
        first: PackageId,
        /// And by whom.
        second: PackageId,
    },
    /// Two packages want one user in two groups.
    #[error(
        "user `{user}` is to have group `{}` for `{}` and group `{}` for `{}`: expected one group",
        first.1, first.0, second.1, second.0
    )]
    Group {
        /// Who.
        user: UserName,
        /// Which package wants which group.
        first: (PackageId, GroupName),
        /// And which wants which other one.
        second: (PackageId, GroupName),
    },
    /// Two values of one kernel setting.
    #[error("kernel setting `{key}` is {first}, and {second}: expected one value")]
    Sysctl {
        /// Which.
        key: String,
        /// One.
        first: Setting,
        /// Another one.
        second: Setting,
    },
    /// Kernel settings that nothing would make.
    #[error("`{package}` has `sysctl` for the service `{service}`, but no file `{service}.service`")]
    NoService {
        /// Whose.
        package: PackageId,
        /// For which service.
        service: String,
    },
    /// Two things in one place.
    #[error("`{}` would be both {first} and {second}: rename or remove one of them", bare(path))]
    Path {
        /// Where in the install root.
        path: TreePath,
        /// One.
        first: Party,
        /// The other one.
        second: Party,
    },
    /// Two units of one name.
    #[error("unit `{name}` would be both {first} and {second}: rename or remove one of them")]
    Unit {
        /// Which.
        name: String,
        /// One.
        first: Party,
        /// The other one.
        second: Party,
    },
    /// A unit that the installation itself brings.
    #[error("`{package}`: {} has a name that the installation keeps for itself: rename it", shown(path))]
    ReservedUnit {
        /// Whose.
        package: PackageId,
        /// Where in the package.
        path: TreePath,
    },
}

/// A claim to a place in the install root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// Whose; nobody's is what every install root has.
    pub package: Option<PackageId>,
    /// What it is.
    pub kind: Kind,
    /// Where in the package.
    pub path: TreePath,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = (self.kind.describe(), shown(&self.path));
        match &self.package {
            Some(package) => write!(f, "{kind} of `{package}` ({path})"),
            None => write!(f, "{kind} of the install root itself"),
        }
    }
}

/// A value that a package gives to a kernel setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Whose.
    pub package: PackageId,
    /// When this service starts.
    pub service: String,
    /// The value.
    pub value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, service, value } = self;
        write!(f, "`{}` for `{}` of `{package}`", value.escape_debug(), service.escape_debug())
    }
}

/// Everything that is wrong with a set of packages, sorted; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub BTreeSet<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// A path in a package, quoted; its own directory has no name.
fn shown(path: &TreePath) -> String {
    if path.is_root() { "its directory".to_owned() } else { format!("`{}`", bare(path)) }
}

fn bare(path: &TreePath) -> String {
    path.as_bytes().escape_ascii().to_string()
}
