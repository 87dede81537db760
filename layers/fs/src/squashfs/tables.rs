//! Everything but content: inodes, the names of directories, and the tables that both refer to.
//!
//! A directory's names need the places of its inodes, and its own inode needs the place of the names; so
//! everything below a directory comes before it, and the root last.

use std::collections::{BTreeMap, BTreeSet};

use bake_base::ReadAt;
use bake_tree::{Directory, InodeId, Node, Tree, ValidTree};

use super::attributes::{self, Sets};
use super::compress::Zstd;
use super::data::Data;
use super::directory::{self, Name};
use super::error::ids;
use super::inode::{self, Head};
use super::metadata::{Position, Stream, table};
use super::superblock::{self, Superblock};
use super::{Error, Options};

/// How many owners and groups there can be.
const MOST_IDS: usize = u16::MAX as usize;

/// Writes the superblock and all tables, for an image in which the content comes between the two.
pub(super) fn write(tree: &ValidTree, options: &Options, data: &Data) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let order = Order::new(tree);
    let owners = owners(tree)?;
    let head_len = superblock::len(options);
    let (mut inodes_zstd, mut names_zstd) = (Zstd::new(options.level), Zstd::new(options.level));
    let mut writer = Writer {
        tree,
        options,
        data,
        order: &order,
        owners: &owners,
        content_start: head_len,
        sets: Sets::default(),
        inodes: Stream::new(&mut inodes_zstd),
        names: Stream::new(&mut names_zstd),
        places: vec![Position::default(); tree.arena_len()],
    };
    for id in &order.ids {
        writer.write_inode(*id)?;
    }
    let Writer { inodes, names, places, sets, .. } = writer;

    let origin = head_len + data.spool.len();
    let mut tables = inodes.finish()?.0;
    let directory_table = origin + tables.len() as u64;
    tables.extend(names.finish()?.0);
    let mut zstd = Zstd::new(options.level);
    let mut add = |tables: &mut Vec<u8>, entries: Vec<u8>| table(tables, origin, &mut zstd, &entries);
    let fragment = |fragment: &super::data::Fragment| {
        let start = head_len + fragment.start;
        [&start.to_le_bytes()[..], &fragment.size.to_le_bytes(), &[0; 4]].concat()
    };
    let fragment_table = add(&mut tables, data.fragments.iter().flat_map(fragment).collect())?;
    let export = order.ids.iter().flat_map(|id| places[id.index()].reference().to_le_bytes());
    let export_table = add(&mut tables, export.collect())?;
    let id_table = add(&mut tables, owners.keys().flat_map(|id| id.to_le_bytes()).collect())?;
    let xattr_table = sets.write(&mut tables, origin, &mut zstd)?;
    let superblock = Superblock {
        inodes: order.ids.len() as u32,
        fragments: data.fragments.len() as u32,
        ids: owners.len() as u16,
        root: places[Tree::ROOT.index()].reference(),
        bytes_used: origin + tables.len() as u64,
        id_table,
        xattr_table,
        inode_table: origin,
        directory_table,
        fragment_table,
        export_table,
    };
    Ok((superblock.encode(options), tables))
}

/// All inodes in the order in which they are written, which is that of their numbers.
struct Order {
    ids: Vec<InodeId>,
    /// By [`InodeId::index`].
    numbers: Vec<u32>,
    /// Every directory's parent, by [`InodeId::index`].
    parents: Vec<InodeId>,
}

