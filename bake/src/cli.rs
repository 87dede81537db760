//! The arguments of every command. No logic: what they mean is decided in `cmd`.

mod clouds;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "aws")]
pub use clouds::AmiArgs;
pub use clouds::{
    BootModeArg, PublishCommand, PullArgs, ScriptArgs, ScriptKindArg, TemplatesArgs, VerifyArgs,
};

/// Bakes reproducible images for DC/OS clusters: the same input gives the same bytes, on every machine,
/// without privileges.
#[derive(Debug, Parser)]
#[command(name = "bake", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds packages from recipes
    Package(PackageArgs),
    /// Builds every package of a tree of recipes, and its bootstrap tarball
    Tree(TreeArgs),
    /// Turns a configuration and a tree's artifacts into a serve directory with a bash installer
    Configure(Box<ConfigureArgs>),
    /// Turns a root file system, or a vendor's disk image, into a bootable disk image
    Image(Box<ImageArgs>),
    /// Boots an image in QEMU, which leaves it untouched
    Boot(BootArgs),
    /// Says what a disk image is, in any container format
    Inspect(InspectArgs),
    /// Says whether two disk images hold the same disk, whatever their container formats
    Diff(DiffArgs),
    /// Brings an image into a cloud
    #[command(subcommand)]
    Publish(PublishCommand),
    /// Proves that an image, or an AMI, is the disk of its manifest
    Verify(VerifyArgs),
    /// Brings a published disk onto a file or a device, fetching only blocks that differ
    Pull(PullArgs),
    /// Compares many hosts
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Says what this machine allows, and how to mend it
    Doctor {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes completions for a shell to standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// How packages are built, by `bake package` and `bake tree`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Directory of the recipes; packages, sources and logs are kept in its `cache/`
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub tree: PathBuf,
    /// The spec file, for its `[build]` and `[builders]` [default: bake.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Root file system to build in, for recipes whose `docker` field names none that the spec file knows
    #[arg(long, value_name = "PATH")]
    pub builder: Option<PathBuf>,
    /// Directory or URL that may have packages already, to be taken by the digests of bake.lock or of a signed manifest; may be repeated
    #[arg(long, value_name = "DIR|URL")]
    pub repository: Vec<String>,
    /// Public key of minisign, or its file: a manifest.json that it signed is trusted for every repository; may be repeated
    #[arg(long, value_name = "PUBKEY|FILE")]
    pub trust: Vec<String>,
    /// Try downloads whose URL begins with FROM at TO first; may be repeated
    #[arg(long, value_name = "FROM=TO")]
    pub mirror: Vec<String>,
    /// Ask no network: sources have to be in the cache
    #[arg(long)]
    pub offline: bool,
    /// Packages to build at once [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Seconds that the build of one package may take [default: 7200]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Print the packages in build order, and build nothing
    #[arg(long)]
    pub plan: bool,
    /// Keep the directories of builds, until a run without it
    #[arg(long)]
    pub keep: bool,
    /// Hash every file again, even when size, times and inode say that it did not change
    #[arg(long)]
    pub paranoid: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake package`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake package --tree packages --builder builder.tar --recursive zlib
  bake package --tree packages --plan                 prints every id, in build order, without network
  bake package --tree packages --check zlib           builds it twice in differing surroundings")]
pub struct PackageArgs {
    /// The packages, as NAME or NAME/VARIANT; all of them, and what they require, when none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Build what they require too, where it is not there
    #[arg(long)]
    pub recursive: bool,
    /// Build again in surroundings that differ in all that must not matter, and compare byte by byte
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `bake tree`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake tree --tree packages --builder builder.tar --out product
  bake tree --tree packages --variant installer --out product
  bake tree --tree packages --lock                    writes bake.lock and says what moved")]
pub struct TreeArgs {
    /// Which tree: the beginning of its VARIANT.treeinfo.json [default: treeinfo.json]
    #[arg(long)]
    pub variant: Option<String>,
    /// Directory for the packages, the bootstrap tarball, the manifest and its sums [default: the cache alone]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The static program that hosts run, which becomes a package of the tree [default: `pkgpanda` beside bake's executable]
    #[arg(long, value_name = "FILE")]
    pub pkgpanda: Option<PathBuf>,
    /// Write bake.lock in the tree's directory, with the digest of everything that may move
    #[arg(long, conflicts_with = "plan")]
    pub lock: bool,
    #[command(flatten)]
    pub build: BuildArgs,
}

/// `bake configure`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake configure --artifacts product --out serve
  bake configure --set cluster_name=test --plan        prints every parameter, its value and where it came from
  bake configure --artifacts product --diff serve      says what would change on hosts; status 1 if anything would
  bake configure --artifacts product --single-file dcos_install.sh
  bake configure --schema > config.schema.json         for editors

The configuration is genconf/config.yaml; scripts that it names and genconf/check_bins/ are looked up beside it.
Secrets go to serve.secrets/dcos-secrets.tar, which is not for web servers: bring it to hosts yourself.

Status: 0 done, and nothing differs from --diff; 1 the configuration is wrong, or something differs; 2 usage.")]
pub struct ConfigureArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "genconf/config.yaml")]
    pub config: PathBuf,
    /// What `bake tree --out` delivered
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    pub artifacts: PathBuf,
    /// The serve directory: a web root for hosts
    #[arg(long, value_name = "DIR", default_value = "serve")]
    pub out: PathBuf,
    /// Directory with further parameters, templates and files; may be repeated
    #[arg(long, value_name = "DIR")]
    pub extend: Vec<PathBuf>,
    /// A parameter's value, before the configuration's own; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Directory for secrets [default: the serve directory's name and `.secrets`]
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Write everything as one bash script too, for hosts that reach no web root
    #[arg(long, value_name = "FILE")]
    pub single_file: Option<PathBuf>,
    /// Print every parameter, its value and where it came from, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Print what would change on hosts since this serve directory or product.json, and write nothing
    #[arg(long, value_name = "OLD", conflicts_with = "plan")]
    pub diff: Option<PathBuf>,
    /// Print the JSON schema of configurations
    #[arg(long, conflicts_with_all = ["plan", "diff"])]
    pub schema: bool,
    /// Take away older releases in the serve directory, and what only they need
    #[arg(long, conflicts_with_all = ["plan", "diff", "schema"])]
    pub prune: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake image`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake image --rootfs rootfs.tar.zst --out images
  bake image --rootfs layout/ --arch arm64 --product bootstrap.tar.xz --role master --out images
  bake image --rootfs rootfs.tar --overlay site/ --format raw,qcow2 --plan
  bake image --rootfs rootfs.tar --format gce,ova,vhd,vmdk-stream --out clouds
  bake image --rootfs rootfs.tar --read-only usr --loader unified --out images
  bake image --rootfs flatcar_production_image.bin.bz2 --product serve --role slave --out images
  bake image --format sysext --profile flatcar --product serve --role slave --url https://example.org/ --out images
  bake image                      bakes every image of bake.toml

Without --rootfs, bakes the images that bake.toml lists; flags override the file.

Of a vendor's disk image (Flatcar's), one partition is written anew; every other byte stays as it is. A system extension
is for hosts of which nothing is baked: a read-only file system with the product, and the configuration of Ignition that
has them fetch it.")]
pub struct ImageArgs {
    /// The images to bake, by the names in the spec file; all of them when none is named
    pub names: Vec<String>,
    /// The spec file [default: bake.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Root file system: a tar (plain, gzip, xz, zstd, bzip2), an OCI layout or docker archive, a directory, or a vendor's disk image
    #[arg(long, value_name = "PATH")]
    pub rootfs: Option<PathBuf>,
    /// Architecture to take out of a multi-platform image
    #[arg(long, value_enum)]
    pub arch: Option<ArchArg>,
    /// Distribution family [default: by the root file system's os-release]
    #[arg(long)]
    pub profile: Option<String>,
    /// Requirement of the profile that is not checked, by its name; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Name of the image; its files are called after it [default: the profile's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Directory or tar to put on top; may be repeated, in order
    #[arg(long, value_name = "PATH")]
    pub overlay: Vec<PathBuf>,
    /// Keep owners, modes and times of overlays that are directories, which are root, 0644 or 0755 and the epoch otherwise
    #[arg(long)]
    pub preserve: bool,
    /// Serve directory (or its product.json), or bootstrap tarball: laid out in /opt/mesosphere as on hosts
    #[arg(long, value_name = "PATH")]
    pub product: Option<PathBuf>,
    /// Role that every host of this image has; without it the image takes its role at boot; may be repeated
    #[arg(long, value_delimiter = ',')]
    pub role: Vec<String>,
    /// Container formats, separated by commas: raw, raw.gz, raw.xz, raw.zst, bmap, qcow2, qcow2-compressed, vmdk, vmdk-stream, ova, vhd, vhd-dynamic, vhdx, gce; and `tar` of the tree [default: raw]; `oci` alone for a layer on a bootable container image; or `sysext` (SquashFS) or `sysext-erofs` for a system extension, which takes no --rootfs
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    pub format: Vec<String>,
    /// Where hosts will fetch the system extension; behind a `/` at the end, its file's name is added
    #[arg(long)]
    pub url: Option<String>,
    /// Size of the disk, a whole number of GiB [default: the smallest that fits]
    #[arg(long)]
    pub size: Option<String>,
    /// Percentage of the root file system to leave free [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=90))]
    pub free: Option<u8>,
    /// Logical sector size in bytes; 4096 is for bare metal with 4Kn disks
    #[arg(long, value_enum)]
    pub sector_size: Option<SectorSizeArg>,
    /// What the firmware starts [default: the first of the profile's that the root file system has]
    #[arg(long, value_enum)]
    pub loader: Option<LoaderArg>,
    /// What is read-only, in a partition of its own that dm-verity guards: /usr, or all of the root but /var [default: none]
    #[arg(long, value_enum, value_name = "PART")]
    pub read_only: Option<ReadOnlyArg>,
    /// The file system of the read-only part [default: erofs]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub read_only_format: Option<ReadOnlyFormatArg>,
    /// Certificate (PEM) with which everything that UEFI starts is signed, by --sign-key or --signer
    #[arg(long, value_name = "FILE", requires = "signs")]
    pub sign_certificate: Option<PathBuf>,
    /// Its key (PEM, RSA)
    #[arg(long, value_name = "FILE", requires = "sign_certificate", group = "signs")]
    pub sign_key: Option<PathBuf>,
    /// Program that signs what it reads with the certificate's key (`openssl dgst -sha256 -sign KEY` does)
    #[arg(long, value_name = "CMD", requires = "sign_certificate", group = "signs")]
    pub signer: Option<String>,
    /// Have systemd-boot give the certificate to machines that have no keys yet, on first boot
    #[arg(long, requires = "sign_certificate")]
    pub enroll: bool,
    /// Kernel argument behind the profile's; may be repeated
    #[arg(long, value_name = "ARG")]
    pub kernel_arg: Vec<String>,
    /// Newest time in the image, seconds since 1970 [default: SOURCE_DATE_EPOCH, else the root file system's newest]
    #[arg(long, value_name = "SECONDS")]
    pub epoch: Option<u64>,
    /// Directory for the image, its manifest and its sums
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Print what would be done and why, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Add the plain SHA-256 of raw disks to SHA256SUMS, which takes a second pass over them
    #[arg(long)]
    pub sum_raw: bool,
    /// Threads to use [default: all]; the result is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Where decoded layers and digests are kept [default: the user's cache directory]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache: Option<PathBuf>,
    /// Keep nothing and use nothing kept
    #[arg(long)]
    pub no_cache: bool,
    /// Hash every input again, even when size, times and inode say that it did not change
    #[arg(long)]
    pub paranoid: bool,
    /// Most bytes that compressed inputs may decode to
    #[arg(long, value_name = "SIZE", default_value = "64G")]
    pub max_decoded: String,
    /// Most memory that decoding a compressed input may take
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub max_decoder_memory: String,
}

