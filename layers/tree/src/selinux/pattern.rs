//! A regular expression of a policy.
//!
//! libselinux compiles `^` + expression + `$` with PCRE2 (`PCRE2_DOTALL`, bytes, its own locale) and asks
//! whether a path matches. For that question greed does not matter, so the part of PCRE that policies use is a
//! plain regular language, which the `regex` crate decides in linear time. The expression is read here as PCRE
//! reads it and handed on in a form that both would read alike: literal bytes, sets of bytes, groups and
//! repetitions. Whatever PCRE has beyond that (assertions, back references, atomic groups, ...) is refused, as
//! is what its versions or libselinux's do not agree on: a wrong label is worse than none.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::set::{ByteSet, escaped_set, posix_set};

/// Deepest nesting of groups.
const DEPTH_MAX: usize = 50;
/// Most bytes and sets of an expression once its repetitions are written out. The automaton of as many is far
/// below the limit of the `regex` crate (10 MiB).
const SIZE_MAX: u64 = 10_000;
/// PCRE's own limit of a repetition's count.
const COUNT_MAX: u64 = 65_535;
/// What makes an expression more than a path to libselinux (`spec_hasMetaChars` of 3.4).
const SPECIAL: &[u8] = b".^$?*+|[({";

/// An expression, read.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What every path that it matches begins with.
    pub prefix: Box<[u8]>,
    /// Whether it has no special characters, which puts it behind all that have.
    pub exact: bool,
    /// How much it is once its repetitions are written out.
    pub size: u64,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    /// The prefix is all of it.
    Literal,
    /// Compiled when first needed: most rules of a policy are for what a tree does not have.
    Regex(Box<str>, OnceLock<Regex>),
}

/// An expression that cannot be used; read after its text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// PCRE would refuse it as well.
    #[error("is malformed: {0}")]
    Malformed(&'static str),
    /// PCRE would take it.
    #[error("uses `{0}`, which cannot be evaluated: {1}")]
    Unsupported(String, &'static str),
    /// Hostile, or nonsense.
    #[error(
        "is too large: expected at most {SIZE_MAX} characters with its repetitions written out, and groups at most \
         {DEPTH_MAX} deep"
    )]
    TooLarge,
}

impl Pattern {
    /// Reads an expression: ASCII without white space.
    pub fn parse(text: &[u8]) -> Result<Self, PatternError> {
        let mut parser = Parser { text, at: 0, regex: String::new(), prefix: Vec::new(), is_prefix: true };
        let size = parser.alternatives(0)?;
        if size > SIZE_MAX {
            return Err(PatternError::TooLarge);
        }
        let Parser { regex, mut prefix, is_prefix, .. } = parser;
        // libselinux never looks at a rule whose first directory is plain for a path in another one, even where
        // the expression would match (`/usr/?x` and `/usrx`).
        if let Some(stem) = stem(text).filter(|stem| stem.len() > prefix.len()) {
            prefix = stem;
        }
        let matcher =
            if is_prefix { Matcher::Literal } else { Matcher::Regex(regex.into(), OnceLock::new()) };
        Ok(Self { prefix: prefix.into(), exact: is_exact(text), size, matcher })
    }

    /// Whether it matches a path that has its prefix.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.matcher {
            // PCRE's `$` matches before a final newline, too.
            Matcher::Literal => matches!(&path[self.prefix.len()..], b"" | b"\n"),
            Matcher::Regex(text, compiled) => compiled.get_or_init(|| compile(text)).is_match(path),
        }
    }
}

fn compile(text: &str) -> Regex {
    let anchored = format!(r"\A(?:{text})\n?\z");
    let mut builder = RegexBuilder::new(&anchored);
    let regex = builder.unicode(false).dot_matches_new_line(true).build();
    regex.expect("the parser writes nothing that could be refused, and limits the size")
}

fn is_exact(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            byte if SPECIAL.contains(byte) => return false,
            _ => {}
        }
    }
    true
}

