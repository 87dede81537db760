//! Recipes as data: what a tree of recipes says, and the ids that follow from it.
//!
//! [`RecipeTree::read`] reads a directory and gives everything that is wrong in it at once; what it gives
//! otherwise is consistent: every requirement exists, nothing requires itself, every tree description can be
//! followed. [`RecipeTree::select`] says what a tree consists of, [`RecipeTree::ids`] gives every package its id.
//! Nothing here reaches the network, runs a program or reads a file outside the tree.

mod buildinfo;
mod fields;
mod files;
mod graph;
mod id;
mod json;
mod scan;
mod selection;
mod settings;
mod sources;
mod tree;
mod treeinfo;

pub use buildinfo::Recipe;
pub use files::{Entry, RecipeFiles, SnapshotError};
pub use id::{Downloaded, IdDocument, Identified, SourceId, id_document, version};
pub use tree::{RecipeTree, Selection};
pub use treeinfo::TreeInfo;
