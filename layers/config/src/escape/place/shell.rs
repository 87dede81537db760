//! Where in a shell script a value may stand. Scripts that cannot be followed for certain are refused.

use super::{Misplaced, Pieces};

enum State {
    Plain,
    Single,
    Double,
    /// `$'…'`
    Ansi,
    Comment,
}

struct Script {
    state: State,
    /// The last characters that were read plainly; backslashes take theirs out.
    last: [char; 2],
    /// How many `((` are open.
    arithmetic: usize,
}

/// Follows the quotes of a script from value to value.
pub fn check(pieces: &Pieces) -> Result<(), Misplaced> {
    let mut script = Script { state: State::Plain, last: ['\n'; 2], arithmetic: 0 };
    if pieces.values.is_empty() {
        return Ok(());
    }
    for (number, text) in pieces.texts().enumerate() {
        script.read(text).map_err(|message| Misplaced::whole(message.to_owned()))?;
        if number < pieces.values.len() {
            script.value().map_err(|message| Misplaced::value(number, message))?;
        }
    }
    Ok(())
}

impl Script {
    fn read(&mut self, text: &str) -> Result<(), &'static str> {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match self.state {
                State::Plain => {
                    self.plain(c, &mut rest)?;
                    continue;
                }
                State::Single | State::Ansi if c == '\'' => self.state = State::Plain,
                State::Comment if c == '\n' => self.state = State::Plain,
                State::Ansi | State::Double if c == '\\' => {
                    rest.next().ok_or("a backslash within quotes stands before a value")?;
                }
                State::Double if c == '"' => self.state = State::Plain,
                State::Double if c == '`' => return Err(BACKTICK),
                State::Double if c == '$' => substitution(&mut rest)?,
                _ => {}
            }
            self.last = [self.last[1], c];
        }
        Ok(())
    }

    fn plain(&mut self, c: char, rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
        match c {
            '\\' => match rest.next() {
                None => return Err("a backslash stands before a value"),
                // The line goes on as if nothing was there.
                Some('\n') => return Ok(()),
                // What was escaped begins neither a comment nor a quote of its own.
                Some(_) => {}
            },
            '\'' if self.last[1] == '$' => self.state = State::Ansi,
            '\'' => self.state = State::Single,
            '"' => self.state = State::Double,
            '`' => return Err(BACKTICK),
            '#' if self.last[1].is_whitespace() || ";&|()<>".contains(self.last[1]) => {
                self.state = State::Comment;
            }
            '<' if rest.as_str().starts_with('<') => {
                rest.next();
                if !rest.as_str().starts_with('<') {
                    return Err("templates of shell scripts have no here-documents: use `printf '%s\\n' …`");
                }
                rest.next();
            }
            '(' if self.last[1] == '(' => self.arithmetic += 1,
            ')' if self.last[1] == ')' => self.arithmetic = self.arithmetic.saturating_sub(1),
            _ => {}
        }
        self.last = [self.last[1], c];
        Ok(())
    }

    fn value(&mut self) -> Result<(), &'static str> {
        match self.state {
            State::Plain if self.arithmetic > 0 => {
                Err("it stands within `((…))`, which would calculate with it")
            }
            State::Plain if self.last[1] == '$' => Err("it follows a `$`, which would change its quotes"),
            State::Plain => {
                self.last = ['x'; 2];
                Ok(())
            }
            State::Comment => Err("it stands in a comment, which a line break would end"),
            State::Single | State::Double | State::Ansi => Err(super::QUOTED),
        }
    }
}

const BACKTICK: &str = "templates of shell scripts have no backticks: use `$(…)`";

/// Within double quotes, `$(…)` and `${…}` may have quotes of their own, which begin anew: they are refused.
fn substitution(rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
    let (open, close) = match rest.as_str().chars().next() {
        Some('(') => ('(', ')'),
        Some('{') => ('{', '}'),
        _ => return Ok(()),
    };
    let mut depth = 0_usize;
    for c in rest.by_ref() {
        match c {
            c if c == open => depth += 1,
            c if c == close => depth -= 1,
            '"' | '\'' | '\\' | '`' | '#' => {
                return Err(
                    "a `$(…)` or `${…}` within double quotes has quotes, backslashes or `#` of its own: \
                    give it to a variable first",
                );
            }
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err("a value stands within `\"$(…)\"` or `\"${…}\"`: give it to a variable first")
}
