//! Types as schemas. Every value may also be written as the text that it was in DC/OS.

use serde_json::{Value, json};

use super::condition::spellings;
use crate::{Document, Form, Type};

pub(super) fn schema(kind: &Type) -> Value {
    match kind {
        Type::Boolean => json!({"enum": spellings(&[json!(true), json!(false)])}),
        Type::Integer { min, max, except } => {
            let mut number = json!({"type": "integer"});
            if *min != i64::MIN {
                number["minimum"] = json!(min);
            }
            if *max != i64::MAX {
                number["maximum"] = json!(max);
            }
            if !except.is_empty() {
                let all: Vec<_> = except.iter().map(|value| json!(value)).collect();
                number["not"] = json!({"enum": spellings(&all)});
            }
            json!({"anyOf": [number, {"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"}]})
        }
        Type::Number(values) => {
            let values: Vec<_> = values.iter().map(|value| json!(value)).collect();
            json!({"enum": spellings(&values)})
        }
        Type::Choice(values) => json!({"enum": values}),
        Type::Text(form) => text(*form),
        Type::List { of, distinct, lengths } => {
            let mut list = json!({"type": "array", "items": schema(of)});
            if *distinct {
                list["uniqueItems"] = json!(true);
            }
            if !lengths.is_empty() {
                let length = |length: &usize| json!({"minItems": length, "maxItems": length});
                list["anyOf"] = lengths.iter().map(length).collect();
            }
            json!({"anyOf": [list, {"type": "string", "pattern": r"^\s*\["}]})
        }
        Type::Object => or_json(json!({"type": "object"})),
        Type::Document(document) => or_json(self::document(*document)),
        Type::OrEmpty(kind) => json!({"anyOf": [{"const": ""}, schema(kind)]}),
        Type::OrNull(kind) => {
            // JSON in a text was the way to write any of these.
            json!({"anyOf": [{"enum": [null, "null"]}, schema(kind), {"type": "string", "pattern": "^\\s*\""}]})
        }
    }
}

/// A mapping, or the text of one.
fn or_json(mapping: Value) -> Value {
    json!({"anyOf": [mapping, {"type": "string", "pattern": r"^\s*\{"}]})
}

/// Texts may be written as whole numbers where their digits are one.
fn text(form: Form) -> Value {
    let pattern = match form {
        Form::Url | Form::BaseUrl => r"^[A-Za-z]+://",
        Form::HttpsUrl | Form::HttpsBaseUrl => r"^[Hh][Tt][Tt][Pp][Ss]://",
        Form::AbsolutePath | Form::ZooKeeperPath => "^/",
        Form::Ipv4 => r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$",
        Form::Ipv6 => r"^[0-9A-Fa-f:.]+$",
        Form::Ipv4Network => r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$",
        Form::Ipv6Network => r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
        Form::Server | Form::Resolver => r"^[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]{1,5})?$",
        Form::RsaPublicKey => "-----BEGIN ",
        Form::Line
        | Form::Lines
        | Form::Proxy
        | Form::Word
        | Form::RelativePath
        | Form::FileName
        | Form::File
        | Form::KeyPrefix
        | Form::DnsSearch
        | Form::Duration
        | Form::Size
        | Form::Colour
        | Form::FrameOptions
        | Form::ZooKeeperHosts
        | Form::Weights
        | Form::ProxyException
        | Form::Module
        | Form::Command => return json!({"type": ["string", "integer"]}),
    };
    json!({"type": "string", "pattern": pattern})
}

fn document(document: Document) -> Value {
    match document {
        Document::Overlay => json!({
            "type": "object",
            "properties": {"overlays": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["name"]}}},
            "required": ["overlays"],
        }),
        Document::Checks => json!({
            "type": "object",
            "properties": {"cluster_checks": {"type": "object"}, "node_checks": {"type": "object"}},
            "additionalProperties": false,
        }),
        Document::ForwardZones => json!({
            "type": "object",
            "additionalProperties": schema(&Type::List {
                of: Box::new(Type::Text(Form::Server)),
                distinct: true,
                lengths: Vec::new(),
            }),
        }),
        Document::Sysctls => json!({
            "type": "object",
            "additionalProperties": {"type": ["string", "integer"]},
        }),
        Document::DockerConfig => json!({"type": "object"}),
    }
}
