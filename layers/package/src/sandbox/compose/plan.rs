//! What is mounted where, as a tree of names; judged before anything is mounted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Source;
use crate::sandbox::channel::Failure;
use crate::sandbox::spec::Spec;

/// Entries of a directory, by name.
pub(super) type Children = BTreeMap<String, Node>;

/// The whole plan.
pub(super) struct Plan {
    /// The builder's root.
    pub root: Source,
    /// What lies in it.
    pub children: Children,
}

/// A directory on the way to a mount point, or one.
#[derive(Default)]
pub(super) struct Node {
    /// What is mounted here; nothing for a directory on the way.
    pub point: Option<Point>,
    /// What lies below.
    pub children: Children,
}

/// What lies at a path.
pub(super) enum Point {
    Bind { source: Source, writable: bool },
    Shuffled(Source),
    Memory { mode: u32 },
    Devices,
    Processes,
    Link(PathBuf),
}

impl Point {
    pub(super) fn is_directory(&self) -> bool {
        match self {
            Self::Bind { source, .. } => source.is_directory,
            Self::Link(_) => false,
            _ => true,
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        matches!(self, Self::Bind { writable: true, .. })
    }
}

impl Node {
    /// Whether `directory` has every mount point that is needed below this node.
    pub(super) fn lies_in(&self, directory: &Path) -> bool {
        self.children.iter().all(|(name, child)| {
            let path = directory.join(name);
            let Ok(metadata) = std::fs::symlink_metadata(&path) else { return false };
            match &child.point {
                Some(Point::Link(_)) => false,
                Some(point) if point.is_directory() => metadata.is_dir(),
                Some(_) => metadata.is_file(),
                None => metadata.is_dir() && child.lies_in(&path),
            }
        })
    }
}

pub(super) fn plan(spec: &Spec) -> Result<Plan, Failure> {
    let root = Source::open(&spec.root)?;
    let mut children = Children::new();
    insert(&mut children, "/dev", Point::Devices)?;
    insert(&mut children, "/proc", Point::Processes)?;
    insert(&mut children, "/tmp", Point::Memory { mode: 0o1777 })?;
    insert(&mut children, "/var/tmp", Point::Memory { mode: 0o1777 })?;
    insert(&mut children, "/root", Point::Memory { mode: 0o700 })?;
    insert(&mut children, "/run", Point::Memory { mode: 0o755 })?;
    if let Some(prefix) = &spec.real_prefix {
        insert(&mut children, "/pkg", Point::Link(format!("{prefix}/pkg").into()))?;
    }
    for mount in &spec.mounts {
        let source = Source::open(&mount.source)?;
        let target = match &spec.real_prefix {
            Some(prefix) if Path::new(&mount.target).starts_with("/pkg") => {
                format!("{prefix}{}", mount.target)
            }
            _ => mount.target.clone(),
        };
        let point = if spec.is_shuffled && mount.target.starts_with("/pkg/") {
            Point::Shuffled(source)
        } else {
            Point::Bind { source, writable: mount.writable }
        };
        insert(&mut children, &target, point)?;
    }
    Ok(Plan { root, children })
}

/// Puts a mount point into the tree.
fn insert(children: &mut Children, target: &str, point: Point) -> Result<(), Failure> {
    let refuse = |why: &str| {
        Err(Failure::new(format!("mount on `{target}`"), io::Error::new(io::ErrorKind::InvalidInput, why)))
    };
    let Some(path) = target.strip_prefix('/') else { return refuse("it is not an absolute path") };
    let mut node = None;
    let mut here = children;
    for name in path.split('/') {
        if matches!(name, "" | "." | "..") {
            return refuse("it has an empty name, `.` or `..` in it");
        }
        let next = here.entry(name.to_owned()).or_default();
        if !next.point.as_ref().is_none_or(Point::holds_others) {
            return refuse("something without mount points lies on the way, or there already");
        }
        node = Some(&mut next.point);
        here = &mut next.children;
    }
    match node {
        Some(slot @ None) => *slot = Some(point),
        _ => return refuse("something else is mounted there"),
    }
    Ok(())
}

impl Point {
    /// Whether something may be mounted in it.
    fn holds_others(&self) -> bool {
        match self {
            Self::Bind { source, .. } => source.is_directory,
            Self::Memory { .. } | Self::Shuffled(_) => true,
            Self::Devices | Self::Processes | Self::Link(_) => false,
        }
    }
}
