//! A type as a table of parameters declares it.

use super::{Document, Form, Type, choice, decimal, document, form, nearest, wrong};
use crate::{Key, Kind, Node, Problem};

/// The keys that declare a type, in a parameter and in `of`.
pub const FIELDS: &[&str] = &["type", "values", "min", "max", "except", "of", "distinct", "lengths", "or"];

const OTHERS: &[&str] = &["boolean", "integer", "port", "choice", "list", "object"];

impl Type {
    /// The type that these keys of a table of parameters declare; others are not looked at.
    pub fn declared(name: &str, node: &Node, entries: &[(Key, Node)]) -> Result<Self, Vec<Problem>> {
        let find = |field: &str| entries.iter().find(|(key, _)| key.name == field).map(|(_, node)| node);
        let Some(type_node) = find("type") else {
            return Err(wrong(name, node, "lacks `type`"));
        };
        let Kind::Text(type_name) = &type_node.kind else {
            return Err(wrong(name, type_node, "has a `type` that is not a text"));
        };
        let numbers = |field: &str| find(field).map_or(Ok(vec![]), |node| numbers(name, field, node));
        let number = |field: &str, default: i64| match find(field) {
            Some(node) => super::whole(node)
                .ok_or_else(|| wrong(name, node, format!("has a `{field}` that is no number"))),
            None => Ok(default),
        };
        let (kind, fields): (Self, &[&str]) = match type_name.as_str() {
            "boolean" => (Self::Boolean, &[]),
            "port" => (Self::Integer { min: 1, max: 65535, except: vec![] }, &[]),
            "integer" => {
                let (min, max) = (number("min", i64::MIN)?, number("max", i64::MAX)?);
                (Self::Integer { min, max, except: numbers("except")? }, &["min", "max", "except"])
            }
            "choice" => {
                let Some(values) = find("values") else {
                    return Err(wrong(name, type_node, "is a choice without `values`"));
                };
                (chosen(name, values)?, &["values"])
            }
            "list" => {
                let of = match find("of") {
                    Some(Node { kind: Kind::Map(entries), place }) => {
                        Self::declared(name, &Node { place: place.clone(), kind: Kind::Null }, entries)?
                    }
                    Some(node) => {
                        let key = Key { name: "type".into(), place: node.place.clone() };
                        Self::declared(name, node, &[(key, node.clone())])?
                    }
                    None => {
                        return Err(wrong(name, type_node, "is a list without `of`, the type of its values"));
                    }
                };
                let distinct = match find("distinct") {
                    None => false,
                    Some(Node { kind: Kind::Bool(value), .. }) => *value,
                    Some(node) => {
                        return Err(wrong(name, node, "has a `distinct` that is not true or false"));
                    }
                };
                let lengths = numbers("lengths")?.into_iter().map(|length| length as usize).collect();
                (Self::List { of: Box::new(of), distinct, lengths }, &["of", "distinct", "lengths"])
            }
            "object" => (Self::Object, &[]),
            other => match (Form::named(other), Document::named(other)) {
                (Some(form), _) => (Self::Text(form), &[]),
                (None, Some(document)) => (Self::Document(document), &[]),
                (None, None) => return Err(wrong(name, type_node, unknown(other))),
            },
        };
        for (key, node) in entries.iter().filter(|(key, _)| FIELDS.contains(&key.name.as_str())) {
            if !["type", "or"].contains(&key.name.as_str()) && !fields.contains(&key.name.as_str()) {
                return Err(wrong(
                    name,
                    node,
                    format!("has `{}`, which `{type_name}` does not take", key.name),
                ));
            }
        }
        match find("or").map(|node| (&node.kind, node)) {
            None => Ok(kind),
            Some((Kind::Text(or), _)) if or == "empty" => Ok(Self::OrEmpty(Box::new(kind))),
            Some((Kind::Text(or), _)) if or == "null" => Ok(Self::OrNull(Box::new(kind))),
            Some((_, node)) => Err(wrong(name, node, "has an `or` that is neither `empty` nor `null`")),
        }
    }
}

fn unknown(name: &str) -> String {
    let forms = form::FORMS.iter().map(|(_, name, _)| *name);
    let documents = document::DOCUMENTS.iter().map(|(_, name, _)| *name);
    let mut known: Vec<&str> = OTHERS.iter().copied().chain(forms).chain(documents).collect();
    known.sort_unstable();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("has a `type` that is not known; did you mean `{near}`?"),
        None => format!("has a `type` that is not known, expected {}", choice(known.into_iter())),
    }
}

fn numbers(name: &str, field: &str, node: &Node) -> Result<Vec<i64>, Vec<Problem>> {
    let message = || wrong(name, node, format!("has a `{field}` that is not a list of numbers"));
    let Kind::List(items) = &node.kind else { return Err(message()) };
    items.iter().map(|item| super::whole(item).ok_or_else(message)).collect()
}

/// One of numbers, or one of texts.
fn chosen(name: &str, node: &Node) -> Result<Type, Vec<Problem>> {
    let message = || wrong(name, node, "has `values` that are not a list of texts or a list of numbers");
    let Kind::List(items) = &node.kind else { return Err(message()) };
    let number = |node: &Node| matches!(node.kind, Kind::Int(_)).then(|| super::whole(node)).flatten();
    if let Some(numbers) = items.iter().map(number).collect::<Option<Vec<_>>>().filter(|n| !n.is_empty()) {
        return Ok(Type::Number(numbers));
    }
    let text = |node: &Node| match &node.kind {
        Kind::Text(text) if decimal(text).is_none() => Some(text.clone()),
        _ => None,
    };
    let texts = items.iter().map(text).collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty());
    texts.map(Type::Choice).ok_or_else(message)
}
