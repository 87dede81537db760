//! Read-only images: `/usr`, or all of the root but `/var`, in a file system of its own that dm-verity guards. The
//! kernel then refuses every block that is not the one that was baked, and the machine with it.
//!
//! - What guards it is on the kernel's command line, so that a signed unified kernel image vouches for every file. The
//!   line names the root hash; from its halves, which are the ids of the two partitions, systemd finds both
//!   (systemd-veritysetup-generator(8)).
//! - `/usr`: the rest stays an ext4 that hosts write, and everything is as on any host but for its package manager.
//! - All of the root: `/var` is an ext4 that hosts write. What a host has of its own lies there: its machine id and its
//!   host keys, to which `/etc` has links. systemd reads the id before it mounts anything, so the initrd mounts `/var`.
//!
//! Salt and ids derive from the image's name, profile and base as all ids do, so that the same content has the same root
//! hash.

use std::sync::Arc;

use bake_base::{Digest, Layout, Unnamed, Uuid};
use bake_boot::Architecture;
use bake_disk::discoverable;
use bake_disk::verity::{self, Guarded, Verity};
use bake_fs::{erofs, ext4, squashfs};
use bake_tree::{Content, Follow, Metadata, Node, Tree, TreePath, ValidTree};
use serde::{Deserialize, Serialize};

use crate::compose::Decisions;
use crate::disk::ext4_options;
use crate::error::path;
use crate::host::Growth;
use crate::profile::Profile;
use crate::{Error, HostPolicy, ImageSpec, Loader, Surroundings, units};

/// What SquashFS compresses together, in bytes, and how well: what its own tool and the kernel's do.
const SQUASHFS: (u32, i32) = (128 << 10, 15);
/// What a machine does about a block that is not what was baked: nothing more. Only to fail reading it would let whoever
/// damages a file choose what a host goes without.
const ON_CORRUPTION: &str = "panic-on-corruption";
/// Where systemd has what sets the device up.
const SYSTEMD: &str = "usr/lib/systemd";
const SETS_UP: [&str; 2] = ["systemd-veritysetup", "system-generators/systemd-veritysetup-generator"];
/// Directories of the root that a merged `/usr` has.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];
/// What hosts with a read-only root have of their own, below `/var`.
const OWN: &str = "var/lib/bake";
const HOST_KEYS: (&str, &str) =
    ("etc/systemd/system/ssh-host-keys.service", include_str!("immutable/ssh-host-keys.service"));
const KINDS: [&str; 3] = ["ecdsa", "ed25519", "rsa"];
const GROW: (&str, &str) = ("bake-grow-var.service", include_str!("immutable/grow-var.service"));

/// Which part of an image is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOnly {
    /// Nothing.
    None,
    /// `/usr`.
    Usr,
    /// Everything but `/var`.
    Root,
}

/// What file system it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOnlyFormat {
    /// As on any host; larger.
    Ext4,
    /// Compressed, and the smallest.
    Squashfs,
    /// Not compressed, and fast to read.
    Erofs,
}

impl ReadOnlyFormat {
    /// What mount(8) calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

/// What is guarded, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Immutable {
    pub part: Guarded,
    pub format: ReadOnlyFormat,
}

/// What was guarded, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// `/usr` or `/`.
    pub path: String,
    /// Name of the partition with the file system; that with its hashes is called `…-verity`.
    pub partition: &'static str,
    /// Its file system.
    pub file_system: &'static str,
    /// Id of the file system, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system_id: Option<String>,
    /// The hash that stands for all of it.
    pub root_hash: Digest,
    /// What every hash starts from, in hexadecimal.
    pub salt: String,
}

/// A read-only file system and its hashes.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub layout: Layout,
    pub verity: Verity,
}

impl Immutable {
    /// What a specification asks for, or else its profile.
    ///
    /// # Errors
    /// When it asks for what no read-only image can have.
    pub fn of(spec: &ImageSpec, profile: &Profile) -> Result<Option<Self>, Error> {
        let part = match spec.read_only.or(profile.disk.read_only) {
            Some(ReadOnly::Usr) => Guarded::Usr,
            Some(ReadOnly::Root) => Guarded::Root,
            Some(ReadOnly::None) | None if spec.read_only_format.is_some() => {
                let message = "--read-only-format (`read-only-format`) says what a read-only part is: say which by \
                               --read-only (`read-only`), or leave it out";
                return Err(Error::Policy(message.to_owned()));
            }
            Some(ReadOnly::None) | None => return Ok(None),
        };
        if spec.loader == Some(Loader::Grub) {
            let message = "GRUB passes on no root hash that somebody has signed: choose the loader `systemd-boot` or \
                           `unified` for a read-only image";
            return Err(Error::Policy(message.to_owned()));
        }
        if part == Guarded::Root && spec.product.is_some() && spec.roles.is_empty() {
            let message = "on a read-only root a host cannot take on a role later: give --role, or have /usr alone \
                           read-only";
            return Err(Error::Policy(message.to_owned()));
        }
        let format = spec.read_only_format.or(profile.disk.read_only_format);
        Ok(Some(Self { part, format: format.unwrap_or(ReadOnlyFormat::Erofs) }))
    }

