//! What a tree, or an operator, adds to the parameters and files that are built in.

use std::collections::BTreeMap;

use crate::render::FileTable;
use crate::{Place, Problem, Problems};

/// The declarations of parameters.
const PARAMETERS: &str = "parameters.toml";
/// The declarations of files.
const FILES: &str = "files.toml";
/// The directory of the templates.
const TEMPLATES: &str = "templates/";

/// An extension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extension {
    /// Its `parameters.toml` for [`Table::extend`](crate::Table::extend): name for messages, and text.
    pub parameters: Option<(String, String)>,
    /// Its files.
    pub files: FileTable,
}

impl Extension {
    /// An extension from its files by path; `name` is its directory, for messages.
    ///
    /// # Errors
    /// Everything that is wrong with its list of files and its templates, and files that are none of these.
    pub fn read(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (path, bytes) in files {
            let place = Place::file(&format!("{name}/{path}"));
            let is_ours = path == PARAMETERS || path == FILES || path.starts_with(TEMPLATES);
            if !is_ours {
                // People may leave a note, but a slip in a name must not pass for one.
                if !path.to_lowercase().starts_with("readme") {
                    problems.push(Problem::new(
                        &place,
                        "",
                        "expected only parameters.toml, files.toml, templates/ and README files here",
                    ));
                }
                continue;
            }
            match std::str::from_utf8(bytes) {
                Ok(text) => drop(texts.insert(path, text.to_owned())),
                Err(error) => {
                    let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
                    let place = Place { line: u32::try_from(line).unwrap_or_default(), ..place };
                    problems.push(Problem::new(&place, "", "expected UTF-8"));
                }
            }
        }
        let templates = texts
            .iter()
            .filter_map(|(path, text)| Some((path.strip_prefix(TEMPLATES)?.to_owned(), text.clone())))
            .collect();
        let directory = format!("{name}/{}", TEMPLATES.trim_end_matches('/'));
        let list = texts.get(FILES).map_or("", String::as_str);
        let table = FileTable::parse(&format!("{name}/{FILES}"), list, &directory, &templates);
        let table = table.unwrap_or_else(|found| {
            problems.extend(found.0);
            FileTable::default()
        });
        Problems::check(problems)?;
        let parameters = texts.remove(PARAMETERS).map(|text| (format!("{name}/{PARAMETERS}"), text));
        Ok(Self { parameters, files: table })
    }

    /// The extensions of a tree, from the files of its `config/` with paths such as `config/NAME/files.toml`.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read_all(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Self>, Problems> {
        let mut problems = Vec::new();
        let mut named: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for (path, bytes) in files {
            match path.strip_prefix("config/").unwrap_or(path).split_once('/') {
                Some((name, rest)) => {
                    named.entry(format!("config/{name}")).or_default().insert(rest.to_owned(), bytes.clone());
                }
                None if path.to_lowercase().contains("readme") => {}
                None => problems.push(Problem::new(
                    &Place::file(path),
                    "",
                    "expected directories here, each with parameters.toml, files.toml and templates/",
                )),
            }
        }
        let mut extensions = Vec::new();
        for (name, files) in named {
            match Self::read(&name, &files) {
                Ok(extension) => extensions.push(extension),
                Err(found) => problems.extend(found.0),
            }
        }
        Problems::check(problems)?;
        Ok(extensions)
    }
}
