//! Which image of several is for the architecture that is wanted.

use serde::Deserialize;

use crate::ArchiveError;

/// What an image runs on (OCI image index, `platform`; the values are Go's `GOOS` and `GOARCH`).
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// Whether this is a description at all; attestations say `unknown`.
    pub(super) fn is_known(&self) -> bool {
        !self.architecture.is_empty() && self.architecture != "unknown" && self.os != "unknown"
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("{}/{}", self.os, self.architecture);
        if !self.variant.is_empty() {
            text += "/";
            text += &self.variant;
        }
        text
    }

    /// Whether every processor of the architecture runs it: the variant is the lowest there is.
    fn is_basic(&self) -> bool {
        matches!((&*self.architecture, &*self.variant), (_, "") | ("amd64", "v1") | ("arm64", "v8"))
    }
}

/// The name that images have for what `uname -m` says.
fn go_name(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i486" | "i586" | "i686" => "386",
        "armv6l" | "armv7l" => "arm",
        other => other,
    }
}

/// The index of the one that is for `machine`. Each comes with what else tells it apart, such as its tag.
pub(super) fn choose(file: &str, machine: &str, found: &[(Platform, String)]) -> Result<usize, ArchiveError> {
    let wanted = go_name(machine);
    let fits = |platform: &Platform| platform.architecture == wanted && platform.os == "linux";
    let fitting: Vec<usize> = (0..found.len()).filter(|i| fits(&found[*i].0)).collect();
    let basic: Vec<usize> = fitting.iter().copied().filter(|i| found[*i].0.is_basic()).collect();
    match (&fitting[..], &basic[..]) {
        ([only], _) | (_, [only]) => Ok(*only),
        _ => Err(ArchiveError::Platform {
            file: file.to_owned(),
            wanted: format!("linux/{wanted}"),
            fitting: fitting.len(),
            platforms: found.iter().map(|(platform, rest)| platform.describe() + rest).collect(),
        }),
    }
}
