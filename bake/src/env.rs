//! Every environment variable that the tool reads; nothing else does.

use std::env;
use std::path::PathBuf;

use bake_package::fetch::Proxy;

use crate::error::Failure;

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

/// The proxy for downloads, and the hosts that are reached without it (curl(1), "ENVIRONMENT").
pub fn proxy() -> Option<Proxy> {
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let any = |names: &[&str]| names.iter().find_map(|name| text(name));
    let url = any(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy"])?;
    let except = any(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let except = except.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned);
    Some(Proxy { url, except: except.collect() })
}

/// Certificates to trust instead of the built-in ones, as OpenSSL has them.
pub fn certificates() -> Option<PathBuf> {
    env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The `bake` executable, which starts itself again for its sandbox.
pub fn executable() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|error| Failure::new(format!("finding the own executable failed: {error}")))
}

/// Where files can lie that nobody needs after the run.
pub fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// How many threads the machine runs at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