    /// The partition with the file system.
    pub fn name(self) -> &'static str {
        match self.part {
            Guarded::Usr => "usr",
            Guarded::Root => "root",
        }
    }

    /// The partition with its hashes.
    pub fn verity_name(self) -> &'static str {
        match self.part {
            Guarded::Usr => "usr-verity",
            Guarded::Root => "root-verity",
        }
    }

    /// Types of the two.
    pub fn types(self, architecture: Architecture) -> (Uuid, Uuid) {
        use discoverable as d;
        match (self.part, architecture) {
            (Guarded::Usr, Architecture::X86_64) => (d::USR_X86_64, d::USR_VERITY_X86_64),
            (Guarded::Usr, Architecture::Arm64) => (d::USR_ARM64, d::USR_VERITY_ARM64),
            (Guarded::Root, Architecture::X86_64) => (d::ROOT_X86_64, d::ROOT_VERITY_X86_64),
            (Guarded::Root, Architecture::Arm64) => (d::ROOT_ARM64, d::ROOT_VERITY_ARM64),
        }
    }

    /// Drivers without which the initrd does not mount it.
    pub fn drivers(self) -> [&'static str; 3] {
        ["dm_mod", "dm_verity", self.format.name()]
    }

    /// What has to be on the kernel's command line.
    pub fn arguments(self, root_hash: Digest) -> String {
        format!(
            "{} systemd.verity_{}_options={ON_CORRUPTION}",
            self.part.command_line(root_hash),
            self.name()
        )
    }

    /// The lines of `fstab` that a read-only root needs; `var` names the partition.
    pub fn fstab(self, var: Uuid, policy: &HostPolicy) -> Vec<(String, String)> {
        let device = self.part.device();
        let line = |point: &str, line: String| (point.to_owned(), line);
        let mut lines = vec![
            line("/", format!("{device} / {} ro 0 0", self.format.name())),
            line("/var", format!("PARTUUID={var} /var ext4 defaults,x-initrd.mount 0 2")),
        ];
        if !policy.mounts.contains_key("/tmp") {
            lines.push(line("/tmp", "tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0".to_owned()));
        }
        lines
    }

    /// Refuses a tree of which nothing could be guarded.
    ///
    /// # Errors
    /// When systemd cannot set the device up, or programs would stay outside.
    pub fn check(self, tree: &Tree) -> Result<(), Error> {
        for name in SETS_UP {
            let at = path(&format!("{SYSTEMD}/{name}"))?;
            if tree.file(&at)?.is_none() {
                return Err(Error::Policy(format!(
                    "`{at}` is missing, without which nobody checks a read-only {}: install `systemd` (Debian 12, \
                     Ubuntu), `systemd-cryptsetup` (later Debian) or `systemd-udev` (Fedora, RHEL)",
                    self.part
                )));
            }
        }
        for name in MERGED.iter().filter(|_| self.part == Guarded::Usr) {
            let at = path(name)?;
            let there = tree.lookup(&at, Follow::Parents);
            if there.is_some_and(|id| matches!(tree.inode(id).node, Node::Directory(_))) {
                return Err(Error::Policy(format!(
                    "`{at}` is a directory of its own, which a read-only /usr leaves unguarded: merge it into /usr \
                     (the package `usrmerge`), or have all of the root read-only"
                )));
            }
        }
        Ok(())
    }

    /// Has a tree be the root of hosts that cannot write it; nothing is done for `/usr`. `growth` is how `/var` grows.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn prepare(self, tree: &mut Tree, growth: Growth) -> Result<Option<String>, Error> {
        if self.part == Guarded::Usr {
            return Ok(None);
        }
        tree.make_directory(&path(&format!("{OWN}/etc/ssh"))?, Metadata::root(0o755))?;
        // Empty, not missing: see `host::integrate`, which has made it so.
        let (id, own) = (path("etc/machine-id")?, path(&format!("{OWN}/machine-id"))?);
        tree.put(&own, Metadata::root(0o444), Node::File(Content::empty()))?;
        link(tree, &id, &format!("../{OWN}/machine-id"))?;
        let (unit, text) = HOST_KEYS;
        let makes_keys = tree.lookup(&path(unit)?, Follow::Last).is_some();
        if makes_keys {
            put(tree, unit, text)?;
            for kind in KINDS {
                for name in [format!("ssh_host_{kind}_key"), format!("ssh_host_{kind}_key.pub")] {
                    let at = path(&format!("etc/ssh/{name}"))?;
                    if tree.lookup(&at, Follow::Parents).is_none() {
                        link(tree, &at, &format!("../../{OWN}/etc/ssh/{name}"))?;
                    }
                }
            }
        }
        if growth == Growth::Repart {
            let (unit, text) = GROW;
            put(tree, &format!("etc/systemd/system/{unit}"), text)?;
            units::enable(tree, unit, &mut Vec::new())?;
        }
        let has_sshd = tree.lookup(&path("usr/sbin/sshd")?, Follow::Last).is_some();
        let lacks =
            "the root is read-only, and the root file system's own unit makes the SSH host keys in /etc";
        Ok((has_sshd && !makes_keys).then(|| format!("machines will have no SSH host keys: {lacks}")))
    }

    /// Takes a tree apart: what hosts write, and what is guarded.
    ///
    /// # Errors
    /// When the directory between them is none.
    pub fn split(self, tree: &Tree) -> Result<(Tree, Tree), Error> {
        Ok(match self.part {
            Guarded::Usr => tree.part(&path("usr")?)?,
            Guarded::Root => {
                let (rest, var) = tree.part(&path("var")?)?;
                (var, rest)
            }
        })
    }

    /// Lays out the file system of the guarded tree, and hashes it. What is compressed lies in a file without a name
    /// among the scratch files.
    ///
    /// # Errors
    /// When the file system cannot hold the tree, or an input cannot be read.
    pub fn seal(
        self,
        tree: &ValidTree,
        decisions: &Decisions,
        surroundings: &Surroundings,
    ) -> Result<(Sealed, Verified), Error> {
        let (name, threads, ids) = (self.name(), surroundings.threads, &decisions.ids);
        let uuid = ids.uuid(&format!("{name} file system"));
        let epoch = decisions.epoch;
        let failed = |reason: String| Error::ReadOnly {
            place: self.part.to_string(),
            format: self.format.name(),
            reason,
        };
        let layout = match self.format {
            ReadOnlyFormat::Erofs => {
                let options = erofs::Options { uuid, label: name.to_owned(), epoch, threads };
                erofs::plan(tree, &options).map_err(|error| failed(error.to_string()))?.layout()
            }
            ReadOnlyFormat::Squashfs => {
                let (block_size, level) = SQUASHFS;
                let access_lists = squashfs::AccessLists::Refuse;
                let options = squashfs::Options { block_size, level, epoch, access_lists, threads };
                let spool = Unnamed::new(&surroundings.scratch);
                let spool = spool.map_err(Error::io(format!(
                    "making a scratch file in `{}`",
                    surroundings.scratch.display()
                )))?;
                squashfs::plan(tree, &options, Arc::clone(spool.file()), &|_| ())
                    .map_err(|error| failed(error.to_string()))?
                    .layout()
            }
            ReadOnlyFormat::Ext4 => {
                let plan = ext4::plan(tree, &ext4_options(decisions, name, threads));
                let plan = plan.map_err(|error| failed(error.to_string()))?;
                plan.layout(plan.minimum_size()).map_err(|error| failed(error.to_string()))?
            }
        };
        let halves = ["first", "second"].map(|half| ids.uuid(&format!("{name} verity salt, {half} half")));
        let salt = halves.map(Uuid::into_bytes).concat();
        let options =
            verity::Options { uuid: ids.uuid(&format!("{name} verity")), salt: salt.clone(), threads };
        let verity = Verity::compute(&layout, &options, &|_| ())?;
        let verified = Verified {
            path: self.part.to_string(),
            partition: name,
            file_system: self.format.name(),
            file_system_id: (self.format != ReadOnlyFormat::Squashfs).then(|| uuid.to_string()),
            root_hash: verity.root_hash(),
            salt: salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Ok((Sealed { layout, verity }, verified))
    }
}

