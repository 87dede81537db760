//! Where in HTML a value may stand: in text, and in quoted attributes that are neither code nor the beginning of
//! an address.

use super::{Misplaced, Pieces};

enum State {
    Text,
    /// Between `<` and `>`; what was read of it.
    Tag(String),
    /// In an attribute of this name, within this quote; whether something was read of it.
    Attribute {
        tag: String,
        name: String,
        quote: char,
        begun: bool,
    },
    Comment(String),
    /// In an element whose text is code, until this closes it.
    Code {
        close: String,
        read: String,
    },
}

const ADDRESSES: [&str; 6] = ["href", "src", "action", "formaction", "data", "poster"];

/// Follows the tags from value to value.
pub fn check(pieces: &Pieces) -> Result<(), Misplaced> {
    let mut state = State::Text;
    for (number, text) in pieces.texts().enumerate() {
        for c in text.chars() {
            state = state.read(c);
        }
        if number < pieces.values.len() {
            value(&mut state).map_err(|message| Misplaced::value(number, message))?;
        }
    }
    Ok(())
}

fn value(state: &mut State) -> Result<(), &'static str> {
    match state {
        State::Text => Ok(()),
        State::Tag(_) => Err("it stands in a tag: write it as a quoted attribute, `name=\"{{ … }}\"`"),
        State::Attribute { name, .. } if name.starts_with("on") || name == "style" || name == "srcdoc" => {
            Err("it stands in an attribute that is code")
        }
        State::Attribute { name, begun: false, .. } if ADDRESSES.contains(&name.as_str()) => Err(
            "it begins an address, and could so be code: begin it in the template, as in `href=\"./{{ … }}\"`",
        ),
        State::Attribute { begun, .. } => {
            *begun = true;
            Ok(())
        }
        State::Comment(_) => Err("it stands in a comment"),
        State::Code { .. } => Err("it stands in a script or a style sheet"),
    }
}

impl State {
    fn read(self, c: char) -> Self {
        match self {
            Self::Text if c == '<' => Self::Tag(String::new()),
            Self::Text => Self::Text,
            Self::Tag(read) => tag(read, c),
            Self::Attribute { tag, quote, .. } if c == quote => Self::Tag(tag + "'"),
            Self::Attribute { tag, name, quote, .. } => Self::Attribute { tag, name, quote, begun: true },
            Self::Comment(read) => match read + &c.to_string() {
                read if read.ends_with("-->") => Self::Text,
                read => Self::Comment(read),
            },
            Self::Code { close, read } => match read + &c.to_lowercase().to_string() {
                read if read.ends_with(&close) => Self::Tag(close[1..].to_owned()),
                read => Self::Code { close, read },
            },
        }
    }
}

fn tag(mut read: String, c: char) -> State {
    match c {
        '>' => {
            let name: String = read.chars().take_while(char::is_ascii_alphanumeric).collect();
            match name.to_lowercase().as_str() {
                name @ ("script" | "style" | "iframe" | "xmp" | "noscript" | "template") => {
                    State::Code { close: format!("</{name}"), read: String::new() }
                }
                _ => State::Text,
            }
        }
        '"' | '\'' if read.trim_end().ends_with('=') => {
            let before = read.trim_end().trim_end_matches('=').trim_end();
            let name = before.rsplit(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
            State::Attribute { name: name.to_lowercase(), tag: read, quote: c, begun: false }
        }
        c => {
            read.push(c);
            if read == "!--" { State::Comment(String::new()) } else { State::Tag(read) }
        }
    }
}
