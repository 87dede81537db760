//! The file-system model: what an image holds, as metadata and references to content, never as files on the
//! machine that bakes.
//!
//! Readers turn an input into [`Member`]s, [`Tree::apply`] merges them, [`Tree::seal`] ends a layer and fixes
//! the placement of what it brought, and [`ValidTree::new`] refuses whatever no file system could hold.
//! Writers accept nothing but a [`ValidTree`], so they have no refusals of their own beyond a format's limits.

mod content;
mod edit;
mod member;
mod merge;
mod model;
mod part;
mod path;
pub mod selinux;
mod valid;

pub use bake_base::Timestamp;
pub use content::{Content, ContentError, ContentReader, Extent};
pub use edit::{EditError, Follow};
pub use member::{Member, MemberKind};
pub use merge::{MergeProblem, Policy};
pub use model::{Device, Directory, Inode, InodeId, LayerId, Metadata, Node, Tree, Walk, Xattrs};
pub use path::{Name, PathError, TreePath};
pub use valid::{InvalidEntry, ValidTree};