/// Processor architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArchArg {
    /// amd64
    #[value(name = "x86-64", alias = "x86_64", alias = "amd64")]
    X86_64,
    /// aarch64
    #[value(name = "arm64", alias = "aarch64")]
    Arm64,
}

/// Boot loaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoaderArg {
    /// systemd-boot with an entry for the kernel
    SystemdBoot,
    /// One unified kernel image
    Unified,
    /// GRUB, started by BIOS and by the distribution's signed shim
    Grub,
}

/// Parts of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadOnlyArg {
    /// Nothing, whatever the profile says
    None,
    /// /usr; the rest is ext4 that hosts write
    Usr,
    /// All of the root; /var is ext4 that hosts write
    Root,
}

/// File systems of what is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadOnlyFormatArg {
    /// As on any host; larger
    Ext4,
    /// Compressed, and the smallest
    Squashfs,
    /// Not compressed, and fast to read
    Erofs,
}

/// Logical sector sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SectorSizeArg {
    /// Virtual disks and most real ones
    #[value(name = "512")]
    Bytes512,
    /// 4Kn disks
    #[value(name = "4096")]
    Bytes4096,
}

/// `bake boot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake boot images/debian.raw
  bake boot images/debian.raw --credential dcos.roles=master --expect 'Reached target.*multi-user'
  bake boot images/debian.raw --keep state.qcow2 --grow 20G     boots the same machine again the next time")]