/// The first directory of an expression with its slashes, if it is plain (`get_stem_from_spec`).
fn stem(text: &[u8]) -> Option<Vec<u8>> {
    let end = 1 + text.get(1..)?.iter().position(|byte| *byte == b'/')?;
    let plain = !text[..end].iter().any(|byte| SPECIAL.contains(byte) || *byte == b'\\');
    plain.then(|| text[..=end].to_vec())
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// What has been read, for the `regex` crate.
    regex: String,
    /// The literal bytes at the beginning ...
    prefix: Vec<u8>,
    /// ... and whether that is all so far.
    is_prefix: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    /// Takes `text` if it is next.
    fn eat(&mut self, text: &[u8]) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn next(&mut self, missing: &'static str) -> Result<u8, PatternError> {
        let byte = self.peek().ok_or(PatternError::Malformed(missing))?;
        self.at += 1;
        Ok(byte)
    }

    /// Everything up to the end of the group or of the expression; gives its size.
    fn alternatives(&mut self, depth: usize) -> Result<u64, PatternError> {
        if depth > DEPTH_MAX {
            return Err(PatternError::TooLarge);
        }
        let mut size = 0_u64;
        loop {
            match self.peek() {
                None if depth == 0 => return Ok(size),
                None => return Err(PatternError::Malformed("a `(` is not closed")),
                Some(b')') if depth > 0 => return Ok(size),
                Some(b')') => return Err(PatternError::Malformed("a `)` closes nothing")),
                Some(b'|') if depth == 0 => {
                    let advice =
                        "put parentheses around the alternatives, since only one end of each is anchored";
                    return Err(PatternError::Unsupported("|".to_owned(), advice));
                }
                Some(b'|') => {
                    self.at += 1;
                    self.regex.push('|');
                }
                Some(_) => size = size.saturating_add(self.piece(depth)?),
            }
        }
    }

    /// One item with its repetition; gives its size.
    fn piece(&mut self, depth: usize) -> Result<u64, PatternError> {
        let start = self.at;
        let byte = self.next("it is empty")?;
        let mut size = 1;
        let mut literal = None;
        match byte {
            b'^' if depth == 0 && start == 0 && self.unrepeated() => return Ok(1),
            b'$' if self.peek().is_none() && depth == 0 => return Ok(1),
            b'^' | b'$' => {
                let advice = "a rule is anchored at both ends as it is";
                return Err(PatternError::Unsupported(char::from(byte).to_string(), advice));
            }
            b'?' | b'*' | b'+' => return Err(PatternError::Malformed("a repetition follows nothing")),
            b'(' => {
                self.is_prefix = false;
                size = self.group(depth)?;
            }
            b'[' => {
                let set = self.class()?;
                self.set(&set);
            }
            b'.' => self.set(&ByteSet::ALL),
            b'\\' => {
                let byte = self.next("a `\\` is last")?;
                match escaped_set(byte) {
                    Some(set) => self.set(&set),
                    None => literal = Some(escaped_byte(byte)?),
                }
            }
            byte => literal = Some(byte),
        }
        if let Some(byte) = literal {
            self.regex.push_str(&format!(r"\x{byte:02x}"));
        }
        let times = self.repetition()?;
        match (literal, times) {
            (Some(byte), None) if self.is_prefix => self.prefix.push(byte),
            _ => self.is_prefix = false,
        }
        Ok(size.saturating_mul(times.unwrap_or(1)))
    }

    /// Whether what follows is no repetition.
    fn unrepeated(&self) -> bool {
        !matches!(self.peek(), Some(b'?' | b'*' | b'+' | b'{'))
    }

    fn set(&mut self, set: &ByteSet) {
        self.is_prefix = false;
        set.write(&mut self.regex);
    }

    fn group(&mut self, depth: usize) -> Result<u64, PatternError> {
        if !self.eat(b"?:") && matches!(self.peek(), Some(b'?' | b'*')) {
            let shown = self.rest().iter().take(3).map(|byte| char::from(*byte));
            let shown = std::iter::once('(').chain(shown).collect();
            return Err(PatternError::Unsupported(shown, "expected only groups like `(...)` and `(?:...)`"));
        }
        self.regex.push_str("(?:");
        let size = self.alternatives(depth + 1)?;
        self.at += 1;
        self.regex.push(')');
        Ok(size.saturating_add(1))
    }

    /// A repetition, if one follows: how often at most its item has to be written out.
    fn repetition(&mut self) -> Result<Option<u64>, PatternError> {
        let start = self.at;
        let times = match self.peek() {
            Some(b'?' | b'*') => {
                self.at += 1;
                1
            }
            Some(b'+') => {
                self.at += 1;
                2
            }
            _ => match self.counts()? {
                Some(times) => times,
                None => return Ok(None),
            },
        };
        let repetition = String::from_utf8_lossy(&self.text[start..self.at]);
        self.regex.push_str(&repetition);
        // Greed makes no difference to whether a whole path matches; giving nothing back does.
        if !self.eat(b"?") && self.peek() == Some(b'+') {
            return Err(PatternError::Unsupported(
                format!("{repetition}+"),
                "expected no possessive repetition",
            ));
        }
        let again = matches!(self.peek(), Some(b'?' | b'*' | b'+')) || self.counts()?.is_some();
        if again {
            let shown =
                String::from_utf8_lossy(&self.text[start..self.text.len().min(self.at + 1)]).into_owned();
            return Err(PatternError::Unsupported(shown, "expected one repetition of one item"));
        }
        Ok(Some(times))
    }

    /// `{2}`, `{2,}`, `{2,3}`; other braces are plain characters.
    fn counts(&mut self) -> Result<Option<u64>, PatternError> {
        let Some(inner) = self.rest().strip_prefix(b"{") else { return Ok(None) };
        let Some(end) = inner.iter().position(|byte| *byte == b'}') else { return Ok(None) };
        let inner = &inner[..end];
        let (low, high) = match inner.iter().position(|byte| *byte == b',') {
            Some(comma) => (&inner[..comma], Some(&inner[comma + 1..])),
            None => (inner, None),
        };
        let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        if !digits(low) || !high.is_none_or(digits) || inner.is_empty() || inner == b"," {
            return Ok(None);
        }
        if low.is_empty() {
            let shown = String::from_utf8_lossy(&self.rest()[..end + 2]).into_owned();
            let advice = "write `{0,` for it, since only newer versions of PCRE take it for a repetition";
            return Err(PatternError::Unsupported(shown, advice));
        }
        let low = count(low)?;
        let times = match high {
            None => low,
            Some(b"") => low + 1,
            Some(high) => count(high)?,
        };
        if times < low {
            return Err(PatternError::Malformed("a repetition's counts are in the wrong order"));
        }
        self.at += end + 2;
        Ok(Some(times.max(1)))
    }

    /// A set in brackets, after the first of them.
    fn class(&mut self) -> Result<ByteSet, PatternError> {
        const OPEN: &str = "a `[` is not closed";
        self.collating()?;
        let negated = self.eat(b"^");
        let mut set = ByteSet::EMPTY;
        let mut first = true;
        loop {
            let byte = self.next(OPEN)?;
            if byte == b']' && !first {
                break;
            }
            first = false;
            if byte == b'[' {
                if let Some(named) = self.named()? {
                    self.no_range()?;
                    set.add_all(&named);
                    continue;
                }
                self.collating()?;
            }
            let from = match byte {
                b'\\' => match self.class_escape()? {
                    Ok(byte) => byte,
                    Err(escaped) => {
                        self.no_range()?;
                        set.add_all(&escaped);
                        continue;
                    }
                },
                byte => byte,
            };
            let to = if self.is_range() { self.range_end()? } else { from };
            if from > to {
                return Err(PatternError::Malformed("a range in brackets is in the wrong order"));
            }
            set.add_range(from, to);
        }
        if negated {
            set.negate();
        }
        Ok(set)
    }

    /// `\byte` in brackets: a byte, or a set of them.
    fn class_escape(&mut self) -> Result<Result<u8, ByteSet>, PatternError> {
        let byte = self.next("a `\\` is last")?;
        Ok(match escaped_set(byte) {
            Some(set) => Err(set),
            None => Ok(escaped_byte(byte)?),
        })
    }

    /// Whether a hyphen follows that is not the last in the brackets.
    fn is_range(&self) -> bool {
        matches!(self.rest(), [b'-', next, ..] if *next != b']')
    }

    fn range_end(&mut self) -> Result<u8, PatternError> {
        self.at += 1;
        let end = match self.next("a `[` is not closed")? {
            b'\\' => self.class_escape()?.ok(),
            b'[' if matches!(self.peek(), Some(b':' | b'.' | b'=')) => None,
            byte => Some(byte),
        };
        end.ok_or_else(set_in_range)
    }

    /// A set is no beginning of a range; what PCRE makes of the hyphen then differs.
    fn no_range(&self) -> Result<(), PatternError> {
        if self.is_range() { Err(set_in_range()) } else { Ok(()) }
    }

    /// `[:name:]` within brackets, after the first byte of it.
    fn named(&mut self) -> Result<Option<ByteSet>, PatternError> {
        let rest = self.rest();
        let Some(inner) = rest.strip_prefix(b":") else { return Ok(None) };
        let Some(end) = inner.windows(2).position(|two| two == b":]") else { return Ok(None) };
        let name = &inner[..end];
        let (negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        if !name.iter().all(u8::is_ascii_alphabetic) {
            return Ok(None);
        }
        let mut set = posix_set(name).ok_or(PatternError::Malformed("a class of POSIX is unknown"))?;
        if negated {
            set.negate();
        }
        self.at += end + 3;
        Ok(Some(set))
    }

    /// Refuses what PCRE takes for a misplaced `[:name:]`, or for `[.name.]` or `[=name=]`, which it does not have.
    fn collating(&self) -> Result<(), PatternError> {
        let Some((mark @ (b':' | b'.' | b'='), rest)) = self.rest().split_first() else { return Ok(()) };
        let Some(end) = rest.iter().position(|byte| *byte == b']').filter(|end| *end > 0) else {
            return Ok(());
        };
        if rest[end - 1] == *mark {
            let shown = format!("[{}{0}]", char::from(*mark));
            return Err(PatternError::Unsupported(shown, "expected `[[:name:]]`"));
        }
        Ok(())
    }
}

/// The byte that `\byte` stands for.
fn escaped_byte(byte: u8) -> Result<u8, PatternError> {
    Ok(match byte {
        b'a' => 0x07,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 0x0c,
        b'r' => b'\r',
        b'e' => 0x1b,
        byte if byte.is_ascii_alphanumeric() => {
            let shown = format!("\\{}", char::from(byte));
            return Err(PatternError::Unsupported(shown, "expected `\\` before punctuation"));
        }
        byte => byte,
    })
}

fn count(digits: &[u8]) -> Result<u64, PatternError> {
    let text = str::from_utf8(digits).unwrap_or_default();
    let count = text.parse().ok().filter(|count| *count <= COUNT_MAX);
    count.ok_or(PatternError::Malformed("a repetition counts to more than 65535"))
}

fn set_in_range() -> PatternError {
    PatternError::Unsupported(
        "-".to_owned(),
        "expected single characters at both ends of a range in brackets",
    )
}

#[cfg(test)]
mod tests;
