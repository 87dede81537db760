//! The rules by which packages become an install root: pure, written once, used by the bootstrap tarball, by
//! `bake image` and on hosts.

mod name;

pub use name::{GroupName, NameError, PackageId, PackageName, Role, UserName, Variant, Version};
