//! A value somebody wrote, with the place of each of its parts.

use serde_json::Value;

use crate::Place;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing: `null`, `~` or empty.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal number without fraction.
    Int(i64),
    /// A number with a fraction or an exponent, as it was written.
    Float(String),
    /// A text.
    Text(String),
    /// Values in order.
    List(Vec<Node>),
    /// Keys and values in the order they were written; no key twice.
    Map(Vec<(Key, Node)>),
    /// What the reader has refused, and told of already.
    Refused,
}

/// The key of an entry and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it begins.
    pub place: Place,
}

impl Node {
    /// A value of JSON that was written at `place` as a whole.
    pub fn from_json(value: &Value, place: &Place) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Kind::Float(number.to_string()), Kind::Int)
            }
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => {
                Kind::List(items.iter().map(|item| Self::from_json(item, place)).collect())
            }
            Value::Object(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|(name, value)| {
                        let key = Key { name: name.clone(), place: place.clone() };
                        (key, Self::from_json(value, place))
                    })
                    .collect(),
            ),
        };
        Self { place: place.clone(), kind }
    }

    /// The value without its places. Numbers with a fraction that JSON cannot hold become texts.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Refused => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::from(*value),
            Kind::Float(text) => text.parse().ok().map_or_else(|| Value::from(text.clone()), Value::Number),
            Kind::Text(text) => Value::from(text.clone()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect()
            }
        }
    }

    /// What it is, for messages: `a number`.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Refused => "refused",
        }
    }

    /// Whether it, or something in it, was refused.
    pub fn has_refused(&self) -> bool {
        match &self.kind {
            Kind::Refused => true,
            Kind::List(items) => items.iter().any(Self::has_refused),
            Kind::Map(entries) => entries.iter().any(|(_, node)| node.has_refused()),
            _ => false,
        }
    }
}
