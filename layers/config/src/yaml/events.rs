//! From the parser's events to values, one level after another.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::plain;
use crate::{Key, Kind, Node, Place, Problem};

/// Levels of lists and mappings within each other.
const DEEPEST: usize = 64;

/// The value of a text's one document, with what is refused marked in it; none for no document, and for a text of
/// which the rest is not certain.
pub fn load(text: &str, place: &dyn Fn(u32, u32) -> Place, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut reader = Reader { parser: Parser::new_from_str(text), place, problems, stopped: false };
    let mut root = None;
    let mut documents = 0;
    while let Some((event, span)) = reader.next() {
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if documents > 0 => {
                reader.stop(&span, "begins another document; expected one in a file");
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
    root.filter(|_| !reader.stopped)
}

/// What the key of an entry is.
enum Name {
    /// A text.
    Text(String),
    /// What cannot be one.
    Refused,
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    place: &'a dyn Fn(u32, u32) -> Place,
    problems: &'a mut Vec<Problem>,
    /// Whether it is not certain what the rest is.
    stopped: bool,
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
                self.stopped = true;
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

    /// Refuses what leaves the rest uncertain.
    fn stop(&mut self, span: &Span, message: impl Into<String>) {
        self.refuse(span, message);
        self.stopped = true;
    }

    /// Refuses the anchor and the tag of a value.
    fn refuse_properties(&mut self, event: &Event, span: &Span) -> bool {
        let (anchor, tag) = match event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor != 0, tag.is_some()),
            _ => (false, false),
        };
        if anchor {
            self.refuse(span, "has an anchor (`&`); write the value where it is used, and quote a text that begins with `&`");
        }
        if tag {
            self.refuse(span, "has a tag (`!`); remove it, and quote a text that begins with `!`");
        }
        anchor || tag
    }

    /// The value that begins with an event; none when the parser cannot go on.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Option<Node> {
        let place = self.at(span);
        let refused = self.refuse_properties(&event, span);
        let kind = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match plain::resolve(&text) {
                Ok(kind) => kind,
                Err(message) => {
                    self.refuse(span, message);
                    Kind::Refused
                }
            },
            Event::Scalar(text, ..) => Kind::Text(text.into_owned()),
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= DEEPEST => {
                self.stop(span, format!("is nested too deep, expected at most {DEEPEST} levels"));
                return None;
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) => {
                self.refuse(
                    span,
                    "has an alias (`*`); write the value itself, and quote a text that begins with `*`",
                );
                Kind::Refused
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                self.stop(span, "ends where a value was expected");
                return None;
            }
        };
        // What is in it was judged, but not what the anchor or the tag makes of it.
        Some(Node { place, kind: if refused { Kind::Refused } else { kind } })
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
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut whole = true;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                // Parameters have names: without an entry that has none, a file has all of them. In a value it may
                // be any entry that is missed.
                return Some(if whole { Kind::Map(entries) } else { Kind::Refused });
            }
            let place = self.at(&span);
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let name = self.key(event, &span, depth)?;
            let (event, span) = self.next()?;
            let node = self.node(event, &span, depth + 1)?;
            let Name::Text(name) = name else {
                whole &= depth == 0 && !merge;
                continue;
            };
            match seen.get(&name).map(|at| &mut entries[*at]) {
                Some((first, value)) => {
                    let message = format!("is there twice, first at {}; remove one", first.place);
                    self.problems.push(Problem::new(&place, name, message));
                    // Which of them is meant is not known.
                    value.kind = Kind::Refused;
                }
                None => {
                    seen.insert(name.clone(), entries.len());
                    entries.push((Key { name, place }, node));
                }
            }
        }
    }

    /// The name of an entry; none when the parser cannot go on.
    fn key(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Option<Name> {
        let Event::Scalar(text, style, ..) = &event else {
            let alias = matches!(event, Event::Alias(_));
            self.node(event, span, depth + 1)?;
            if !alias {
                self.refuse(span, "is a key that is a list or a mapping, expected a text; quote it if it begins with `[` or `{`");
            }
            return Some(Name::Refused);
        };
        self.refuse_properties(&event, span);
        if *style != ScalarStyle::Plain {
            return Some(Name::Text(text.to_string()));
        }
        let message = match plain::resolve(text) {
            _ if text == "<<" => "is a merge key (`<<`); write the entries themselves".into(),
            Ok(Kind::Text(name)) => return Some(Name::Text(name)),
            Ok(_) => format!("is the key `{text}`, which is no text; quote it"),
            Err(message) => message,
        };
        self.refuse(span, message);
        Some(Name::Refused)
    }
}
