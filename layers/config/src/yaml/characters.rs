//! Bytes and characters that a text file should not have.

use std::sync::Arc;

use super::LONGEST;
use crate::{Place, Problem, Problems};

/// More than these would say nothing new.
const MOST_PROBLEMS: usize = 20;

/// The text of a file's bytes.
pub fn check<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Result<&'a str, Problems> {
    let place = |line, column| Place { file: file.clone(), line, column };
    let wrong = |place: Place, message: String| Problems(vec![Problem::new(&place, "", message)]);
    if bytes.len() > LONGEST {
        return Err(wrong(place(0, 0), format!("has {} bytes, expected at most {LONGEST}", bytes.len())));
    }
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => {
            return Err(wrong(
                place(1, 1),
                "begins with a byte order mark; save it as UTF-8 without one".into(),
            ));
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(wrong(place(1, 1), "is UTF-16 or UTF-32; save it as UTF-8".into()));
        }
        _ => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        wrong(place(line as u32, column as u32), "is not UTF-8 here; save the file as UTF-8".into())
    })?;
    Problems::check(find(text, &place))?;
    Ok(text)
}

/// Characters that are refused, and directives.
pub fn find(text: &str, place: &dyn Fn(u32, u32) -> Place) -> Vec<Problem> {
    let mut problems = vec![];
    let first = text.lines().position(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    for (at, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if Some(at) == first && line.starts_with('%') {
            let message = "has a directive, which changes what a file means; remove it";
            problems.push(Problem::new(&place(at as u32 + 1, 1), "", message));
        }
        for (column, c) in line.chars().enumerate() {
            let message = match c {
                '\t' => {
                    "has a tab; indent by spaces, and write \"\\t\" in double quotes for one in a text".into()
                }
                '\0' => "has a NUL character; this is no text file".into(),
                '\r' => "has a carriage return that ends no line; end lines by a newline".into(),
                '\u{feff}' => "has a byte order mark in the midst; remove it".into(),
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    format!("has the control character U+{:04X}; remove it", c as u32)
                }
                _ => continue,
            };
            problems.push(Problem::new(&place(at as u32 + 1, column as u32 + 1), "", message));
            if problems.len() >= MOST_PROBLEMS {
                return problems;
            }
        }
    }
    problems
}
