//! Every environment variable that the tool reads; nothing else does.

use std::env;
use std::path::PathBuf;

/// Newest time an image may contain, in seconds since 1970 (reproducible-builds.org).
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Where caches lie; `$HOME/.cache` when it is not set (XDG Base Directory Specification).
const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// The user's home.
const HOME: &str = "HOME";

/// The text of `SOURCE_DATE_EPOCH`, if it is set and not empty.
pub fn source_date_epoch() -> Option<String> {
    env::var(SOURCE_DATE_EPOCH).ok().filter(|text| !text.is_empty())
}

/// The cache directory; nothing when there is no home to have one in.
pub fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(XDG_CACHE_HOME).or_else(|| Some(absolute(HOME)?.join(".cache")))?;
    Some(base.join("bake"))
}

/// How many threads the machine runs at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
