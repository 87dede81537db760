//! What a build left behind becomes a package: the entries as they are, without owners and times of their own,
//! in one order, compressed in blocks of one size.

use std::io::{BufWriter, Write};
use std::path::Path;

use bake_archive::{OpenOptions, XzEncoder, open_rootfs, write_tar};
use bake_base::{Digest, DigestWriter};
use bake_host::PackageId;
use bake_host::contents::{CONTENTS, Contents};
use bake_tree::{Content, InodeId, Metadata, Node, Tree, TreePath, ValidTree};

use crate::{EPOCH, Error};

/// xz's own default preset.
const PRESET: u32 = 6;

/// The tree of a package of what lies in the directory `result`.
///
/// # Errors
/// As [`finish`].
pub(crate) fn tree(
    id: &PackageId,
    result: &Path,
    documents: &[(&str, Vec<u8>)],
    threads: usize,
) -> Result<ValidTree, Error> {
    let mut opened = open_rootfs(result, &OpenOptions::default())?;
    let left_out = std::mem::take(&mut opened.notes).into_iter();
    let problems: Vec<_> =
        left_out.map(|note| format!("{note}: packages hold files, directories and links")).collect();
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        tree.apply(members, policy).map_err(|found| Error::listed(id, &found))?;
    }
    let contents = |(path, source): (TreePath, _)| {
        Error::io("reading", &result.join(path.to_string().trim_start_matches('/')))(source)
    };
    complete(id, tree, problems, documents, threads, contents)
}

/// The tree of a package: what is in `tree`, with `documents` (name and bytes) on top and the list of contents.
///
/// # Errors
/// All entries at once that a package cannot have: devices, fifos and sockets, set-id programs, links into the
/// build's own directories, a `contents.json` of the build's.
pub fn finish(
    id: &PackageId,
    tree: Tree,
    documents: &[(&str, Vec<u8>)],
    threads: usize,
) -> Result<ValidTree, Error> {
    let contents = |(path, source): (TreePath, std::io::Error)| {
        Error::package(id, format!("`{path}` cannot be read: {source}"))
    };
    complete(id, tree, Vec::new(), documents, threads, contents)
}

fn complete(
    id: &PackageId,
    mut tree: Tree,
    mut problems: Vec<String>,
    documents: &[(&str, Vec<u8>)],
    threads: usize,
    unreadable: impl FnOnce((TreePath, std::io::Error)) -> Error,
) -> Result<ValidTree, Error> {
    let entries: Vec<_> = tree.walk().collect();
    for (path, id) in &entries {
        problems.extend(problem(&tree, path, *id));
        // A directory inherits set-id bits from where the build happened to lie.
        let set_id = if tree.inode(*id).as_directory().is_some() { 0o6000 } else { 0 };
        let metadata = tree.metadata_mut(*id);
        *metadata = Metadata::root(metadata.mode & !set_id);
    }
    if !problems.is_empty() {
        return Err(Error::listed(id, &problems));
    }
    // It belongs to the host, which goes through it.
    *tree.metadata_mut(Tree::ROOT) = Metadata::root(0o755);
    let put = |tree: &mut Tree, name: &str, bytes: Vec<u8>| {
        let path = TreePath::parse(name.as_bytes()).map_err(|error| Error::package(id, error))?;
        let file = Node::File(Content::bytes(bytes));
        tree.put(&path, Metadata::root(0o644), file).map_err(|error| Error::package(id, error))
    };
    for (name, bytes) in documents {
        put(&mut tree, name, bytes.clone())?;
    }
    let contents = Contents::of(&tree, threads).map_err(unreadable)?;
    put(&mut tree, CONTENTS, contents.to_json())?;
    tree.clamp_times(EPOCH);
    tree.seal();
    ValidTree::new(tree).map_err(|found| Error::listed(id, &found))
}

/// Writes a tree as `.tar.xz`; the bytes do not depend on the number of threads. Digest and length of what
/// was written.
///
/// # Errors
/// When content cannot be read or `out`, which is called `path`, cannot be written.
pub fn write(tree: &ValidTree, out: impl Write, path: &Path, threads: usize) -> Result<(Digest, u64), Error> {
    let mut digests = DigestWriter::new(BufWriter::with_capacity(1 << 18, out));
    let mut encoder = XzEncoder::new(&mut digests, PRESET, threads).map_err(Error::io("writing", path))?;
    write_tar(tree, &mut encoder)?;
    encoder.finish().map_err(Error::io("writing", path))?;
    digests.flush().map_err(Error::io("writing", path))?;
    Ok(digests.finish())
}

/// What is wrong with an entry, if anything is.
fn problem(tree: &Tree, path: &TreePath, id: InodeId) -> Option<String> {
    let inode = tree.inode(id);
    let mode = inode.metadata.mode;
    match &inode.node {
        Node::CharDevice(_) | Node::BlockDevice(_) | Node::Fifo => {
            Some(format!("`{path}` is {}: packages hold files, directories and links", inode.node.describe()))
        }
        _ if path.as_bytes() == CONTENTS.as_bytes() => {
            Some(format!("`{path}` was made by the build: the name is taken by the list of contents"))
        }
        Node::File(_) if mode & 0o6000 != 0 => Some(format!(
            "`{path}` has mode {mode:04o}: set-id programs would be root's on every host; `chmod ug-s` it"
        )),
        Node::Symlink(target) if target.starts_with(b"/pkg/") => Some(format!(
            "`{path}` points to `{}`, which is there only while building: copy what it means",
            target.escape_ascii()
        )),
        _ => None,
    }
}
