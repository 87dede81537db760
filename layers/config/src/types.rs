//! The types of parameters: what a value may be, and the one form it then has.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Kind, Node, Problem};

mod checks;
mod declared;
mod document;
mod expected;
mod form;
mod json;
mod nearest;
mod network;
mod overlay;
mod text;
mod url;

pub(crate) use declared::FIELDS;
use expected::choice;
pub use form::Form;
pub use nearest::nearest;

/// What a parameter's value may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
        /// Those between that are not allowed.
        except: Vec<i64>,
    },
    /// One of these whole numbers.
    Number(Vec<i64>),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this form; its value is a text.
    Text(Form),
    /// Values of one type in order.
    List {
        /// The type of each.
        of: Box<Type>,
        /// Whether no two may be equal.
        distinct: bool,
        /// How many there may be; empty for any number.
        lengths: Vec<usize>,
    },
    /// A mapping whose values may be anything.
    Object,
    /// A mapping of one of the forms that have a meaning of their own.
    Document(Document),
    /// The type, or the empty text.
    OrEmpty(Box<Type>),
    /// The type, or null.
    OrNull(Box<Type>),
}

/// Mappings with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// The overlay networks.
    Overlay,
    /// Health checks.
    Checks,
    /// Zones and the servers that answer for them.
    ForwardZones,
    /// Docker's `config.json`.
    DockerConfig,
    /// Kernel settings and their values.
    Sysctls,
}

/// What a value becomes, or everything that is wrong with it.
type Checked = Result<Value, Vec<Problem>>;

/// One thing that is wrong with the whole of `node`.
fn wrong(name: &str, node: &Node, message: impl Into<String>) -> Vec<Problem> {
    vec![Problem::new(&node.place, name, message)]
}

/// What was written, for messages: short, and on one line.
fn got(node: &Node) -> String {
    let quote = |text: String| match text.char_indices().nth(60) {
        Some((at, _)) => format!("`{}…`", &text[..at]),
        None => format!("`{text}`"),
    };
    match &node.kind {
        Kind::Bool(value) => quote(value.to_string()),
        Kind::Int(value) => quote(value.to_string()),
        Kind::Float(text) => quote(text.clone()),
        Kind::Text(text) if text.is_empty() => "the empty text".into(),
        Kind::Text(text) => quote(text.chars().flat_map(char::escape_debug).collect()),
        Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Refused => node.describe().into(),
    }
}

/// A decimal number without anything around it.
fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = match digits.as_bytes() {
        [b'0'] => text == "0",
        [first, ..] => *first != b'0' && digits.bytes().all(|byte| byte.is_ascii_digit()),
        [] => false,
    };
    if plain { text.parse().ok() } else { None }
}

