//! From the plan to bytes: everything that the file system consists of, put where the plan says.

use std::ops::Range;
use std::sync::Arc;

use bake_base::{Layout, LayoutBuilder, ReadAt};
use bake_tree::{Content, Directory, InodeId, Metadata, Node};

use super::Plan;
use super::bitmap::BlockBitmaps;
use super::bytes::Ink;
use super::census::{self, LOST, LOST_AND_FOUND, ROOT, number};
use super::checksum::Seed;
use super::directory::{self, Entry, Names};
use super::extents::{self, Extent, ROOT_SIZE};
use super::geometry::{BLOCK, Geometry, INODE_SIZE, Span};
use super::groups::{self, UsedInode};
use super::inode::{self, Record};
use super::journal;
use super::placement::Placed;
use super::resize;
use super::space::join;
use super::superblock::{self, Superblock};
use crate::ink::refer;

/// The blocks of all groups' own structures, in no order.
pub(super) fn structures(geometry: &Geometry, span: Span) -> impl Iterator<Item = Range<u64>> {
    let geometry = *geometry;
    (0..span.groups).flat_map(move |group| {
        let run = |start: u64, len: u64| start..start + len;
        let superblock = run(group * super::geometry::GROUP_BLOCKS, geometry.backup_blocks(group));
        let bitmaps = [geometry.block_bitmap(group), geometry.inode_bitmap(group)].map(|block| run(block, 1));
        let table = run(geometry.inode_table(group), geometry.table_blocks());
        bitmaps.into_iter().chain([superblock, table]).filter(|run| !run.is_empty())
    })
}

/// Makes the layout of a size that was checked.
pub(super) fn image(plan: &Plan<'_>, size: u64) -> Layout {
    let span = plan.geometry.span(size / BLOCK);
    let seed = Seed::of(plan.options.uuid);
    let mut writer = Writer {
        plan,
        seed,
        parents: plan.census.parents(),
        table: vec![0; census::number(plan.census.len() - 1) as usize * INODE_SIZE],
        used: Vec::with_capacity(plan.census.len() + 9),
        ink: Ink::default(),
        layout: LayoutBuilder::new(),
    };
    let journal = writer.write_reserved(span);
    for place in 0..plan.census.len() {
        if plan.census.is_live(place) {
            writer.write_inode(place);
        }
    }
    for block in plan.placement.attributes.iter().filter(|block| block.sharers > 0) {
        let bytes = block.content.block(seed, block.number, block.sharers);
        writer.ink.put_block(block.number, &bytes, block.content.tail());
    }
    writer.write_groups(span, journal);
    writer.ink.finish(&mut writer.layout);
    writer.layout.finish(size).expect("every block has one owner, before the end that was checked")
}

struct Writer<'a, 'tree> {
    plan: &'a Plan<'tree>,
    seed: Seed,
    parents: Vec<u32>,
    /// All inodes up to the last one in use, as if the tables lay in a row.
    table: Vec<u8>,
    used: Vec<UsedInode>,
    ink: Ink,
    layout: LayoutBuilder,
}