pub struct BootArgs {
    /// The image, in any container format
    pub image: PathBuf,
    /// End well as soon as the console has shown this regular expression; may be repeated, all must be seen
    #[arg(long, value_name = "REGEX")]
    pub expect: Vec<String>,
    /// Seconds until it is too late
    #[arg(long, value_name = "S", default_value_t = 300)]
    pub timeout: u64,
    /// System credential for the machine, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub credential: Vec<String>,
    /// Firmware of the machine
    #[arg(long, value_enum, default_value = "uefi")]
    pub firmware: FirmwareArg,
    /// Store of the firmware's variables to begin with, keys of one's own in it, say [default: the firmware's]
    #[arg(long, value_name = "FILE")]
    pub variables: Option<PathBuf>,
    /// How the disk is attached
    #[arg(long, value_enum, default_value = "virtio")]
    pub disk: DiskArg,
    /// Another disk of the machine, which stays as it is; may be repeated
    #[arg(long, value_name = "IMAGE")]
    pub attach: Vec<PathBuf>,
    /// Start a kernel and an initrd that are files here, with these arguments, instead of the image's loader
    #[arg(long, value_names = ["KERNEL", "INITRD", "ARGS"], num_args = 3)]
    pub kernel: Option<Vec<String>>,
    /// Keep what the machine writes in this file, and its firmware's variables in FILE.variables, and start from them
    /// the next time
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Size of the machine's disk [default: the image's]
    #[arg(long, value_name = "SIZE")]
    pub grow: Option<String>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub memory: u32,
    /// What runs the machine: `tcg` works everywhere, `kvm` is fast where there is one
    #[arg(long, value_enum, default_value = "tcg")]
    pub accel: AccelArg,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bake inspect images/debian.raw
  bake inspect images/debian.ova --json")]
