//! The effective configuration as people and programs read it: each value and where it came from.

use serde_json::{Value, json};

use crate::{Effective, Note, Resolved, Source};

/// What stands for a secret.
pub const HIDDEN: &str = "**HIDDEN**";
/// How many characters of a value a line shows.
const SHOWN: usize = 100;

/// One line for each parameter, which read as YAML as long as no value is cut, then the notes.
pub fn text(effective: &Effective, notes: &[Note]) -> String {
    let mut text = String::new();
    for (name, resolved) in &effective.0 {
        text += &format!("{name}: {}  # {}\n", cut(&shown(resolved).to_string()), source(&resolved.source));
    }
    for note in notes {
        text += &format!("note: {note}\n");
    }
    text
}

/// All of it: `parameters` by name with `value`, `source` and `secret`, and `notes`.
pub fn json(effective: &Effective, notes: &[Note]) -> Value {
    let parameter = |(name, resolved): (&String, &Resolved)| {
        let source = source(&resolved.source);
        (name.clone(), json!({"value": shown(resolved), "source": source, "secret": resolved.secret}))
    };
    let note =
        |note: &Note| json!({"place": note.place.to_string(), "name": note.name, "message": note.message});
    json!({
        "parameters": effective.0.iter().map(parameter).collect::<serde_json::Map<_, _>>(),
        "notes": notes.iter().map(note).collect::<Vec<_>>(),
    })
}

/// The values that are not secret, by name.
pub fn public_values(effective: &Effective) -> serde_json::Map<String, Value> {
    let public = effective.0.iter().filter(|(_, resolved)| !resolved.secret);
    public.map(|(name, resolved)| (name.clone(), resolved.value.clone())).collect()
}

/// Where a value came from, in words.
pub fn source(source: &Source) -> String {
    // The line says enough: what was written stands there.
    let line = |place: &crate::Place| crate::Place { column: 0, ..place.clone() }.to_string();
    match source {
        Source::Written(place) => line(place),
        Source::Default => "default".to_owned(),
        Source::Extension(place) => format!("set by {}", line(place)),
        Source::Calculated(from) if from.is_empty() => "calculated".to_owned(),
        Source::Calculated(from) => format!("calculated from {}", from.join(", ")),
        Source::Given(what) => format!("from {what}"),
    }
}

fn shown(resolved: &Resolved) -> Value {
    if resolved.secret { json!(HIDDEN) } else { resolved.value.clone() }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::{Effective, Note, Place, Resolved, Source};

    fn example() -> (Effective, Vec<Note>) {
        let place = |file: &str, line, column| Place { file: file.into(), line, column };
        let entry =
            |name: &str, value: Value, source, secret| (name.to_owned(), Resolved { value, source, secret });
        let effective = BTreeMap::from([
            entry(
                "a_written",
                json!("x: y # z"),
                Source::Written(place("genconf/config.yaml", 3, 12)),
                false,
            ),
            entry("b_set", json!([1, 2]), Source::Written(place("--set", 0, 0)), false),
            entry("c_default", json!(true), Source::Default, false),
            entry(
                "d_extended",
                json!(5),
                Source::Extension(place("tree/config/x/parameters.toml", 4, 1)),
                false,
            ),
            entry("e_calculated", json!(7), Source::Calculated(vec!["a".into(), "b".into()]), false),
            entry("f_given", json!("0123"), Source::Given("artifacts"), false),
            entry("g_secret", json!("hunter2"), Source::Written(place("genconf/config.yaml", 4, 1)), true),
            entry("h_long", json!("é".repeat(200)), Source::Default, false),
        ]);
        let note = Note {
            place: place("genconf/config.yaml", 9, 1),
            name: "s3_bucket".to_owned(),
            message: "has no effect".to_owned(),
        };
        (Effective(effective), vec![note])
    }

    #[test]
    fn the_text_says_where_values_come_from() {
        let (effective, notes) = example();
        let long = format!("\"{}…", "é".repeat(99));
        let expected = format!(
            "a_written: \"x: y # z\"  # genconf/config.yaml:3\n\
             b_set: [1,2]  # --set\n\
             c_default: true  # default\n\
             d_extended: 5  # set by tree/config/x/parameters.toml:4\n\
             e_calculated: 7  # calculated from a, b\n\
             f_given: \"0123\"  # from artifacts\n\
             g_secret: \"**HIDDEN**\"  # genconf/config.yaml:4\n\
             h_long: {long} (402 bytes)  # default\n\
             note: genconf/config.yaml:9:1: `s3_bucket` has no effect\n"
        );
        assert_eq!(super::text(&effective, &notes), expected);
    }

    #[test]
    fn the_document_is_whole_but_for_secrets() {
        let (effective, notes) = example();
        let document = super::json(&effective, &notes);
        let written = json!({"value": "x: y # z", "source": "genconf/config.yaml:3", "secret": false});
        assert_eq!(document["parameters"]["a_written"], written);
        let secret = json!({"value": "**HIDDEN**", "source": "genconf/config.yaml:4", "secret": true});
        assert_eq!(document["parameters"]["g_secret"], secret);
        assert_eq!(document["parameters"]["h_long"]["value"], json!("é".repeat(200)));
        let note =
            json!([{"place": "genconf/config.yaml:9:1", "name": "s3_bucket", "message": "has no effect"}]);
        assert_eq!(document["notes"], note);
        assert!(!document.to_string().contains("hunter2"));
        assert_eq!(super::public_values(&effective).len(), 7);
        assert!(!super::public_values(&effective).contains_key("g_secret"));
    }
}
