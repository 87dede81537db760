//! The files below `contexts/files`: rules and substitutions, line by line.

use super::pattern::Pattern;
use super::rules::Rule;
use super::text::words;
use super::{Kind, LabelError};
use crate::TreePath;

/// Longest field of a line, in bytes: libselinux's own limit.
const FIELD_MAX: usize = 65_534;
/// The context of what is left alone.
const NONE: &[u8] = b"<<none>>";

/// What all the files of a policy may amount to.
pub(super) struct Budget {
    /// Rules: the largest policies have 7,000.
    pub rules: usize,
    /// Bytes and sets of expressions, with their repetitions written out.
    pub size: u64,
}

impl Budget {
    /// Room for any policy that is none.
    pub const ALL: Self = Self { rules: 50_000, size: 8 << 20 };

    fn take(&mut self, size: u64) -> Option<()> {
        self.rules = self.rules.checked_sub(1)?;
        self.size = self.size.checked_sub(size)?;
        Some(())
    }
}

/// A rule and where it is from.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Its expression.
    pub text: &'a [u8],
    /// What it says.
    pub rule: Rule,
}

/// Reads the lines of `file_contexts` and its companions.
pub(super) fn rules<'a>(
    path: &TreePath,
    bytes: &'a [u8],
    budget: &mut Budget,
) -> Result<Vec<Line<'a>>, LabelError> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let malformed =
            |reason: &str| LabelError::Line { path: path.clone(), number, reason: reason.to_owned() };
        let mut words = words(line);
        let Some(text) = words.next().filter(|text| !text.starts_with(b"#")) else { continue };
        let (kind, context) = match (words.next(), words.next()) {
            (None, _) => return Err(malformed("has one field: expected an expression and a context")),
            (Some(context), None) => (None, context),
            (Some(kind), Some(context)) => (Some(kind), context),
        };
        for field in [Some(text), kind, Some(context)].into_iter().flatten() {
            if !field.is_ascii() || field.contains(&0) || field.len() > FIELD_MAX {
                return Err(malformed("has a field that is long, or not ASCII: libselinux refuses it"));
            }
        }
        let shown = String::from_utf8_lossy(text);
        let kind =
            kind.map(|kind| Kind::of_flag(kind).ok_or_else(|| malformed(&unknown_kind(kind)))).transpose()?;
        let context = context_of(context).map_err(malformed)?;
        let pattern = Pattern::parse(text).map_err(|error| malformed(&format!("`{shown}` {error}")))?;
        if budget.take(pattern.size).is_none() {
            return Err(LabelError::TooMany(path.clone()));
        }
        lines.push(Line { number, text, rule: Rule { pattern, kind, context } });
    }
    Ok(lines)
}

fn unknown_kind(kind: &[u8]) -> String {
    let kind = String::from_utf8_lossy(kind);
    format!("has the kind `{kind}`: expected one of `--`, `-d`, `-l`, `-c`, `-b`, `-p`, `-s`")
}

fn context_of(text: &[u8]) -> Result<Option<Box<str>>, &'static str> {
    if text == NONE {
        return Ok(None);
    }
    let text = str::from_utf8(text).unwrap_or_default();
    let parts = text.splitn(4, ':');
    if parts.clone().count() < 3 || parts.take(3).any(str::is_empty) {
        return Err("has no context: expected `user:role:type`, `user:role:type:level` or `<<none>>`");
    }
    Ok(Some(text.into()))
}

/// What another directory is labelled like.
#[derive(Debug)]
pub(super) struct Substitution {
    from: Box<[u8]>,
    to: Box<[u8]>,
}

/// Reads the lines of `file_contexts.subs` or `file_contexts.subs_dist`.
pub(super) fn substitutions(bytes: &[u8]) -> Vec<Substitution> {
    let pair = |line| {
        let mut words = words(line);
        let from = words.next().filter(|from| !from.starts_with(b"#"))?;
        Some(Substitution { from: from.into(), to: words.next()?.into() })
    };
    bytes.split(|byte| *byte == b'\n').filter_map(pair).collect()
}

/// The path that the last substitution makes of a path, if there is one for it (`selabel_sub`).
pub(super) fn substituted(all: &[Substitution], path: &[u8]) -> Option<Vec<u8>> {
    all.iter().rev().find_map(|Substitution { from, to }| {
        let rest = path.strip_prefix(&**from)?;
        let rest = match rest {
            [b'/', below @ ..] if **to == *b"/" => below,
            [] | [b'/', ..] => rest,
            _ => return None,
        };
        Some([to, rest].concat())
    })
}
