//! What the text of a URL means: which file it becomes, where mirrors have it, how messages spell it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::source::Download;

/// Names longer than this leave no room for the files that lie beside a download.
const LONGEST_NAME: usize = 160;

/// Another place for everything whose URL begins with a prefix, such as `--mirror FROM=TO` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The beginning of URLs that recipes give.
    pub from: String,
    /// What stands in its place.
    pub to: String,
}

/// The text is no mirror.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no mirror: expected FROM=TO, two beginnings of URLs, each with `://`")]
pub struct ParseMirrorError(String);

impl FromStr for Mirror {
    type Err = ParseMirrorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((from, to)) if from.contains("://") && to.contains("://") => {
                Ok(Self { from: from.to_owned(), to: to.to_owned() })
            }
            _ => Err(ParseMirrorError(text.to_owned())),
        }
    }
}

/// Where to look for `url`, in this order: the mirror with the longest fitting prefix, then the URL itself.
pub(super) fn candidates(url: &str, mirrors: &[Mirror]) -> Vec<String> {
    // The first of several equally long ones: what the user said first.
    let mut best: Option<&Mirror> = None;
    for mirror in mirrors.iter().filter(|mirror| url.starts_with(&mirror.from)) {
        if best.is_none_or(|best| mirror.from.len() > best.from.len()) {
            best = Some(mirror);
        }
    }
    let mirrored = best.map(|mirror| format!("{}{}", mirror.to, &url[mirror.from.len()..]));
    mirrored.into_iter().chain([url.to_owned()]).collect()
}

/// Where a download is.
pub(super) enum Location {
    Web,
    File(PathBuf),
}

/// What can be done with `url`; relative files start at `recipe_dir`.
pub(super) fn locate(url: &str, recipe_dir: &Path) -> Result<Location, &'static str> {
    match url.split_once("://") {
        Some(("http" | "https", _)) => Ok(Location::Web),
        Some(("file", "")) => Err("names no file"),
        Some(("file", path)) => Ok(Location::File(recipe_dir.join(path))),
        Some(_) => Err("has an unknown scheme: expected `http`, `https` or `file`"),
        None => Err("is no URL: expected `http://`, `https://` or `file://` at its beginning"),
    }
}

/// Whether a repository can be reached without network.
pub(super) fn is_local(url: &str) -> bool {
    url.starts_with("file://") || url.starts_with('/')
}

/// The name that a download has on disk.
pub(super) fn file_name(download: &Download) -> Result<&str, &'static str> {
    match download.file_name() {
        "" | "." | ".." => Err("has no file name at its end, which the source would be stored under"),
        name if name.len() > LONGEST_NAME => Err("has a file name of more than 160 bytes"),
        name if name.contains(|c: char| c.is_control()) => Err("has control characters in its file name"),
        name => Ok(name),
    }
}

/// `url` for messages: without a password.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://…@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_the_original_comes_last() {
        let mirrors: Vec<Mirror> =
            ["https://h/=file:///all/", "https://h/deep/=http://m/d/", "https://h/deep/=http://n/"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        assert_eq!(candidates("https://h/x", &mirrors), ["file:///all/x", "https://h/x"]);
        assert_eq!(candidates("https://h/deep/x", &mirrors), ["http://m/d/x", "https://h/deep/x"]);
        assert_eq!(candidates("https://other/x", &mirrors), ["https://other/x"]);
    }

    #[test]
    fn a_mirror_is_two_urls() {
        for wrong in ["", "https://a/", "https://a/=there", "a=https://b"] {
            let message = wrong.parse::<Mirror>().unwrap_err().to_string();
            assert_eq!(
                message,
                format!("`{wrong}` is no mirror: expected FROM=TO, two beginnings of URLs, each with `://`")
            );
        }
    }

    #[test]
    fn messages_show_no_passwords() {
        assert_eq!(shown("https://me:secret@host/a@b"), "https://…@host/a@b");
        assert_eq!(shown("https://host/a@b"), "https://host/a@b");
    }
}
