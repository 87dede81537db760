//! Configuration: a few choices become immutable packages, a serve directory and a bash installer.
//!
//! Data moves one way: the YAML reader takes what an operator wrote, the parameter table says what it may be,
//! templates make files of it, and files become packages and the serve directory.

pub mod artifacts;
pub mod calculate;
pub mod configure;
pub mod detect;
pub mod diff;
pub mod effective;
pub mod error;
pub mod escape;
pub mod examples;
pub mod extension;
pub mod file;
pub mod identity;
pub mod installer;
pub mod node;
pub mod packages;
pub mod plan;
pub mod problem;
pub mod render;
pub mod resolve;
pub mod rules;
pub mod schema;
pub mod serve;
pub mod single;
pub mod table;
pub mod template;
pub mod types;
pub mod upgrade;
pub mod yaml;

pub use calculate::Files;
pub use effective::{Effective, Resolved, Source};
pub use error::Error;
pub use extension::Extension;
pub use file::{Body, ConfigFile, Target};
pub use node::{Key, Kind, Node};
pub use problem::{Place, Problem, Problems};
pub use render::{FileTable, render};
pub use resolve::{Note, resolve};
pub use table::{Condition, Parameter, Table, Who};
pub use types::{Document, Form, Type};
