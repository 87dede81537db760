//! Source objects, as recipes and `upstream.json` have them.

use super::fields::{Fields, Report, object, short, suggestion};
use super::json::Value;
use crate::source::{ArchiveKind, Commit, Download, Pin, Source};

/// The kinds and the keys of each; all but the pins are needed.
const KINDS: [(&str, &[&str]); 4] = [
    ("git", &["kind", "git", "ref", "ref_origin", "sha256"]),
    ("git_local", &["kind", "rel_path"]),
    ("url", &["kind", "url", "sha256", "sha1"]),
    ("url_extract", &["kind", "url", "sha256", "sha1"]),
];

/// The longest file name of a download: caches put endings of their own behind it.
const LONGEST_FILE_NAME: usize = 200;

/// What the source object at `key` says; nothing when a part that is needed is missing or wrong.
pub(super) fn source(report: &mut Report<'_>, key: String, value: Value) -> Option<Source> {
    let mut fields = object(report, key, value)?;
    let kinds = KINDS.map(|(kind, _)| kind);
    let kind = fields.needed(report, "kind", &format!("one of {}", kinds.join(", ")))?;
    let Some((_, keys)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let nearest = suggestion(&kind, kinds.into_iter());
        report.add(&fields.at("kind"), format!("`{}` is no kind of source: {nearest}", short(&kind)));
        return None;
    };
    fields.know(report, keys);
    match kind.as_str() {
        "git" => git(report, fields),
        "git_local" => git_local(report, fields),
        "url" => download(report, fields, false).map(Source::Url),
        _ => download(report, fields, true).map(Source::UrlExtract),
    }
}

fn git(report: &mut Report<'_>, mut fields: Fields) -> Option<Source> {
    let url = fields.needed(report, "git", "the URL of a repository");
    let url = url.and_then(|url| report.check(&fields.at("git"), git_url(&url)));
    let commit = fields.needed(report, "ref", "a full commit id");
    let commit = commit.and_then(|text| report.check(&fields.at("ref"), self::commit(&text)));
    let origin = fields.needed(report, "ref_origin", "the branch or tag that holds the commit");
    let origin = origin.and_then(|text| report.check(&fields.at("ref_origin"), ref_origin(text)));
    let sha256 = fields.sha256(report, "sha256");
    Some(Source::Git { url: url?, commit: commit?, ref_origin: origin?, sha256 })
}

fn git_local(report: &mut Report<'_>, mut fields: Fields) -> Option<Source> {
    let path = fields.needed(report, "rel_path", "the path of a repository")?;
    let refused = if path.is_empty() {
        "is empty: for the directory itself, write `.`".to_owned()
    } else if path.starts_with('/') {
        format!("`{}` is absolute: expected a path relative to this file's directory", short(&path))
    } else if path.chars().any(char::is_control) {
        format!("`{}` holds control characters: expected a path", short(&path))
    } else {
        return Some(Source::GitLocal { rel_path: path });
    };
    report.add(&fields.at("rel_path"), refused);
    None
}

fn download(report: &mut Report<'_>, mut fields: Fields, extract: bool) -> Option<Download> {
    let pinned = fields.has("sha256") || fields.has("sha1");
    if !pinned {
        report.add(
            fields.key(),
            "nothing says what the download must be: expected `sha256` (64 hexadecimal digits), or `sha1`",
        );
    }
    let sha256 = fields.sha256(report, "sha256");
    let sha1 = fields.text(report, "sha1");
    let sha1 = sha1.and_then(|text| report.check(&fields.at("sha1"), self::sha1(&text)));
    let url = fields.needed(report, "url", "an http, https or file URL");
    let url = url.and_then(|url| report.check(&fields.at("url"), download_url(&url)))?;
    let download = Download { url, pin: Pin { sha256, sha1 } };
    let name = report.check(&fields.at("url"), file_name(&download, extract));
    name.and(pinned.then_some(download))
}

