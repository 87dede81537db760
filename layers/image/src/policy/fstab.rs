//! The image's `fstab` (fstab(5)).

use bake_tree::{Content, Metadata, Tree, TreePath};

use super::{HostPolicy, Mount, key_path, path};
use crate::Error;

/// The largest `fstab` that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// What the installer of Debian leaves in an `fstab` that holds nothing.
const UNCONFIGURED: &str = "# UNCONFIGURED FSTAB FOR BASE SYSTEM";
/// Types of file systems that need no check at boot, or have none.
const UNCHECKED: [&str; 19] = [
    "9p", "bind", "btrfs", "cifs", "devpts", "erofs", "iso9660", "nfs", "nfs4", "none", "overlay", "proc",
    "ramfs", "squashfs", "swap", "sysfs", "tmpfs", "virtiofs", "xfs",
];

/// Writes `fstab`: `own` lines first, then the lines that the root file system brought, then the policy's.
///
/// A line of the root file system stays, unless its mount point is one of the others'.
///
/// # Errors
/// When a mount of the policy makes no sense or is bake's own, or a mount point cannot be made.
pub fn write_fstab(tree: &mut Tree, own: &[(String, String)], policy: &HostPolicy) -> Result<(), Error> {
    let mut text: String = own.iter().map(|(_, line)| format!("{line}\n")).collect();
    let mut points = own.iter().map(|(point, _)| path(point)).collect::<Result<Vec<_>, _>>()?;
    let mut lines = String::new();
    for (point, mount) in &policy.mounts {
        if point != "none" {
            let at = key_path("mounts", point)?;
            if at.is_root() || points.contains(&at) {
                let message = "bake mounts its own file system there: leave it out";
                return Err(Error::Policy(format!("mounts.\"{point}\": {message}")));
            }
            points.push(at);
        }
        lines.push_str(&mount.line(point)?);
    }
    let fstab = path("etc/fstab")?;
    let before = tree.read(&fstab, LIMIT)?.unwrap_or_default();
    for line in String::from_utf8_lossy(&before).lines().filter(|line| line.trim() != UNCONFIGURED) {
        if !mount_point(line).is_some_and(|point| points.contains(&point)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(&lines);
    for point in &points {
        tree.make_directory(point, Metadata::root(0o755))?;
    }
    tree.write(&fstab, Metadata::root(0o644), Content::bytes(text.into_bytes()))?;
    Ok(())
}

/// Where a line mounts something; comments, blank lines and swap mount nothing.
fn mount_point(line: &str) -> Option<TreePath> {
    let point = line.split_whitespace().nth(1).filter(|_| !line.trim_start().starts_with('#'))?;
    point.starts_with('/').then(|| path(point).ok())?
}

impl Mount {
    fn line(&self, point: &str) -> Result<String, Error> {
        let wrong = |what: String| Err(Error::Policy(format!("mounts.\"{point}\": {what}")));
        let (source, kind) = (&self.source, &self.kind);
        let options = self.options.as_deref().unwrap_or("defaults");
        let splits = |c: char| c.is_whitespace() || c.is_control();
        if [source, point, kind, options].iter().any(|field| field.contains(splits) || field.is_empty()) {
            return wrong("a field is empty or holds white space".to_owned());
        }
        if source.starts_with('#') {
            return wrong(format!("`{source}` would be a comment: `source` cannot begin with `#`"));
        }
        if source.starts_with("/dev/") && !source.starts_with("/dev/disk/by-") {
            return wrong(format!("`{source}` is another disk on another machine: use LABEL= or UUID="));
        }
        if (point == "none") != (kind == "swap") {
            return wrong("swap, and nothing else, is mounted at `none`".to_owned());
        }
        let is_bind = options.split(',').any(|option| matches!(option, "bind" | "rbind"));
        let unchecked = UNCHECKED.contains(&kind.as_str()) || kind.starts_with("fuse") || is_bind;
        Ok(format!("{source} {point} {kind} {options} 0 {}\n", if unchecked { 0 } else { 2 }))
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::Follow;

    use super::*;
    use crate::policy::tests::{policy, text};

    fn own() -> [(String, String); 2] {
        [("/", "UUID=1 / ext4 defaults 0 1"), ("/boot/efi", "UUID=2 /boot/efi vfat umask=0077 0 2")]
            .map(|(point, line)| (point.to_owned(), line.to_owned()))
    }

    #[test]
    fn the_fstab_keeps_what_nobody_replaces() {
        let mut tree = Tree::new();
        let old = "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n# comment\n/dev/sda1 / ext4 defaults 0 1\n\n\
                   tmpfs /scratch tmpfs size=1G 0 0\n/dev/sda3 none swap sw 0 0\nLABEL=x /data/ xfs defaults 0 2\n";
        tree.write(&path("etc/fstab").unwrap(), Metadata::root(0o644), Content::bytes(old.as_bytes()))
            .unwrap();
        let policy = policy(
            "[mounts]\n'/data' = { source = 'LABEL=data', type = 'xfs' }\n\
             '/srv' = { source = 'LABEL=srv', type = 'ext4' }\n\
             '/x' = { source = '/srv/x', type = 'ext4', options = 'ro,bind' }\n\
             none = { source = 'LABEL=swap', type = 'swap' }",
        );
        write_fstab(&mut tree, &own()[..1], &policy).unwrap();
        let expected = "UUID=1 / ext4 defaults 0 1\n# comment\n\ntmpfs /scratch tmpfs size=1G 0 0\n\
                        /dev/sda3 none swap sw 0 0\nLABEL=data /data xfs defaults 0 0\n\
                        LABEL=srv /srv ext4 defaults 0 2\n/srv/x /x ext4 ro,bind 0 0\n\
                        LABEL=swap none swap defaults 0 0\n";
        assert_eq!(text(&tree, "etc/fstab"), expected);
        assert!(tree.lookup(&path("data").unwrap(), Follow::Last).is_some());
        assert!(tree.lookup(&path("none").unwrap(), Follow::Last).is_none());
    }

    #[test]
    fn mounts_that_make_no_sense_are_refused() {
        for (point, source, kind, reason) in [
            ("/data", "/dev/sdb", "xfs", "LABEL="),
            ("/", "LABEL=x", "ext4", "its own"),
            ("/boot/efi", "LABEL=x", "vfat", "its own"),
            ("/boot/efi/", "LABEL=x", "vfat", "expected `/boot/efi`"),
            ("data", "LABEL=x", "ext4", "expected `/data`"),
            ("/data/../x", "LABEL=x", "ext4", "`..`"),
            ("none", "LABEL=x", "ext4", "swap"),
            ("/swap", "LABEL=x", "swap", "swap"),
            ("/data", "#x", "ext4", "comment"),
            ("/data", "LABEL=a b", "ext4", "white space"),
        ] {
            let policy = policy(&format!("[mounts.'{point}']\nsource = '{source}'\ntype = '{kind}'"));
            let message = write_fstab(&mut Tree::new(), &own(), &policy).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("mounts.\""), "{message}");
        }
    }
}
