//! The arguments of what has to do with clouds and other machines.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `bake publish`.
#[derive(Debug, Subcommand)]
pub enum PublishCommand {
    /// Makes an AMI of an image through the EBS direct APIs; does nothing where it is there
    Ami(Box<AmiArgs>),
    /// Writes what AMIs are launched with: templates of CloudFormation and a module of Terraform
    Templates(TemplatesArgs),
    /// Prints a bash script that brings an image into a cloud with the cloud's own tool
    Script(ScriptArgs),
}

/// `bake publish script`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake publish script --kind vm-import --image images/debian.raw > import.sh
  bake publish script --kind azure --image images/debian.vhd > upload.sh
  bake publish script --kind gce --image images/debian.gce.tar.gz > upload.sh

The script checks the file's digest, and prints the image's id, also when an earlier run made it.")]
pub struct ScriptArgs {
    /// Where to: AWS through S3 (for accounts without the EBS direct APIs), Azure or Google
    #[arg(long, value_enum)]
    pub kind: ScriptKindArg,
    /// The file that is uploaded
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// Name of the image [default: the manifest's name and the beginning of the disk digest]
    #[arg(long)]
    pub name: Option<String>,
    /// Processor architecture [default: the manifest's]
    #[arg(long)]
    pub architecture: Option<String>,
    /// What the firmware does
    #[arg(long, value_enum, default_value = "uefi")]
    pub boot_mode: BootModeArg,
    /// What the root volume is called on AWS
    #[arg(long, value_name = "DEVICE", default_value = "/dev/xvda")]
    pub root_device: String,
}

/// Where a script uploads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScriptKindArg {
    /// AWS: S3 and ImportSnapshot
    VmImport,
    /// Azure
    Azure,
    /// Google Compute Engine
    Gce,
}

/// `bake publish ami`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake publish ami --image images/debian.raw --region eu-central-1
  bake publish ami --image images/debian.raw --region eu-central-1 --region us-east-1 --verify
  bake publish ami --image images/debian.raw --region eu-central-1 --parent ami-0123456789abcdef0
  bake publish ami --image images/debian.raw --region eu-central-1 --plan
  bake publish ami --region eu-central-1 --verify --iam-policy

The AMI is made in the first region and copied to the others. Credentials, profiles, SSO and endpoints are those of AWS's
own tools. A run that was killed, or whose credentials expired, goes on where it stopped; what was acknowledged is in a
journal beside the image. With --parent, only blocks that differ are sent: they are known by --parent-manifest, by the
snapshot's tags, or by reading it.")]
pub struct AmiArgs {
    /// The image, in any container format
    #[arg(long, value_name = "FILE", required_unless_present = "iam_policy")]
    pub image: Option<PathBuf>,
    /// Name of the AMI; `{digest}` in it stands for the beginning of the disk digest [default: the image's name-{digest}]
    #[arg(long)]
    pub name: Option<String>,
    /// Region to make it in, and further ones to copy it to; may be repeated
    #[arg(long, value_name = "REGION", value_delimiter = ',', required = true)]
    pub region: Vec<String>,
    /// What it is, for people
    #[arg(long)]
    pub description: Option<String>,
    /// Profile of AWS's configuration [default: AWS_PROFILE]
    #[arg(long)]
    pub profile: Option<String>,
    /// Snapshot or AMI in the first region that most blocks are the same as
    #[arg(long, value_name = "ID")]
    pub parent: Option<String>,
    /// The manifest of the parent's image
    #[arg(long, value_name = "FILE", requires = "parent")]
    pub parent_manifest: Option<PathBuf>,
    /// Tag for AMIs and snapshots; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub tag: Vec<String>,
    /// Account, `all`, or ARN of an organisation or a unit that may launch it; may be repeated
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub share: Vec<String>,
    /// Day from which it is deprecated, as in 2027-12-31
    #[arg(long, value_name = "DAY")]
    pub deprecate: Option<String>,
    /// Encrypt it, with the account's default key where no --kms-key is named
    #[arg(long)]
    pub encrypt: bool,
    /// Key of KMS, for all regions or for one: an ARN in the first region, anything that KMS knows in others; may be repeated
    #[arg(long, value_name = "[REGION=]KEY")]
    pub kms_key: Vec<String>,
    /// Processor architecture, as in x86_64 [default: the manifest's]
    #[arg(long)]
    pub architecture: Option<String>,
    /// What the firmware does [default: what the partitions allow]
    #[arg(long, value_enum)]
    pub boot_mode: Option<BootModeArg>,
    /// Variables of the firmware (keys of Secure Boot), as `uefivars` writes them for AWS
    #[arg(long, value_name = "FILE")]
    pub uefi_data: Option<PathBuf>,
    /// Give machines a TPM 2.0
    #[arg(long)]
    pub tpm: bool,
    /// Let machines read their metadata without a token (IMDSv1), too
    #[arg(long)]
    pub imds_v1: bool,
    /// What the root volume is called [default: by the profile, /dev/xvda or /dev/sda1]
    #[arg(long, value_name = "DEVICE")]
    pub root_device: Option<String>,
    /// Type of the root volume [default: by the profile, gp3]
    #[arg(long, value_name = "TYPE")]
    pub volume_type: Option<String>,
    /// Read all blocks back and compare them
    #[arg(long)]
    pub verify: bool,
    /// Print blocks, bytes, requests, expected time and IAM actions, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Print the IAM policy that these options need, and do nothing
    #[arg(long, conflicts_with = "plan")]
    pub iam_policy: bool,
    /// Where acknowledged blocks are written down [default: the image's name.publish-REGION]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Write which AMI the image is, region by region, for `bake publish templates`
    #[arg(long, value_name = "FILE")]
    pub published: Option<PathBuf>,
    /// Requests at the same time, at most; fewer where the service wants fewer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Minutes to wait for a snapshot or an AMI to become available
    #[arg(long, value_name = "MINUTES", default_value_t = 180)]
    pub wait: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// Firmware of machines in the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BootModeArg {
    /// UEFI
    Uefi,
    /// A BIOS
    LegacyBios,
    /// UEFI where the kind of instance has it, silently a BIOS elsewhere
    UefiPreferred,
}

