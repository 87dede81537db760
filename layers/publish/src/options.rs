//! What is to be published, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bake_base::Digest;
use bake_disk::BlockDigests;

use crate::{Error, Groups};

/// Tags of a resource, at most (Amazon EC2 User Guide, "Tag restrictions").
const TAGS: usize = 50;
/// Characters in a tag's key and value, at most.
const TAG_LENGTHS: (usize, usize) = (128, 256);
/// Characters in a description, at most (EBS direct APIs, StartSnapshot).
const DESCRIPTION: usize = 255;
/// The disk digest.
pub(crate) const TAG_DISK: &str = "bake:disk";
/// What a snapshot was begun with.
pub(crate) const TAG_TOKEN: &str = "bake:token";
/// The snapshot that one is based on.
pub(crate) const TAG_PARENT: &str = "bake:parent";
/// What people see.
pub(crate) const TAG_NAME: &str = "Name";

/// What is published.
#[derive(Clone, Debug)]
pub struct AmiOptions {
    /// Name of the AMI.
    pub name: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Where it is made, and then to where it is copied.
    pub regions: Vec<String>,
    /// The profile in AWS's configuration.
    pub profile: Option<String>,
    /// How machines start it.
    pub register: Register,
    /// The snapshot or AMI that most blocks are taken from.
    pub parent: Option<String>,
    /// The blocks of that one, where a manifest is there.
    pub parent_blocks: Option<BlockDigests>,
    /// Tags for the snapshots and the AMIs.
    pub tags: BTreeMap<String, String>,
    /// Who may launch it: account ids, `all`, or ARNs of organisations and their units.
    pub share: Vec<String>,
    /// When it is deprecated, as in `2027-12-31`.
    pub deprecate: Option<String>,
    /// Whether it is encrypted.
    pub encryption: Encryption,
    /// Whether blocks are read back.
    pub verify: bool,
    /// Requests at the same time, at most.
    pub jobs: usize,
    /// How long to wait for the service to make something available.
    pub patience: Duration,
    /// Where the journal lies.
    pub journal: PathBuf,
    /// Set by a signal.
    pub stop: Arc<AtomicBool>,
}

/// How machines start an AMI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// As in `x86_64`.
    pub architecture: String,
    /// What the firmware does.
    pub boot_mode: BootMode,
    /// Variables of the firmware, as `uefivars` makes them.
    pub uefi_data: Option<String>,
    /// Whether machines have a TPM.
    pub tpm: bool,
    /// Whether machines take tokens for their metadata only.
    pub imds_v2: bool,
    /// What the root volume is called, as in `/dev/xvda`.
    pub root_device: String,
    /// As in `gp3`.
    pub volume_type: String,
}

/// What the firmware does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// UEFI.
    Uefi,
    /// A BIOS.
    LegacyBios,
    /// UEFI where a kind of instance has it.
    UefiPreferred,
}

impl BootMode {
    /// What EC2 calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::LegacyBios => "legacy-bios",
            Self::UefiPreferred => "uefi-preferred",
        }
    }
}

/// Whether snapshots are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    /// Whether they are, by the account's own key where no other is named.
    pub is_on: bool,
    /// The key in all regions that have none of their own here.
    pub key: Option<String>,
    /// Keys by region.
    pub keys: BTreeMap<String, String>,
}

impl Encryption {
    pub(crate) fn key(&self, region: &str) -> Option<&str> {
        self.keys.get(region).or(self.key.as_ref()).map(String::as_str)
    }
}

