//! What every layer stands on: digests and the ids derived from them, the build epoch, sparse byte
//! sources, canonical JSON, parallel work merged by index, and outputs that appear whole or not at all.
//!
//! Nothing here knows a format. Nothing here reads the clock, the environment or a random source.

mod digest;
mod epoch;
mod ids;
pub mod json;
mod layout;
mod names;
mod output;
pub mod parallel;
mod read;
mod state;
mod unnamed;

pub use digest::{Digest, DigestReader, DigestWriter, Hasher, ParseDigestError};
pub use epoch::{Epoch, Timestamp};
pub use ids::Ids;
pub use layout::{Layout, LayoutBuilder, LayoutError, Piece};
pub use names::names;
pub use output::OutputSet;
pub use read::{Bytes, FileBytes, ReadAt, is_zero};
pub use state::FileState;
pub use unnamed::Unnamed;
pub use uuid::Uuid;
