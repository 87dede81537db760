//! `bake.toml`: images, host policy and what packages are built with, as data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bake_image::policy::{File, Kernel, Mount, Units, User};
use bake_image::{HostPolicy, Loader, ReadOnly, ReadOnlyFormat, Signing, Size};
use serde::Deserialize;
use toml::Table;
use toml::de::{DeTable, DeValue};

use crate::error::Failure;

/// The revision of the format that this version reads and writes.
const FORMAT_REVISION: &str = "1";
/// The largest file that a `source` may bring into an image, in bytes; larger ones belong into an overlay.
const SOURCE_LIMIT: u64 = 64 << 20;

/// A whole `bake.toml`.
#[derive(Debug)]
pub struct Spec {
    /// The images, in the order of the file.
    pub images: Vec<ImageEntry>,
    /// Host policy of every image.
    pub policy: HostPolicy,
    /// Profiles of its own, by name.
    pub profiles: BTreeMap<String, Table>,
    /// How packages are built.
    pub build: Build,
    /// What recipes are built in, by the name that their `docker` field gives; `default` for the rest.
    pub builders: BTreeMap<String, Builder>,
    /// Where the file lies; relative paths in it start there.
    pub directory: PathBuf,
}

/// The file as it is written. Every table has a field of its own: flattened ones lose the lines of their errors.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    /// Judged before all else; here so that it cannot be left out.
    #[serde(rename = "format-revision")]
    _format_revision: u32,
    #[serde(default, rename = "image")]
    images: Vec<ImageEntry>,
    #[serde(default)]
    units: Units,
    #[serde(default)]
    kernel: Kernel,
    #[serde(default)]
    users: BTreeMap<String, User>,
    #[serde(default)]
    files: BTreeMap<String, File>,
    #[serde(default)]
    mounts: BTreeMap<String, Mount>,
    #[serde(default)]
    profiles: BTreeMap<String, Table>,
    #[serde(default)]
    build: Build,
    #[serde(default)]
    builders: BTreeMap<String, Builder>,
}

/// `[build]`: how packages are built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Build {
    /// Where downloads are tried first: for URLs that begin with a key, its value stands in for it.
    pub mirrors: BTreeMap<String, String>,
    /// Directories and URLs that may have packages already.
    pub repositories: Vec<String>,
    /// Public keys of minisign, or their files: whose signatures on manifests of repositories count.
    pub trusted_keys: Vec<String>,
    /// Seconds that the build of one package may take.
    pub timeout: Option<u64>,
}

/// One of `[builders]`: a root file system that packages are built in.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Builder {
    /// Anything that `bake image` takes as one.
    pub rootfs: PathBuf,
    /// What its digest has to be.
    pub sha256: Option<String>,
}

/// One `[[image]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImageEntry {
    /// Name of the image.
    pub name: Option<String>,
    /// Root file system.
    pub rootfs: Option<PathBuf>,
    /// Architecture to take out of it.
    pub arch: Option<String>,
    /// Distribution family.
    pub profile: Option<String>,
    /// Requirements of the profile that are not checked.
    pub skip: Vec<String>,
    /// Overlays, in order.
    pub overlays: Vec<PathBuf>,
    /// Whether directories among them keep owners, modes and times.
    pub preserve: bool,
    /// Bootstrap tarball.
    pub product: Option<PathBuf>,
    /// Fixed roles.
    pub roles: Vec<String>,
    /// Container formats, or the one of a system extension.
    pub formats: Vec<String>,
    /// Where hosts fetch a system extension.
    pub url: Option<String>,
    /// Size of the disk.
    pub size: Option<Size>,
    /// Percentage to leave free.
    pub free: Option<u8>,
    /// Logical sector size.
    pub sector_size: Option<u32>,
    /// Boot loader.
    pub loader: Option<Loader>,
    /// What is read-only.
    pub read_only: Option<ReadOnly>,
    /// Its file system.
    pub read_only_format: Option<ReadOnlyFormat>,
    /// Who signs what UEFI starts.
    pub sign: Option<Signing>,
    /// Newest time in the image.
    pub epoch: Option<u64>,
}

/// The keys that each table knows, by its path; `*` is a name that the user chooses.
const KNOWN: [(&str, &[&str]); 9] = [
    (
        "",
        &[
            "format-revision",
            "image",
            "units",
            "kernel",
            "users",
            "files",
            "mounts",
            "profiles",
            "build",
            "builders",
        ],
    ),
    (
        "image",
        &[
            "name",
            "rootfs",
            "arch",
            "profile",
            "skip",
            "overlays",
            "preserve",
            "product",
            "roles",
            "formats",
            "url",
            "size",
            "free",
            "sector-size",
            "loader",
            "read-only",
            "read-only-format",
            "sign",
            "epoch",
        ],
    ),
    ("units", &["enable", "disable", "mask"]),
    ("kernel", &["args"]),
    ("users.*", &["uid", "group", "groups", "home", "shell", "password-hash", "authorized-keys"]),
    ("files.*", &["content", "source", "link", "mode", "owner", "group"]),
    ("mounts.*", &["source", "type", "options"]),
    ("build", &["mirrors", "repositories", "trusted-keys", "timeout"]),
    ("builders.*", &["rootfs", "sha256"]),
];