impl AmiOptions {
    /// Refuses what the service would refuse halfway, or only in the last region.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        let letters = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
        if !(3..=128).contains(&self.name.len()) || !self.name.chars().all(letters) {
            wrong.push(format!(
                "--name `{}`: expected 3 to 128 letters, digits, spaces and ()[]./-'@_",
                self.name
            ));
        }
        if self.regions.is_empty() {
            wrong.push("--region: name one at least".into());
        }
        for region in &self.regions {
            if !is_region(region) {
                wrong.push(format!("--region `{region}`: expected a region such as eu-central-1"));
            }
            if self.regions.iter().filter(|other| *other == region).count() > 1 {
                wrong.push(format!("--region `{region}` is named twice"));
            }
        }
        wrong.dedup();
        for region in self.encryption.keys.keys().filter(|region| !self.regions.contains(region)) {
            wrong.push(format!("--kms-key: `{region}` is none of the regions"));
        }
        if let Some(key) = self.regions.first().and_then(|first| self.encryption.key(first))
            && !is_key_arn(key)
        {
            wrong.push(format!(
                "--kms-key `{key}`: in the first region, where the snapshot is made, expected a key's ARN, as in \
                 arn:aws:kms:eu-central-1:123456789012:key/ID"
            ));
        }
        let has_own_key = |region: &String| self.encryption.key(region).is_some();
        if !self.share.is_empty() && self.encryption.is_on && !self.regions.iter().all(has_own_key) {
            wrong.push(
                "--share and --encrypt: what the account's own key encrypts nobody else can read; name a --kms-key that the others may use"
                    .into(),
            );
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION) {
            wrong.push(format!("--description: expected up to {DESCRIPTION} characters"));
        }
        if self.parent.is_some() && self.encryption.is_on {
            wrong.push(
                "--parent and --encrypt: a snapshot is encrypted as its parent is; leave one out".into(),
            );
        }
        if self.register.tpm && self.register.boot_mode != BootMode::Uefi {
            wrong.push("--tpm needs --boot-mode uefi".into());
        }
        if self.register.uefi_data.is_some() && self.register.boot_mode == BootMode::LegacyBios {
            wrong.push("--uefi-data: a BIOS has no such variables".into());
        }
        for (key, value) in &self.tags {
            let (longest_key, longest_value) = TAG_LENGTHS;
            if key.is_empty() || key.chars().count() > longest_key || value.chars().count() > longest_value {
                wrong.push(format!(
                    "--tag `{key}`: expected a key of 1 to 128 and a value of up to 256 characters"
                ));
            }
            if key.starts_with("aws:") || key.starts_with("bake:") {
                wrong.push(format!(
                    "--tag `{key}`: keys that begin with aws: and bake: belong to AWS and to bake"
                ));
            }
        }
        if self.tags.len() > 20 {
            wrong.push(format!("--tag: {} tags, expected up to 20", self.tags.len()));
        }
        for who in &self.share {
            let is_account = who.len() == 12 && who.bytes().all(|byte| byte.is_ascii_digit());
            if !is_account && who != "all" && !who.starts_with("arn:") {
                wrong.push(format!(
                    "--share `{who}`: expected an account's 12 digits, `all`, or an organisation's ARN"
                ));
            }
        }
        if self.share.iter().any(|who| who == "all") && self.encryption.is_on {
            wrong.push("--share all: an encrypted AMI cannot be public".into());
        }
        if self.deprecate.as_deref().is_some_and(|date| !is_date(date)) {
            wrong.push("--deprecate: expected a day, as in 2027-12-31".into());
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Options(wrong)) }
    }

    /// What a snapshot is begun with: the same for the same disk and parameters, whoever begins it.
    pub(crate) fn token(&self, disk: &Digest, parent: Option<&str>, region: &str, attempt: u32) -> String {
        let key = self.encryption.key(region).unwrap_or("");
        let parts = [
            disk.to_string(),
            parent.unwrap_or("").into(),
            region.into(),
            self.encryption.is_on.to_string(),
            key.into(),
            self.description.clone().unwrap_or_default(),
        ];
        let tags = self.tags.iter().map(|(key, value)| format!("{key}={value}"));
        let parts: Vec<_> =
            parts.into_iter().chain([self.name.clone(), attempt.to_string()]).chain(tags).collect();
        Digest::of(format!("bake-publish-1\0{}", parts.join("\0")).as_bytes()).to_string()
    }

    /// The tags of a snapshot: the user's, what it is, and as much of its index as there is room for.
    pub(crate) fn snapshot_tags(
        &self,
        blocks: &BlockDigests,
        parent: Option<&str>,
        token: &str,
    ) -> Vec<(String, String)> {
        let mut tags = self.image_tags(&blocks.disk_digest());
        tags.push((TAG_TOKEN.into(), token.into()));
        tags.extend(parent.map(|parent| (TAG_PARENT.into(), parent.into())));
        tags.extend(
            Groups::fitting(blocks, TAGS - tags.len()).map(|groups| groups.to_tags()).unwrap_or_default(),
        );
        tags
    }

    /// The tags of an AMI.
    pub(crate) fn image_tags(&self, disk: &Digest) -> Vec<(String, String)> {
        let name = (!self.tags.contains_key(TAG_NAME)).then(|| (TAG_NAME.to_owned(), self.name.clone()));
        let own = [(TAG_DISK.to_owned(), disk.to_string())];
        self.tags.clone().into_iter().chain(name).chain(own).collect()
    }
}

/// What StartSnapshot takes (EBS direct APIs, `KmsKeyArn`); aliases and bare ids only CopyImage does.
fn is_key_arn(key: &str) -> bool {
    let parts: Vec<_> = key.splitn(6, ':').collect();
    let [arn, partition, service, _, account, resource] = parts[..] else { return false };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    arn == "arn"
        && partition.starts_with("aws")
        && service == "kms"
        && is_account
        && resource.starts_with("key/")
}

/// As in `eu-central-1`: it becomes a part of host names.
fn is_region(region: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    region.len() <= 32 && region.split('-').count() >= 3 && region.split('-').all(is_part)
}

fn is_date(text: &str) -> bool {
    let form = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    form && ("01"..="12").contains(&&text[5..7]) && ("01"..="31").contains(&&text[8..])
}

/// An AMI somewhere, as in `ami:eu-central-1/ami-0123456789abcdef0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmiId {
    /// Its region.
    pub region: String,
    /// Its id.
    pub id: String,
}

