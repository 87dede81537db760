//! From the parser's events to values, one level after another.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::plain;
use crate::{Key, Kind, Node, Place, Problem, Problems};

/// Levels of lists and mappings within each other.
const DEEPEST: usize = 64;

/// The value of a text's one document; none for no document.
pub fn load(text: &str, place: &dyn Fn(u32, u32) -> Place) -> Result<Option<Node>, Problems> {
    let mut reader = Reader { parser: Parser::new_from_str(text), place, problems: vec![] };
    let mut root = None;
    let mut documents = 0;
    while let Some((event, span)) = reader.next() {
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if documents > 0 => {
                reader.refuse(&span, "begins another document; expected one in a file");
                break;
            }
            Event::DocumentStart(_) => documents += 1,
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            event => match reader.node(event, &span, 0) {
                Some(node) => root = Some(node),
                None => break,
            },
        }
    }
    Problems::check(reader.problems)?;
    Ok(root)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    place: &'a dyn Fn(u32, u32) -> Place,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// The next event; none after the last, and after what is no YAML.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        match self.parser.next_event()? {
            Ok(event) => Some(event),
            Err(error) => {
                let place = (self.place)(error.marker().line() as u32, error.marker().col() as u32 + 1);
                let message = format!("is not YAML: {}", error.info().replace('\n', " "));
                self.problems.push(Problem::new(&place, "", message));
                None
            }
        }
    }

    fn at(&self, span: &Span) -> Place {
        (self.place)(span.start.line() as u32, span.start.col() as u32 + 1)
    }

    fn refuse(&mut self, span: &Span, message: impl Into<String>) {
        let problem = Problem::new(&self.at(span), "", message);
        self.problems.push(problem);
    }

    /// The value that begins with an event; none when the parser cannot go on.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Option<Node> {
        let place = self.at(span);
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.as_ref()),
            _ => (0, None),
        };
        if anchor != 0 {
            self.refuse(span, "has an anchor (`&`); write the value where it is used, and quote a text that begins with `&`");
        }
        if tag.is_some() {
            self.refuse(span, "has a tag (`!`); remove it, and quote a text that begins with `!`");
        }
        let kind = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match plain::resolve(&text) {
                Ok(kind) => kind,
                Err(message) => {
                    self.refuse(span, message);
                    Kind::Null
                }
            },
            Event::Scalar(text, ..) => Kind::Text(text.into_owned()),
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= DEEPEST => {
                self.refuse(span, format!("is nested too deep, expected at most {DEEPEST} levels"));
                return None;
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) => {
                self.refuse(
                    span,
                    "has an alias (`*`); write the value itself, and quote a text that begins with `*`",
                );
                Kind::Null
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                self.refuse(span, "ends where a value was expected");
                return None;
            }
        };
        Some(Node { place, kind })
    }

    fn list(&mut self, depth: usize) -> Option<Kind> {
        let mut items = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(Kind::List(items)),
                (event, span) => items.push(self.node(event, &span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Kind> {
        let mut entries: Vec<(Key, Node)> = vec![];
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Some(Kind::Map(entries));
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let plain = match &event {
                Event::Scalar(text, ScalarStyle::Plain, ..) => Some(text.to_string()),
                _ => None,
            };
            let before = self.problems.len();
            let key = self.node(event, &span, depth + 1)?;
            let trap = self.problems.len() > before;
            let name = match (key.kind, plain) {
                _ if merge => {
                    self.refuse(&span, "is a merge key (`<<`); write the entries themselves");
                    None
                }
                (Kind::Text(name), _) => Some(name),
                _ if trap => None,
                (_, Some(plain)) => {
                    self.refuse(&span, format!("is the key `{plain}`, which is no text; quote it"));
                    None
                }
                (Kind::List(_) | Kind::Map(_), None) => {
                    self.refuse(&span, "is a key that is a list or a mapping, expected a text; quote it if it begins with `[` or `{`");
                    None
                }
                (_, None) => None,
            };
            let (event, span) = self.next()?;
            let node = self.node(event, &span, depth + 1)?;
            let Some(name) = name else { continue };
            if let Some(first) = seen.get(&name) {
                let message = format!("is there twice, first at {first}; remove one");
                self.problems.push(Problem::new(&key.place, name, message));
            } else {
                seen.insert(name.clone(), key.place.clone());
                entries.push((Key { name, place: key.place }, node));
            }
        }
    }
}