/// `bake verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake verify images                                   all artifacts, against manifest.json and SHA256SUMS beside them
  bake verify images/debian.qcow2
  bake verify disk.raw --manifest images/manifest.json
  bake verify ami:eu-central-1/ami-0123456789abcdef0 --manifest images/manifest.json

An AMI is read block by block, and has to be owned or its snapshot shared. Without --manifest it is compared with the
disk digest in its tags, which only its owner sees.

Status: 0 it is the disk; 1 it is not, or cannot be read; 2 usage.")]
pub struct VerifyArgs {
    /// An image, a directory with its manifest, or `ami:REGION/ID`
    #[arg(value_name = "PATH|AMI")]
    pub what: String,
    /// The manifest to compare with [default: manifest.json beside the image]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Profile of AWS's configuration [default: AWS_PROFILE]
    #[arg(long)]
    pub profile: Option<String>,
    /// Requests at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake pull https://images.example.org/debian/manifest.json --onto /dev/nvme1n1
  bake pull https://images.example.org/debian/manifest.json --onto debian.raw
  bake pull ami:eu-central-1/ami-0123456789abcdef0 --manifest manifest.json --onto debian.raw

Beside the manifest lies the raw image; its server must do ranges. Every block is checked against the manifest, and all
of the result is read back. A file is replaced when its successor is right; a device must not be in use, and a run that
was killed goes on where it was.")]
pub struct PullArgs {
    /// URL of the manifest, or `ami:REGION/ID`
    #[arg(value_name = "URL|AMI")]
    pub from: String,
    /// The file or the block device that becomes the disk
    #[arg(long, value_name = "FILE_OR_DEVICE")]
    pub onto: PathBuf,
    /// The manifest of the disk: taken instead of the one at the URL, and needed for an AMI
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Profile of AWS's configuration [default: AWS_PROFILE]
    #[arg(long)]
    pub profile: Option<String>,
    /// Requests at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake publish templates`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake publish templates --published published.json --out launch

For CloudFormation: masters-1.yaml, masters-3.yaml, masters-5.yaml, private-agents.yaml and public-agents.yaml. For
Terraform, the directory itself is a module.")]
pub struct TemplatesArgs {
    /// The published manifest: which AMI the image is, region by region
    #[arg(long, value_name = "FILE")]
    pub published: PathBuf,
    /// Directory for the templates, their sums included
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}