impl Spec {
    /// Reads a spec file. Files that it names by `source` are read too.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense: unknown keys all at once, with the nearest known one.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("reading `{shown}` failed: {error}")))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut spec =
            Self::parse(&text).map_err(|problem| Failure::usage(format!("`{shown}`: {problem}")))?;
        for (name, file) in &mut spec.policy.files {
            let Some(source) = file.source.take() else { continue };
            let at = directory.join(&source);
            let content = read_source(&at).map_err(|reason| {
                Failure::new(format!("`{shown}`: files.\"{name}\": `{}`: {reason}", at.display()))
            })?;
            file.bytes = Some(content);
        }
        Ok(Self { directory, ..spec })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?;
        let revision = table.get_ref().get("format-revision").and_then(|value| value.get_ref().as_integer());
        if let Some(found) = revision.map(ToString::to_string).filter(|found| *found != FORMAT_REVISION) {
            return Err(format!("`format-revision` is {found}: this version knows {FORMAT_REVISION}"));
        }
        let mut problems = Vec::new();
        check_table(text, "", table.get_ref(), &mut problems);
        if !problems.is_empty() {
            return Err(problems.join("\n  "));
        }
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        let Document { images, units, kernel, users, files, mounts, profiles, build, builders, .. } =
            document;
        let policy = HostPolicy { units, kernel, users, files, mounts };
        Ok(Self { images, policy, profiles, build, builders, directory: PathBuf::new() })
    }
}

fn read_source(path: &Path) -> Result<Vec<u8>, String> {
    let len = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len > SOURCE_LIMIT {
        return Err(format!("{len} bytes are too many for a file of the spec: use an overlay"));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// Finds unknown keys in `table`, whose path is `at`, and in all below it.
fn check_table(text: &str, at: &str, table: &DeTable<'_>, problems: &mut Vec<String>) {
    let known: BTreeMap<&str, &[&str]> = KNOWN.into_iter().collect();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if let Some(names) = known.get(at)
            && !names.contains(&name)
        {
            let line = text[..key.span().start].matches('\n').count() + 1;
            let place = if at.is_empty() { String::new() } else { format!(" in `{at}`") };
            problems.push(format!("line {line}: unknown key `{name}`{place}{}", suggestion(name, names)));
        }
        let below = match (at, name) {
            ("", name) => name.to_owned(),
            ("users" | "files" | "mounts" | "builders", _) => format!("{at}.*"),
            _ => continue,
        };
        match value.get_ref() {
            DeValue::Table(inner) => check_table(text, &below, inner, problems),
            DeValue::Array(items) => {
                for item in items {
                    if let DeValue::Table(inner) = item.get_ref() {
                        check_table(text, &below, inner, problems);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The nearest known name, or all of them when none is near.
fn suggestion(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    match near.min() {
        Some((distance, nearest)) if distance <= nearest.len().div_ceil(3) => {
            format!(": did you mean `{nearest}`?")
        }
        _ => format!(": expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_spec_is_read() {
        let text = r#"
            format-revision = 1
            [[image]]
            name = "web"
            rootfs = "rootfs.tar"
            formats = ["raw", "qcow2"]
            size = "4G"
            loader = "unified"
            read-only = "usr"
            read-only-format = "squashfs"
            [[image]]
            rootfs = "other.tar"
            [units]
            enable = ["a.service"]
            [kernel]
            args = ["quiet"]
            [users.ops]
            uid = 1000
            [files."/etc/motd"]
            content = "hello"
            [mounts."/data"]
            source = "LABEL=data"
            type = "xfs"
            [build]
            timeout = 600
            trusted-keys = ["keys/minisign.pub"]
            mirrors = { "https://upstream.example/" = "https://mirror.example/" }
            [builders.default]
            rootfs = "builder.tar"
            [profiles.site]
            inherits = "debian"
            root = { label = "site" }
        "#;
        let spec = Spec::parse(text).unwrap();
        assert_eq!(spec.images.len(), 2);
        assert_eq!(
            (spec.images[0].size, spec.images[0].loader),
            (Some(Size(4 << 30)), Some(Loader::Unified))
        );
        assert_eq!(
            (spec.images[0].read_only, spec.images[0].read_only_format),
            (Some(ReadOnly::Usr), Some(ReadOnlyFormat::Squashfs))
        );
        assert_eq!(spec.policy.units.enable, ["a.service"]);
        assert_eq!(spec.policy.mounts["/data"].kind, "xfs");
        assert_eq!(spec.build.timeout, Some(600));
        assert_eq!(spec.build.trusted_keys, ["keys/minisign.pub"]);
        assert_eq!(spec.build.mirrors["https://upstream.example/"], "https://mirror.example/");
        assert_eq!(spec.builders["default"].rootfs, Path::new("builder.tar"));
        assert_eq!(spec.profiles["site"]["inherits"].as_str(), Some("debian"));
    }

    #[test]
    fn unknown_keys_are_all_named_with_the_nearest_known_one() {
        let text = "format-revision = 1\nunts = 1\n[[image]]\nrootfz = 'x'\n[users.a]\nuidd = 1\n[mounts.'/x']\nzzz = 1\n";
        let problems = Spec::parse(text).unwrap_err();
        for expected in [
            "line 2: unknown key `unts`: did you mean `units`?",
            "line 4: unknown key `rootfz` in `image`: did you mean `rootfs`?",
            "line 6: unknown key `uidd` in `users.*`: did you mean `uid`?",
            "line 8: unknown key `zzz` in `mounts.*`: expected one of source, type, options",
        ] {
            assert!(problems.contains(expected), "{problems}");
        }
    }

    #[test]
    fn an_unknown_revision_and_wrong_types_are_refused() {
        assert!(Spec::parse("format-revision = 7").unwrap_err().contains("knows 1"));
        assert!(Spec::parse("").unwrap_err().contains("format-revision"));
        assert!(Spec::parse("format-revision = 1\n[[image]]\nsize = 'big'").unwrap_err().contains("no size"));
        let wrong = Spec::parse("format-revision = 1\n[units]\nenable = 'x'").unwrap_err();
        assert!(wrong.contains("line 3") && wrong.contains("enable = 'x'"), "{wrong}");
    }
}