pub struct InspectArgs {
    /// The image, in any container format
    pub image: PathBuf,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `bake diff`.
#[derive(Debug, Args)]
#[command(after_help = "The exit status is 0 when the disks are the same, and 1 when they differ.

Examples:
  bake diff images/debian.raw images/debian.vmdk
  bake diff yesterday.qcow2 today.qcow2 --json")]
pub struct DiffArgs {
    /// An image, in any container format
    pub left: PathBuf,
    /// Another one
    pub right: PathBuf,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// Firmware of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FirmwareArg {
    /// OVMF or AAVMF
    Uefi,
    /// SeaBIOS
    Bios,
    /// OVMF or AAVMF that starts only what is signed: by the keys that vendors have, or those of --variables
    UefiSecureBoot,
}

/// How a virtual machine sees the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiskArg {
    /// virtio-blk
    Virtio,
    /// NVMe
    Nvme,
}

/// What runs a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccelArg {
    /// Emulation
    Tcg,
    /// The kernel's
    Kvm,
}

/// `bake fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Tells which states hosts are in, how many each, and what differs between them
    Report(FleetReportArgs),
}

/// `bake fleet report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bake fleet report audits/*.json
  bake fleet report --html fleet.html audits/*.json    one page that needs no other file and no network
  for host in $(cat hosts); do ssh $host sudo /opt/mesosphere/bin/pkgpanda audit --json; done | bake fleet report -

A file holds what `pkgpanda audit --json` prints: once, many times, or in an array. examples/ansible-audit.yml of a
serve directory collects them.

Status: 0 all hosts are clean and have the same bits; 1 they do not, or a file is no report; 2 usage.")]
pub struct FleetReportArgs {
    /// What audits printed; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Write a page with every state, difference and host
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
