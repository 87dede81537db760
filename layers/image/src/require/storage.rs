//! Where overlays are made: they need a file system that tells the types of entries with their names (`d_type`).
//!
//! What bake makes does. What hosts mount in addition is known by its type only; an XFS can be of either kind.

use std::collections::BTreeMap;

use bake_tree::{Tree, TreePath};
use serde_json::Value;

use super::{LIMIT, Verdict};
use crate::error::{Error, path};
use crate::policy::Mount;

/// File systems for overlays.
const SUITABLE: [&str; 2] = ["ext4", "xfs"];
/// Of which only a running host knows: those that were made with `ftype=0` do not tell types.
const UNCERTAIN: &str = "xfs";

const DAEMON: &str = "etc/docker/daemon.json";
/// Where Docker keeps everything, unless it is told another place.
const STORE: &str = "/var/lib/docker";
/// The driver on overlays.
const DRIVER: &str = "overlay2";

/// Whether Docker's own settings (dockerd(8), "Daemon configuration file") give a driver that works, in a place for it.
pub(super) fn docker(tree: &Tree, mounts: &BTreeMap<String, Mount>) -> Result<Verdict, Error> {
    let text = tree.read(&path(DAEMON)?, LIMIT)?.filter(|text| !text.trim_ascii().is_empty());
    let settings = match text.map(|text| serde_json::from_slice::<Value>(&text)).transpose() {
        Ok(settings) => settings.unwrap_or_default(),
        Err(error) => return Ok(Verdict::Broken(format!("/{DAEMON} is no JSON ({error})"))),
    };
    let told = |key: &str| settings.get(key).and_then(Value::as_str);
    if let Some(driver) = told("storage-driver").filter(|driver| *driver != DRIVER) {
        return Ok(Verdict::Broken(format!("`storage-driver` in /{DAEMON} is `{driver}`")));
    }
    let store = told("data-root").or(told("graph")).unwrap_or(STORE).to_owned();
    overlays(tree, mounts, &[store])
}

/// Whether overlays can be made in each of these directories.
pub(super) fn overlays(
    tree: &Tree,
    mounts: &BTreeMap<String, Mount>,
    directories: &[String],
) -> Result<Verdict, Error> {
    let mounted = mounted(tree, mounts)?;
    let mut verdict = Verdict::Met;
    for directory in directories {
        let at = path(directory)?;
        let below = mounted.iter().filter(|(point, _)| at.starts_with(point));
        let Some((point, kind)) = below.max_by_key(|(point, _)| point.as_bytes().len()) else { continue };
        if !SUITABLE.contains(&kind.as_str()) {
            return Ok(Verdict::Broken(format!(
                "{directory} is on the `{kind}` that is mounted at `{point}`, and overlays need one of {}",
                SUITABLE.join(", ")
            )));
        }
        if kind == UNCERTAIN {
            let what =
                format!("the {kind} at `{point}` is not here (it needs `ftype=1`, as `xfs_info` tells)");
            verdict = Verdict::Unknown(what);
        }
    }
    Ok(verdict)
}

/// Mount points but for the root, which is bake's or known, with their file systems' types. The policy replaces lines.
fn mounted(tree: &Tree, mounts: &BTreeMap<String, Mount>) -> Result<BTreeMap<TreePath, String>, Error> {
    let text = tree.read(&path("etc/fstab")?, LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut mounted = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut fields = line.split_whitespace().skip(1);
        if let (Some(point), Some(kind)) =
            (fields.next().filter(|point| point.starts_with('/')), fields.next())
            && let Ok(point) = path(point)
        {
            mounted.insert(point, kind.to_owned());
        }
    }
    for (point, mount) in mounts.iter().filter(|(point, _)| point.starts_with('/')) {
        mounted.insert(path(point)?, mount.kind.clone());
    }
    mounted.retain(|point, _| !point.is_root());
    Ok(mounted)
}
