//! Looking at everything once before anything is placed: who is there, what of the files is data, what the
//! attributes are. What EROFS cannot hold is found here.

use std::collections::BTreeMap;
use std::ops::Range;

use bake_base::parallel;
use bake_tree::{Directory, InodeId, Node, Tree, ValidTree};

use super::attributes::{self, Shared};
use super::chunks::Chunks;
use super::directory;
use super::{BLOCK, Error};
use crate::unwritable::{by_path, path_of};

/// The longest file that Linux reads.
const LONGEST_FILE: u64 = i64::MAX as u64;

/// An inode that is written.
#[derive(Debug)]
pub(super) struct Member {
    pub id: InodeId,
    /// What follows the inode.
    pub attributes: Vec<u8>,
    pub body: Body,
}

/// The content of an inode.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// None.
    None,
    /// So many bytes in a row; of a file, the runs of blocks that hold something.
    Row(u64, Vec<Range<u64>>),
    /// A sparse file, with the same runs.
    Chunks(Chunks, Vec<Range<u64>>),
}

/// All that is written.
#[derive(Debug)]
pub(super) struct Survey<'tree> {
    pub tree: &'tree ValidTree,
    /// The root, then everything else in the order of the tree's layers.
    pub members: Vec<Member>,
    /// Every directory's parent, by [`InodeId::index`].
    pub parents: Vec<InodeId>,
    pub shared: Shared,
}

/// Surveys a tree.
pub(super) fn survey(tree: &ValidTree, threads: usize) -> Result<Survey<'_>, Error> {
    let live = tree.slots().iter().copied().filter(|id| tree.link_count(*id) > 0);
    let ids: Vec<InodeId> = std::iter::once(Tree::ROOT).chain(live).collect();
    let mut problems: Vec<(InodeId, String)> = Vec::new();
    let mut counted: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for id in &ids {
        let inode = tree.inode(*id);
        if let Node::File(content) = &inode.node
            && content.len() > LONGEST_FILE
        {
            problems.push((*id, format!("has {} bytes: expected at most {LONGEST_FILE}", content.len())));
        }
        match attributes::entries(&inode.metadata.xattrs) {
            Ok(entries) => entries.into_iter().for_each(|entry| *counted.entry(entry).or_default() += 1),
            Err(problem) => problems.push((*id, problem)),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Unwritable(by_path(tree, problems)));
    }
    let shared = Shared::new(counted);
    let member = |scratch: &mut Vec<u8>, index: usize| {
        let id = ids[index];
        let inode = tree.inode(id);
        let read = |source| (id, source);
        // All have been encoded before.
        let entries = attributes::entries(&inode.metadata.xattrs).unwrap_or_default();
        let body = match &inode.node {
            Node::File(content) => body(content.data_blocks(BLOCK, scratch).map_err(read)?, content.len()),
            Node::Symlink(target) => Body::Row(target.len() as u64, Vec::new()),
            Node::Directory(directory) => {
                Body::Row(directory::len(&directory::with_dots(directory.iter(), id, id)), Vec::new())
            }
            _ => Body::None,
        };
        Ok(Member { id, attributes: shared.encode(&entries), body })
    };
    let members = parallel::map(threads, ids.len(), Vec::new, member)
        .map_err(|(id, source)| Error::Read { path: path_of(tree, id), source })?;
    let mut parents = vec![Tree::ROOT; tree.arena_len()];
    for id in &ids {
        let names = tree.inode(*id).as_directory().into_iter().flat_map(Directory::iter);
        names.for_each(|(_, child)| parents[child.index()] = *id);
    }
    Ok(Survey { tree, members, parents, shared })
}

/// How a file is stored.
fn body(data: Vec<Range<u64>>, len: u64) -> Body {
    match Chunks::cut(&data, len.div_ceil(BLOCK)) {
        _ if len == 0 => Body::None,
        Some(chunks) => Body::Chunks(chunks, data),
        None => Body::Row(len, data),
    }
}