impl FromStr for AmiId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.strip_prefix("ami:").and_then(|rest| rest.split_once('/'));
        let is_id = |id: &str| {
            id.strip_prefix("ami-")
                .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        match parts {
            Some((region, id)) if is_region(region) && is_id(id) => {
                Ok(Self { region: region.into(), id: id.into() })
            }
            _ => Err(Error::unfit(
                format_args!("`{text}`"),
                "expected ami:REGION/ID, as in ami:eu-central-1/ami-0abc",
            )),
        }
    }
}

impl fmt::Display for AmiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ami:{}/{}", self.region, self.id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::groups::tests::disk;

    pub(crate) fn options() -> AmiOptions {
        AmiOptions {
            name: "debian-0123456789ab".into(),
            description: None,
            regions: vec!["eu-central-1".into()],
            profile: None,
            register: Register {
                architecture: "x86_64".into(),
                boot_mode: BootMode::Uefi,
                uefi_data: None,
                tpm: false,
                imds_v2: true,
                root_device: "/dev/xvda".into(),
                volume_type: "gp3".into(),
            },
            parent: None,
            parent_blocks: None,
            tags: BTreeMap::new(),
            share: Vec::new(),
            deprecate: None,
            encryption: Encryption::default(),
            verify: false,
            jobs: 64,
            patience: Duration::from_hours(1),
            journal: "image.journal".into(),
            stop: Arc::default(),
        }
    }

    #[test]
    fn everything_that_the_service_would_refuse_is_said_at_once() {
        options().check().unwrap();
        let wrong = AmiOptions {
            name: "a/ä".into(),
            regions: vec!["eu".into(), "evil.example/".into()],
            parent: Some("snap-1".into()),
            tags: [("aws:x".into(), "y".into())].into(),
            share: vec!["123".into(), "all".into()],
            deprecate: Some("2027-13-01".into()),
            description: Some("x".repeat(256)),
            encryption: Encryption {
                is_on: true,
                keys: [("eu".into(), "alias/images".into())].into(),
                ..Encryption::default()
            },
            register: Register { tpm: true, boot_mode: BootMode::LegacyBios, ..options().register },
            ..options()
        };
        let error = wrong.check().unwrap_err().to_string();
        for expected in [
            "--name `a/ä`",
            "--region `eu`",
            "--region `evil.example/`",
            "--parent and --encrypt",
            "--tpm needs",
            "--tag `aws:x`",
            "--share `123`",
            "--share all: an encrypted",
            "--share and --encrypt",
            "--kms-key `alias/images`: in the first region",
            "--description",
            "--deprecate",
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_snapshot_never_has_more_tags_than_there_can_be() {
        let many: Vec<u8> = (0..5000_u32).map(|block| (block % 3) as u8).collect();
        let tags = (0..20).map(|number| (format!("tag{number}"), String::new()));
        let options = AmiOptions { tags: tags.collect(), ..options() };
        let tags = options.snapshot_tags(&disk(&many), Some("snap-1"), "token");
        assert!((25..=TAGS).contains(&tags.len()), "{}", tags.len());
        let tags: BTreeMap<_, _> = tags.into_iter().collect();
        assert!(Groups::from_tags(&tags).is_some() && tags["Name"] == options.name);
    }

    #[test]
    fn the_token_is_another_one_for_everything_that_the_snapshot_depends_on() {
        let (disk, other) = (Digest::of(b"disk"), Digest::of(b"other"));
        let token = |options: &AmiOptions| options.token(&disk, None, "eu-central-1", 0);
        let encrypted = Encryption { is_on: true, ..Encryption::default() };
        let tokens = [
            token(&options()),
            options().token(&other, None, "eu-central-1", 0),
            options().token(&disk, Some("snap-1"), "eu-central-1", 0),
            options().token(&disk, None, "eu-west-1", 0),
            options().token(&disk, None, "eu-central-1", 1),
            token(&AmiOptions { encryption: encrypted, ..options() }),
            token(&AmiOptions { description: Some("it".into()), ..options() }),
            token(&AmiOptions { tags: [("a".into(), "b".into())].into(), ..options() }),
        ];
        let different: std::collections::BTreeSet<_> = tokens.iter().collect();
        assert_eq!(different.len(), tokens.len());
        assert_eq!(token(&options()), tokens[0]);
    }

    #[test]
    fn an_ami_is_named_with_its_region() {
        let id: AmiId = "ami:eu-central-1/ami-0abc".parse().unwrap();
        assert_eq!(id.to_string(), "ami:eu-central-1/ami-0abc");
        for wrong in [
            "ami-0abc",
            "ami:eu-central-1",
            "ami:/ami-0",
            "ami:eu-central-1/snap-0",
            "ami:a.b/ami-0",
            "ami:eu-central-1/ami-",
        ] {
            assert!(wrong.parse::<AmiId>().is_err(), "{wrong}");
        }
    }
}
