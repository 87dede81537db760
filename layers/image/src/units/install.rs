//! Names of units, and what the `[Install]` section of one asks for (systemd.unit(5)).

use crate::Error;

/// The longest name of a unit (`UNIT_NAME_MAX`).
const NAME_MAX: usize = 255;
/// Every type of unit.
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "timer",
    "mount",
    "automount",
    "path",
    "slice",
    "scope",
    "swap",
    "device",
];

/// A valid name, taken apart: `prefix@instance.suffix` or `prefix.suffix`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub prefix: &'a str,
    /// Empty for a template; nothing for a plain unit.
    pub instance: Option<&'a str>,
    pub suffix: &'a str,
}

impl<'a> Name<'a> {
    /// # Errors
    /// When `text` is no name of a unit.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let parts = text.rsplit_once('.').filter(|(stem, suffix)| {
            SUFFIXES.contains(suffix)
                && !stem.is_empty()
                && !stem.starts_with('@')
                && stem.chars().all(known)
                && text.len() <= NAME_MAX
        });
        let Some((stem, suffix)) = parts else {
            return Err(Error::Units(format!(
                "`{}` is no name of a unit: expected one such as `ssh.service` or `getty@tty1.service`",
                text.escape_default()
            )));
        };
        Ok(match stem.split_once('@') {
            Some((prefix, instance)) => Self { prefix, instance: Some(instance), suffix },
            None => Self { prefix: stem, instance: None, suffix },
        })
    }

    /// The template of an instance.
    pub fn template(&self) -> Option<String> {
        self.instance.filter(|instance| !instance.is_empty()).and(Some(self.with_instance("")))
    }

    /// The same template's unit for another instance.
    pub fn with_instance(&self, instance: &str) -> String {
        format!("{}@{instance}.{}", self.prefix, self.suffix)
    }

    /// Whether `text` is this unit or, for a template, an instance of it.
    pub fn covers(&self, text: &str) -> bool {
        Name::parse(text).is_ok_and(|other| {
            let instances = self.instance == Some("") && other.instance.is_some();
            (other.prefix, other.suffix) == (self.prefix, self.suffix)
                && (instances || other.instance == self.instance)
        })
    }

    /// Replaces the specifiers of `text`, which is a value of the unit's `[Install]` section.
    ///
    /// # Errors
    /// When a specifier depends on the machine, or would make something else than a name.
    pub fn expand(&self, text: &str) -> Result<String, Error> {
        let stem = match self.instance {
            Some(instance) => format!("{}@{instance}", self.prefix),
            None => self.prefix.to_owned(),
        };
        let instance = self.instance.unwrap_or_default();
        let mut expanded = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => expanded.push('%'),
                Some('i') => expanded.push_str(instance),
                // Unescaping changes nothing but these two.
                Some('I') if !instance.contains(['-', '\\']) => expanded.push_str(instance),
                Some('j') => expanded.push_str(self.prefix.rsplit('-').next().unwrap_or_default()),
                Some('p') => expanded.push_str(self.prefix),
                Some('n') => expanded.push_str(&format!("{stem}.{}", self.suffix)),
                Some('N') => expanded.push_str(&stem),
                other => {
                    let specifier: String = other.into_iter().collect();
                    return Err(Error::Units(format!(
                        "unit `{stem}.{}` cannot be enabled: `%{specifier}` in `{text}` of its [Install] \
                         section is known on the host only: make the link with [files]",
                        self.suffix
                    )));
                }
            }
        }
        Name::parse(&expanded)?;
        Ok(expanded)
    }
}

/// The `[Install]` section of a unit.
#[derive(Debug, Default)]
pub(super) struct Install {
    pub wanted_by: Vec<String>,
    pub required_by: Vec<String>,
    pub upheld_by: Vec<String>,
    pub alias: Vec<String>,
    pub also: Vec<String>,
    pub default_instance: Option<String>,
}

impl Install {
    pub fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut inside = false;
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let mut words = value.split_whitespace().map(str::to_owned).peekable();
            let list = match key.trim() {
                "WantedBy" => &mut install.wanted_by,
                "RequiredBy" => &mut install.required_by,
                "UpheldBy" => &mut install.upheld_by,
                "Alias" => &mut install.alias,
                "Also" => &mut install.also,
                "DefaultInstance" => {
                    install.default_instance = words.next_back();
                    continue;
                }
                _ => continue,
            };
            // An empty value takes back the earlier ones.
            if words.peek().is_none() {
                list.clear();
            }
            list.extend(words);
        }
        install
    }

    pub fn is_empty(&self) -> bool {
        [&self.wanted_by, &self.required_by, &self.upheld_by, &self.alias, &self.also]
            .iter()
            .all(|list| list.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_known_suffix_and_no_slash() {
        for good in ["a.service", "a@.socket", "a@b-c.mount", "dev-disk-by\\x2dlabel.swap", "a.b.target"] {
            Name::parse(good).unwrap();
        }
        for bad in ["", "a", ".service", "@x.service", "a.conf", "../a.service", "a/b.service", "a\n.service"]
        {
            let message = Name::parse(bad).unwrap_err().to_string();
            assert!(message.contains("no name of a unit"), "{message}");
        }
    }

    #[test]
    fn specifiers_that_the_image_knows_are_replaced_and_others_refused() {
        let name = Name::parse("foo-bar@x.service").unwrap();
        for (text, expected) in [
            ("%p.target", "foo-bar.target"),
            ("%j@%i.target", "bar@x.target"),
            ("%N.socket", "foo-bar@x.socket"),
            ("%n", "foo-bar@x.service"),
            ("%I.target", "x.target"),
        ] {
            assert_eq!(name.expand(text).unwrap(), expected);
        }
        let escaped = Name::parse("foo@a-b.service").unwrap();
        for (name, text, reason) in
            [(name, "%H.target", "`%H`"), (name, "a%", "`%`"), (escaped, "%I.target", "`%I`")]
        {
            let message = name.expand(text).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("[Install]"), "{message}");
        }
        assert!(name.expand("../%p.target").is_err());
    }
}