fn sha1(text: &str) -> Result<String, String> {
    if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("`{}` is no SHA-1 digest: expected 40 hexadecimal digits", short(text)))
}

fn commit(text: &str) -> Result<Commit, String> {
    let expected = "expected 40 or 64 hexadecimal digits";
    match Commit::parse(text) {
        Some(_) if text.bytes().all(|byte| byte == b'0') => {
            Err("is all zeros, which stands for no commit at all: expected the id of one".to_owned())
        }
        Some(commit) => Ok(commit),
        None => Err(format!("`{}` is no commit id: {expected}; branches and tags move on", short(text))),
    }
}

/// A branch or tag that git takes as one, never as an option or a revision expression.
fn ref_origin(text: String) -> Result<String, String> {
    let odd = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    if text.is_empty() || text.starts_with('-') || text.contains("..") || text.contains(odd) {
        return Err(format!("`{}` is no name of a branch or tag", short(&text)));
    }
    Ok(text)
}

/// A URL as it is used: without the white space around it, and with nothing in it that could be read otherwise.
fn url(text: &str) -> Result<&str, String> {
    let url = text.trim();
    if url.contains(|character: char| character.is_control() || character.is_whitespace()) {
        return Err(format!("`{}` holds white space: write `%20` for a space", short(url)));
    }
    Ok(url)
}

/// Refuses what follows the scheme if it names no host.
fn host(url: &str, rest: &str) -> Result<String, String> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // Behind a dash, programs that are given the host as an argument would see an option.
    if host.is_empty() || host.starts_with([':', '-']) || authority.starts_with('-') {
        return Err(format!("`{}` names no host", short(url)));
    }
    Ok(url.to_owned())
}

fn download_url(text: &str) -> Result<String, String> {
    let url = url(text)?;
    match url.split_once("://") {
        None => Err(format!("`{}` is no URL: expected `://` in it", short(url))),
        Some(("http" | "https", rest)) => host(url, rest),
        Some(("file", rest)) if !rest.is_empty() => Ok(url.to_owned()),
        Some(("file", _)) => Err(format!("`{}` names no file", short(url))),
        Some((scheme, _)) => {
            Err(format!("`{}` is no scheme of a download: expected http, https or file", short(scheme)))
        }
    }
}

fn git_url(text: &str) -> Result<String, String> {
    let url = url(text)?;
    let wrong = || {
        Err(format!(
            "`{}` is no URL of a repository: expected http, https, git, ssh or file, or `user@host:path`",
            short(url)
        ))
    };
    match url.split_once("://") {
        Some(("http" | "https" | "git" | "ssh", rest)) => host(url, rest),
        Some(("file", rest)) if !rest.is_empty() => Ok(url.to_owned()),
        Some(_) => wrong(),
        // `ext::command` and other transports that run programs have two colons.
        None => match url.split_once(':') {
            Some((place, path)) if !path.is_empty() && !path.starts_with([':', '-']) => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                let name = |part: &str| !part.is_empty() && !part.starts_with('-') && part.bytes().all(plain);
                match place.split_once('@') {
                    Some((user, host)) if name(user) && name(host) => Ok(url.to_owned()),
                    _ => wrong(),
                }
            }
            _ => wrong(),
        },
    }
}

/// Refuses a URL that gives no safe file name, or one whose archive nobody could unpack.
fn file_name(download: &Download, extract: bool) -> Result<(), String> {
    let name = download.file_name();
    if name.is_empty() || name == "." || name == ".." {
        return Err(format!("`{}` does not end in a file name", short(&download.url)));
    }
    if name.len() > LONGEST_FILE_NAME {
        return Err(format!(
            "ends in a file name of {} bytes: expected at most {LONGEST_FILE_NAME}",
            name.len()
        ));
    }
    if extract && ArchiveKind::of(name).is_none() {
        return Err(format!("`{name}` is no archive: expected .tar, .tar.*, .tgz, .crate or .zip"));
    }
    Ok(())
}