impl Type {
    /// The value in the one form of this type; problems name the nested place, such as `master_list[1]`. What was
    /// refused already is an error without a problem.
    pub fn check(&self, name: &str, node: &Node) -> Result<Value, Vec<Problem>> {
        let expected = || self.expected();
        if node.kind == Kind::Refused {
            return Err(vec![]);
        }
        if node.kind == Kind::Null && !matches!(self, Self::OrNull(_)) {
            let fix = if name.contains(['.', '[']) { "" } else { "; leave it out to have its default" };
            return Err(wrong(name, node, format!("has no value, expected {}{fix}", expected())));
        }
        match self {
            Self::Boolean => match &node.kind {
                Kind::Bool(value) => Ok(Value::Bool(*value)),
                Kind::Text(text) if text == "true" => Ok(Value::Bool(true)),
                Kind::Text(text) if text == "false" => Ok(Value::Bool(false)),
                _ => Err(wrong(name, node, format!("is {}, expected {}", got(node), expected()))),
            },
            Self::Integer { min, max, except } => match whole(node) {
                Some(value) if except.contains(&value) => Err(wrong(
                    name,
                    node,
                    format!("is `{value}`, which is reserved; expected {}", expected()),
                )),
                Some(value) if (*min..=*max).contains(&value) => Ok(Value::from(value)),
                _ => Err(wrong(name, node, format!("is {}, expected {}", got(node), expected()))),
            },
            Self::Number(values) => match whole(node) {
                Some(value) if values.contains(&value) => Ok(Value::from(value)),
                _ => Err(wrong(name, node, format!("is {}, expected {}", got(node), expected()))),
            },
            Self::Choice(values) => {
                let text = text_of(node);
                if let Some(text) = text.as_ref().filter(|text| values.contains(text)) {
                    return Ok(Value::from(text.clone()));
                }
                let near = text.as_deref().and_then(|text| nearest(text, values.iter().map(String::as_str)));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                Err(wrong(name, node, format!("is {}, expected {}{hint}", got(node), expected())))
            }
            Self::Text(form) => {
                let Some(text) = text_of(node) else {
                    let fix = match node.kind {
                        Kind::Bool(_) | Kind::Float(_) => "; put quotes around it if it is a text",
                        _ => "",
                    };
                    let message = format!("is {}, expected {}{fix}", got(node), expected());
                    return Err(wrong(name, node, message));
                };
                form.check(&text).map(Value::from).map_err(|detail| match detail {
                    text::Wrong::Form => {
                        wrong(name, node, format!("is {}, expected {}", got(node), expected()))
                    }
                    text::Wrong::Because(detail) => {
                        wrong(name, node, format!("{detail}; expected {}", expected()))
                    }
                })
            }
            Self::List { of, distinct, lengths } => list(name, node, of, *distinct, lengths, &expected()),
            Self::Object => {
                let node = json::opened(name, node, &expected())?;
                match node.kind {
                    Kind::Map(_) => Ok(node.to_json()),
                    _ => Err(wrong(name, &node, format!("is {}, expected {}", got(&node), expected()))),
                }
            }
            Self::Document(document) => {
                let node = json::opened(name, node, &expected())?;
                document.check(name, &node)
            }
            Self::OrEmpty(kind) => match &node.kind {
                Kind::Text(text) if text.is_empty() => Ok(Value::from("")),
                _ => self.check_inner(kind, name, node),
            },
            Self::OrNull(kind) => match &node.kind {
                Kind::Null => Ok(Value::Null),
                Kind::Text(text) if text == "null" => Ok(Value::Null),
                // It was JSON in a text: `'"Hello"'` is the text Hello.
                Kind::Text(text) => match serde_json::from_str::<String>(text) {
                    Ok(inner) if inner == "null" || serde_json::from_str::<String>(&inner).is_ok() => {
                        Err(wrong(name, node, format!("is JSON in JSON, expected {}", expected())))
                    }
                    Ok(inner) => {
                        let inner = Node { place: node.place.clone(), kind: Kind::Text(inner) };
                        self.check_inner(kind, name, &inner)
                    }
                    Err(_) => self.check_inner(kind, name, node),
                },
                _ => self.check_inner(kind, name, node),
            },
        }
    }

    /// Checks by the type within this one; messages tell what is expected of the whole.
    fn check_inner(&self, inner: &Self, name: &str, node: &Node) -> Checked {
        let whole = |problem: Problem| match problem.message.strip_suffix(&inner.expected()) {
            Some(message) => Problem { message: format!("{message}{}", self.expected()), ..problem },
            None => problem,
        };
        inner.check(name, node).map_err(|problems| problems.into_iter().map(whole).collect())
    }
}

/// A whole number, also as a text.
fn whole(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Int(value) => Some(*value),
        Kind::Text(text) => decimal(text),
        _ => None,
    }
}

/// A text; also a whole number, which has one spelling only.
fn text_of(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Int(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Checks a list and each of its values.
fn list(name: &str, node: &Node, of: &Type, distinct: bool, lengths: &[usize], expected: &str) -> Checked {
    let node = json::opened(name, node, expected)?;
    let Kind::List(items) = &node.kind else {
        return Err(wrong(name, &node, format!("is {}, expected {expected}", got(&node))));
    };
    let mut problems = vec![];
    let mut whole = true;
    let mut values: Vec<Value> = vec![];
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let name = format!("{name}[{at}]");
        match of.check(&name, item) {
            Ok(value) if distinct && !seen.insert(value.to_string()) => {
                problems.extend(wrong(
                    &name,
                    item,
                    format!("is {} again, expected distinct values", got(item)),
                ));
            }
            Ok(value) => values.push(value),
            Err(found) => {
                whole = false;
                problems.extend(found);
            }
        }
    }
    if !lengths.is_empty() && !lengths.contains(&items.len()) {
        problems.extend(wrong(name, &node, format!("has {} values, expected {expected}", items.len())));
    }
    if whole && problems.is_empty() { Ok(Value::Array(values)) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