fn put(tree: &mut Tree, at: &str, text: &str) -> Result<(), Error> {
    tree.put(&path(at)?, Metadata::root(0o644), Node::File(Content::bytes(text.as_bytes())))?;
    Ok(())
}

fn link(tree: &mut Tree, at: &TreePath, target: &str) -> Result<(), Error> {
    tree.put(at, Metadata::root(0o777), Node::Symlink(target.as_bytes().into()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USR: Immutable = Immutable { part: Guarded::Usr, format: ReadOnlyFormat::Erofs };
    const WHOLE: Immutable = Immutable { part: Guarded::Root, format: ReadOnlyFormat::Squashfs };

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for file in files {
            put(&mut tree, file, "").unwrap();
        }
        tree
    }

    /// A tree with what sets verified devices up, and more.
    fn able(files: &[&str]) -> Tree {
        let programs = SETS_UP.map(|name| format!("{SYSTEMD}/{name}"));
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        tree(&[&programs, files].concat())
    }

    fn target(tree: &Tree, at: &str) -> Option<String> {
        let id = tree.lookup(&path(at).unwrap(), Follow::Parents)?;
        let Node::Symlink(target) = &tree.inode(id).node else { return None };
        Some(String::from_utf8(target.to_vec()).unwrap())
    }

    fn has(tree: &Tree, at: &str) -> bool {
        tree.lookup(&path(at).unwrap(), Follow::Parents).is_some()
    }

    #[test]
    fn somebody_has_to_set_the_device_up() {
        assert!(USR.check(&able(&[])).is_ok());
        let refused = USR.check(&tree(&["usr/lib/systemd/systemd"])).unwrap_err().to_string();
        assert!(refused.contains("systemd-veritysetup` is missing"), "{refused}");
        assert!(refused.contains("systemd-cryptsetup"), "{refused}");
    }

    #[test]
    fn programs_outside_of_a_guarded_usr_are_refused() {
        let refused = USR.check(&able(&["sbin/init"])).unwrap_err().to_string();
        assert!(refused.contains("`/sbin` is a directory of its own"), "{refused}");
        assert!(refused.contains("usrmerge"), "{refused}");
        assert!(WHOLE.check(&able(&["sbin/init"])).is_ok(), "all of the root is guarded");
        let mut merged = able(&[]);
        link(&mut merged, &path("sbin").unwrap(), "usr/sbin").unwrap();
        assert!(USR.check(&merged).is_ok());
    }

    #[test]
    fn hosts_with_a_read_only_root_keep_their_own_below_var() {
        let unit = HOST_KEYS.0;
        let mut of_bake = tree(&["etc/machine-id", "usr/sbin/sshd", unit]);
        assert_eq!(WHOLE.prepare(&mut of_bake, Growth::Repart).unwrap(), None);
        assert_eq!(target(&of_bake, "etc/machine-id").unwrap(), "../var/lib/bake/machine-id");
        assert_eq!(
            target(&of_bake, "etc/ssh/ssh_host_rsa_key").unwrap(),
            "../../var/lib/bake/etc/ssh/ssh_host_rsa_key"
        );
        assert!(has(&of_bake, "var/lib/bake/machine-id"));
        assert!(has(&of_bake, "etc/systemd/system/bake-grow-var.service"));

        let mut of_others = tree(&["etc/machine-id", "usr/sbin/sshd"]);
        let note = WHOLE.prepare(&mut of_others, Growth::CloudInit).unwrap().unwrap();
        assert!(note.contains("no SSH host keys"), "{note}");
        assert!(!has(&of_others, "etc/systemd/system/bake-grow-var.service"));

        let mut with_usr = tree(&["etc/machine-id", "usr/sbin/sshd"]);
        assert_eq!(USR.prepare(&mut with_usr, Growth::Repart).unwrap(), None);
        assert_eq!(target(&with_usr, "etc/machine-id"), None, "hosts write the rest");
    }

    #[test]
    fn what_is_guarded_is_apart_from_what_hosts_write() {
        let whole = tree(&["etc/passwd", "usr/bin/sh", "var/log/wtmp"]);
        let (written, guarded) = USR.split(&whole).unwrap();
        assert!(has(&written, "etc/passwd") && has(&written, "usr") && !has(&written, "usr/bin"));
        assert!(has(&guarded, "bin/sh") && !has(&guarded, "etc"));
        let (written, guarded) = WHOLE.split(&whole).unwrap();
        assert!(has(&written, "log/wtmp") && !has(&written, "etc"));
        assert!(has(&guarded, "usr/bin/sh") && has(&guarded, "var") && !has(&guarded, "var/log"));
    }

    #[test]
    fn the_command_line_names_the_root_hash_and_what_damage_does() {
        let hash = Digest::of(b"");
        for (immutable, word, device) in [(USR, "usrhash", "usr"), (WHOLE, "roothash", "root")] {
            let arguments = immutable.arguments(hash);
            assert!(arguments.split(' ').any(|given| given == format!("{word}={hash}")), "{arguments}");
            let stops = format!("systemd.verity_{device}_options=panic-on-corruption");
            assert!(arguments.split(' ').any(|given| given == stops), "{arguments}");
        }
    }
}
