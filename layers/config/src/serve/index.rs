//! The page of a serve directory for people.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::Item;
use crate::Error;
use crate::escape::Syntax;
use crate::template::Template;

/// Its name.
const NAME: &str = "index.html";
/// Its text.
const TEMPLATE: &str = include_str!("../../index.html");

/// What the page says.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The name of the cluster.
    pub cluster_name: &'a str,
    /// Where hosts reach the serve directory.
    pub bootstrap_url: &'a str,
    /// The id of the configuration.
    pub config_id: &'a str,
    /// Whether hosts need secrets from elsewhere.
    pub secrets: bool,
    /// Paths of examples for other tools.
    pub examples: &'a [String],
    /// Everything that hosts fetch.
    pub files: Vec<Row>,
}

/// A file on the page.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its digest.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Page<'_> {
    /// The page.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn item(&self) -> Result<Item, Error> {
        let url = quoted(&format!("{}/dcos_install.sh", self.bootstrap_url));
        let commands =
            format!("curl --fail --location --output dcos_install.sh {url}\nbash dcos_install.sh ROLE");
        let values = BTreeMap::from([
            ("cluster_name".to_owned(), json!(self.cluster_name)),
            ("config_id".to_owned(), json!(self.config_id)),
            ("commands".to_owned(), json!(commands)),
            ("secrets".to_owned(), json!(self.secrets)),
            ("examples".to_owned(), json!(self.examples)),
            ("files".to_owned(), json!(self.files)),
        ]);
        let text = Template::new(NAME, TEMPLATE)
            .render(Syntax::Html, &values)
            .map_err(|problem| Error::Render { what: NAME.to_owned(), reason: problem.to_string() })?;
        Ok(Item::bytes(NAME, text))
    }
}

/// A text as one word of a shell, for people to copy.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::Source;

    #[test]
    fn what_an_operator_wrote_is_only_ever_text() {
        let examples = ["examples/cloud-init.yaml".to_owned()];
        let page = Page {
            cluster_name: "<script>alert(1)</script>",
            bootstrap_url: "http://x/'; rm -rf / #",
            config_id: "0a",
            secrets: true,
            examples: &examples,
            files: vec![Row {
                name: "a\"b".to_owned(),
                path: "x".to_owned(),
                sha256: "0".to_owned(),
                size: 1,
            }],
        };
        let item = page.item().unwrap();
        let Source::Bytes(bytes) = &item.source else { panic!() };
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(!text.contains("<script>"), "{text}");
        assert!(text.contains("&lt;script&gt;") && text.contains("a&quot;b") && text.contains("--secrets"));
        let command = r"'http://x/'\''; rm -rf / #/dcos_install.sh'".replace('\'', "&#39;");
        assert!(text.contains(&command), "{text}");
    }
}