impl<'a> Writer<'a, '_> {
    /// Writes an inode to its place in the table.
    fn put_inode(&mut self, number: u32, record: &Record<'_>) {
        let at = (number - 1) as usize * INODE_SIZE;
        self.table[at..at + INODE_SIZE].copy_from_slice(&record.encode(number, self.seed));
        self.used.push(UsedInode { number, is_directory: record.mode & 0xf000 == inode::DIRECTORY });
    }

    /// Writes the extents of what was placed and gives their root and how many blocks there are in all.
    fn write_extents(&mut self, number: u32, placed: &Placed, extents: &[Extent]) -> ([u8; ROOT_SIZE], u64) {
        let tree = placed.tree(extents);
        let root = extents::encode(extents, tree, self.seed.of_inode(number), &mut self.ink);
        let data: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
        (root, data + tree.len() as u64)
    }

    /// The inodes with low numbers (`special_inodes.rst`). Those without a use stay zero; they are taken all the
    /// same. Gives the root of the journal's extents.
    fn write_reserved(&mut self, span: Span) -> [u8; ROOT_SIZE] {
        let plan = self.plan;
        let hidden = |size, blocks, flags, content| Record {
            mode: inode::REGULAR | 0o600,
            uid: 0,
            gid: 0,
            size,
            links: 1,
            blocks,
            flags,
            time: plan.options.epoch.timestamp(),
            content,
            attribute_block: 0,
            inline: &[],
        };
        let file = resize::write(&plan.geometry, span, plan.placement.resize_map, &mut self.ink);
        self.put_inode(inode::RESIZE, &hidden(resize::SIZE, file.blocks, 0, file.content));
        let placed = &plan.placement.journal;
        let extents = placed.extents();
        let (root, blocks) = self.write_extents(inode::JOURNAL, placed, &extents);
        let size = plan.options.journal_bytes;
        self.put_inode(inode::JOURNAL, &hidden(size, blocks, inode::USES_EXTENTS, root));
        self.ink.put_block(extents[0].physical, &journal::superblock(size / BLOCK), 0);
        let unused = (1..super::geometry::FIRST_INODE)
            .filter(|number| !matches!(*number, inode::ROOT | inode::RESIZE | inode::JOURNAL));
        self.used.extend(unused.map(|number| UsedInode { number, is_directory: false }));
        root
    }

    fn write_inode(&mut self, place: usize) {
        let plan = self.plan;
        let (census, number) = (&plan.census, number(place));
        let placed = &plan.placement.inodes[place];
        let missing = Metadata { mtime: plan.options.epoch.timestamp(), ..Metadata::root(0o700) };
        let id = census.at(place);
        let node = id.map(|id| &census.tree.inode(id).node);
        let metadata = id.map_or(&missing, |id| &census.tree.inode(id).metadata);
        let extents = placed.extents();
        let mut uses_extents = true;
        let mut content = [0; ROOT_SIZE];
        let mut indexed = 0;
        let (kind, size) = match node {
            None | Some(Node::Directory(_)) => {
                let names = self.names(place, id);
                let blocks = extents.iter().flat_map(Extent::blocks);
                names.write(&plan.options, blocks, self.seed.of_inode(number), &mut self.ink);
                if !names.fit_one_block() {
                    indexed = inode::INDEXED;
                }
                let blocks: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
                (inode::DIRECTORY, blocks * BLOCK)
            }
            Some(Node::File(file)) => {
                self.write_data(file, &extents);
                (inode::REGULAR, file.len())
            }
            Some(Node::Symlink(target)) => {
                if let Some(short) = inode::short_target(target) {
                    (content, uses_extents) = (short, false);
                } else {
                    self.ink.put(extents[0].physical * BLOCK, target);
                }
                (inode::SYMLINK, target.len() as u64)
            }
            Some(Node::CharDevice(device)) => {
                (content, uses_extents) = (inode::device_content(*device), false);
                (inode::CHARACTER_DEVICE, 0)
            }
            Some(Node::BlockDevice(device)) => {
                (content, uses_extents) = (inode::device_content(*device), false);
                (inode::BLOCK_DEVICE, 0)
            }
            Some(Node::Fifo) => {
                uses_extents = false;
                (inode::FIFO, 0)
            }
        };
        let mut blocks = 0;
        if uses_extents {
            (content, blocks) = self.write_extents(number, placed, &extents);
        }
        let shared = placed.attributes.map(|index| plan.placement.attributes[index].number);
        let record = Record {
            mode: kind | metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            size,
            links: self.links(place, id),
            blocks: blocks + u64::from(shared.is_some()),
            flags: indexed | if uses_extents { inode::USES_EXTENTS } else { 0 },
            time: metadata.mtime,
            content,
            attribute_block: shared.unwrap_or(0),
            inline: &placed.inline,
        };
        self.put_inode(number, &record);
    }

    /// Links of an inode; 1 for a directory with more of them than can be counted (`dir_nlink`).
    fn links(&self, place: usize, id: Option<InodeId>) -> u16 {
        let census = &self.plan.census;
        let counted = id.map_or(2, |id| census.tree.link_count(id));
        let adopted = place == ROOT && census.at(LOST).is_none();
        let links = counted + u32::from(adopted);
        if links > inode::MOST_LINKS { 1 } else { links as u16 }
    }

    /// The names in a directory.
    fn names(&self, place: usize, id: Option<InodeId>) -> Names<'a> {
        let plan: &'a Plan<'_> = self.plan;
        let census = &plan.census;
        let directory = id.and_then(|id| census.tree.inode(id).as_directory());
        let listed = directory.into_iter().flat_map(Directory::iter);
        let mut entries: Vec<_> = listed
            .map(|(name, id)| Entry {
                name,
                inode: census.number_of(id),
                kind: entry_kind(&census.tree.inode(id).node),
            })
            .collect();
        if place == ROOT && census.at(LOST).is_none() {
            let at = entries.partition_point(|entry| entry.name < LOST_AND_FOUND);
            let entry = Entry { name: LOST_AND_FOUND, inode: number(LOST), kind: directory::DIRECTORY };
            entries.insert(at, entry);
        }
        let parent = id.map_or(inode::ROOT, |id| self.parents[id.index()]);
        Names { own: number(place), parent, entries }
    }

    /// Refers to a file's bytes, an extent at a time. What lies between the runs that hold them, and behind the
    /// last byte in its block, is zero in the image without being mentioned.
    fn write_data(&mut self, content: &Content, extents: &[Extent]) {
        let sources = content.extents();
        for extent in extents {
            let start = u64::from(extent.logical) * BLOCK;
            let end = (start + u64::from(extent.len) * BLOCK).min(content.len());
            refer(&mut self.layout, &sources, start..end, extent.physical * BLOCK);
        }
    }

    /// Writes inode tables, bitmaps, descriptors and superblocks.
    fn write_groups(&mut self, span: Span, journal: [u8; ROOT_SIZE]) {
        let plan = self.plan;
        let geometry = &plan.geometry;
        let table: Arc<dyn ReadAt> = Arc::new(std::mem::take(&mut self.table));
        let per_group = u64::from(geometry.inodes_per_group) * INODE_SIZE as u64;
        for (group, start) in (0..table.len()).step_by(per_group as usize).enumerate() {
            let len = per_group.min(table.len() - start);
            self.layout.push(geometry.inode_table(group as u64) * BLOCK, len, Arc::clone(&table), start);
        }
        self.used.sort_unstable_by_key(|inode| inode.number);

        let structures: Vec<_> = structures(geometry, span).collect();
        let overhead: u64 = structures.iter().map(|run| run.end - run.start).sum();
        let used = join(structures.into_iter().chain(plan.placement.used.iter().cloned()).collect());
        let bitmaps = BlockBitmaps::new(used, span);
        let (ink, layout) = (&mut self.ink, &mut self.layout);
        let groups = groups::describe(geometry, span, self.seed, bitmaps, &self.used, ink, layout);
        let superblock = Superblock {
            options: &plan.options,
            geometry: *geometry,
            span,
            free_blocks: groups.free_blocks,
            free_inodes: groups.free_inodes,
            overhead: overhead + plan.options.journal_bytes / BLOCK,
            seed: self.seed,
            journal,
            journal_size: plan.options.journal_bytes,
        };
        self.ink.put(superblock::PRIMARY_OFFSET, &superblock.encode(0));
        let descriptors = self.ink.put(BLOCK, &groups.descriptors);
        for group in span.backups() {
            let start = group * super::geometry::GROUP_BLOCKS * BLOCK;
            self.ink.put(start, &superblock.encode(group));
            self.ink.again(start + BLOCK, descriptors, groups.descriptors.len());
        }
    }
}

/// The type of an entry (`directory.rst`, "file_type").
fn entry_kind(node: &Node) -> u8 {
    match node {
        Node::File(_) => 1,
        Node::Directory(_) => directory::DIRECTORY,
        Node::CharDevice(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::Fifo => 5,
        Node::Symlink(_) => 7,
    }
}