impl Order {
    fn new(tree: &ValidTree) -> Self {
        let names = |id: InodeId| tree.inode(id).as_directory().into_iter().flat_map(Directory::iter);
        let is_directory = |id: InodeId| tree.inode(id).as_directory().is_some();
        let mut parents = vec![Tree::ROOT; tree.arena_len()];
        let (mut directories, mut ahead) = (Vec::new(), vec![Tree::ROOT]);
        while let Some(id) = ahead.pop() {
            directories.push(id);
            for (_, child) in names(id).filter(|(_, child)| is_directory(*child)) {
                parents[child.index()] = id;
                ahead.push(child);
            }
        }
        let mut numbers = vec![0; tree.arena_len()];
        let mut ids = Vec::new();
        let mut add = |id: InodeId| {
            if numbers[id.index()] == 0 {
                ids.push(id);
                numbers[id.index()] = ids.len() as u32;
            }
        };
        // Directories come after all that are below them.
        for directory in directories.into_iter().rev() {
            names(directory).filter(|(_, child)| !is_directory(*child)).for_each(|(_, child)| add(child));
            add(directory);
        }
        Self { ids, numbers, parents }
    }

    fn number(&self, id: InodeId) -> u32 {
        self.numbers[id.index()]
    }

    /// The number of a directory's parent; for the root, one that nobody has.
    fn parent(&self, id: InodeId) -> u32 {
        if id == Tree::ROOT { self.ids.len() as u32 + 1 } else { self.number(self.parents[id.index()]) }
    }
}

/// All owners and groups with their numbers.
fn owners(tree: &ValidTree) -> Result<BTreeMap<u32, u16>, Error> {
    let metadata = ids(tree).map(|id| &tree.inode(id).metadata);
    let all: BTreeSet<u32> = metadata.flat_map(|metadata| [metadata.uid, metadata.gid]).collect();
    if all.len() > MOST_IDS {
        return Err(Error::TooLarge { what: "different owners and groups", most: MOST_IDS as u64 });
    }
    Ok(all.into_iter().zip(0..).collect())
}

struct Writer<'a> {
    tree: &'a ValidTree,
    options: &'a Options,
    data: &'a Data,
    order: &'a Order,
    owners: &'a BTreeMap<u32, u16>,
    /// Where content begins in the image.
    content_start: u64,
    sets: Sets,
    inodes: Stream<'a>,
    names: Stream<'a>,
    /// Where each inode is, by [`InodeId::index`].
    places: Vec<Position>,
}

impl Writer<'_> {
    fn write_inode(&mut self, id: InodeId) -> Result<(), Error> {
        let inode = self.tree.inode(id);
        let head = self.head(id);
        self.places[id.index()] = self.inodes.position()?;
        let bytes = match &inode.node {
            Node::Directory(directory) => {
                let name = |(name, child): (_, InodeId)| Name {
                    name,
                    inode: self.places[child.index()],
                    number: self.order.number(child),
                    kind: inode::kind(&self.tree.inode(child).node),
                };
                let names: Vec<_> = directory.iter().map(name).collect();
                let listing = directory::write(&mut self.names, &names)?;
                inode::directory(head, &listing, self.order.parent(id))?
            }
            Node::File(content) => {
                let stored = &self.data.files[id.index()];
                let block_size = u64::from(self.options.block_size);
                let sizes = (self.content_start, content.len(), block_size);
                return inode::file(&mut self.inodes, head, stored, sizes);
            }
            Node::Symlink(target) => inode::symlink(head, target),
            Node::CharDevice(device) | Node::BlockDevice(device) => inode::device(head, *device),
            Node::Fifo => inode::fifo(head),
        };
        self.inodes.append(&bytes)
    }

    fn head(&mut self, id: InodeId) -> Head {
        let inode = self.tree.inode(id);
        let metadata = &inode.metadata;
        let time = self.options.epoch.clamp(metadata.mtime).seconds;
        // All have been encoded before.
        let xattrs = attributes::entries(&metadata.xattrs, self.options.access_lists).unwrap_or_default();
        Head {
            kind: inode::kind(&inode.node),
            mode: metadata.mode,
            owner: (self.owners[&metadata.uid], self.owners[&metadata.gid]),
            time: time.clamp(0, i64::from(u32::MAX)) as u32,
            number: self.order.number(id),
            links: self.tree.link_count(id),
            xattrs: self.sets.number(xattrs),
        }
    }
}
