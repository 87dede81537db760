//! From the plan to bytes.

use std::sync::Arc;

use bake_base::{Layout, LayoutBuilder};
use bake_tree::{InodeId, Node, Tree};

use super::chunks::Map;
use super::inode::{self, Form, NO_BLOCK, Record};
use super::placement::Place;
use super::superblock::{self, Superblock};
use super::survey::{Body, Member};
use super::{BLOCK, Plan, directory};
use crate::ink::{Ink, refer};

/// The whole file system.
pub(super) fn image(plan: &Plan<'_>) -> Layout {
    let (survey, placement) = (&plan.survey, &plan.placement);
    let mut numbers = vec![0; survey.tree.arena_len()];
    for (member, place) in survey.members.iter().zip(&placement.places) {
        numbers[member.id.index()] = place.number();
    }
    let mut writer =
        Writer { plan, numbers, ink: Ink::default(), layout: LayoutBuilder::new(), chunked: false };
    for (serial, (member, place)) in (1..).zip(survey.members.iter().zip(&placement.places)) {
        writer.write_inode(serial, member, *place);
    }
    for (offset, entry) in survey.shared.entries() {
        writer.ink.put(placement.attributes * BLOCK + offset, entry);
    }
    let superblock = Superblock {
        options: &plan.options,
        root: writer.numbers[Tree::ROOT.index()] as u16,
        inodes: survey.members.len() as u64,
        blocks: placement.blocks as u32,
        metadata: placement.metadata as u32,
        attributes: placement.attributes as u32,
        chunked: writer.chunked,
    };
    writer.ink.put(superblock::OFFSET, &superblock.encode());
    writer.ink.finish(&mut writer.layout);
    writer.layout.finish(plan.size()).expect("every block has one owner, before the end")
}

struct Writer<'a, 'tree> {
    plan: &'a Plan<'tree>,
    /// Numbers of inodes, by [`InodeId::index`].
    numbers: Vec<u64>,
    ink: Ink,
    layout: LayoutBuilder,
    chunked: bool,
}

impl Writer<'_, '_> {
    fn write_inode(&mut self, serial: u32, member: &Member, place: Place) {
        let tree = self.plan.survey.tree;
        let inode = tree.inode(member.id);
        let at = self.plan.placement.metadata * BLOCK + place.inode;
        let behind = at + (inode::LEN + member.attributes.len()) as u64;
        let row = place.start * BLOCK;
        match (&inode.node, &member.body) {
            (Node::File(content), Body::Row(len, runs)) => {
                let (extents, row_end) = (content.extents(), len - place.tail);
                for run in runs {
                    let (start, end) = (run.start * BLOCK, (run.end * BLOCK).min(*len));
                    if start < row_end {
                        refer(&mut self.layout, &extents, start..end.min(row_end), row + start);
                    }
                    if end > row_end {
                        refer(&mut self.layout, &extents, row_end..end, behind);
                    }
                }
            }
            (Node::File(content), Body::Chunks(chunks, runs)) => {
                let (extents, map) = (content.extents(), Map::new(chunks, place.start));
                // Blocks of zeros within a chunk are not mentioned.
                for run in runs {
                    let bytes = run.start * BLOCK..(run.end * BLOCK).min(content.len());
                    let stored = map.stored_at(run.start).into_iter();
                    stored.for_each(|block| refer(&mut self.layout, &extents, bytes.clone(), block * BLOCK));
                }
                self.layout.push(behind, chunks.map_len(), Arc::new(map), 0);
                self.chunked = true;
            }
            (Node::Symlink(target), _) => self.put_row(target, row, place.tail, behind),
            (Node::Directory(directory), _) => {
                let named = directory.iter().map(|(name, id)| (name, self.entry(id)));
                let parent = self.plan.survey.parents[member.id.index()];
                let names = directory::with_dots(named, self.entry(member.id), self.entry(parent));
                self.put_row(&directory::encode(&names), row, place.tail, behind);
            }
            _ => {}
        }
        let (form, size, stored) = match &member.body {
            Body::None => (Form::Plain, 0, NO_BLOCK),
            Body::Row(len, _) if place.tail > 0 => (Form::Inline, *len, place.start as u32),
            Body::Row(len, _) => (Form::Plain, *len, place.start as u32),
            Body::Chunks(chunks, _) => (Form::Chunks, self.len_of(member.id), chunks.bits),
        };
        let record = Record {
            node: &inode.node,
            metadata: &inode.metadata,
            time: self.plan.options.epoch.clamp(inode.metadata.mtime),
            form,
            size,
            place: match inode.node {
                Node::CharDevice(device) | Node::BlockDevice(device) => inode::device(device),
                Node::Fifo => 0,
                _ => stored,
            },
            links: tree.link_count(member.id),
            serial,
            attributes: &member.attributes,
        };
        self.ink.put(at, &record.encode());
    }

    fn len_of(&self, id: InodeId) -> u64 {
        match &self.plan.survey.tree.inode(id).node {
            Node::File(content) => content.len(),
            _ => 0,
        }
    }

    /// A directory's entry of an inode.
    fn entry(&self, id: InodeId) -> (u64, u8) {
        let node = &self.plan.survey.tree.inode(id).node;
        (self.numbers[id.index()], directory::entry_kind(node))
    }

    /// Puts bytes in a row, the last `tail` of them behind the inode.
    fn put_row(&mut self, bytes: &[u8], row: u64, tail: u64, behind: u64) {
        let (whole, tail) = bytes.split_at(bytes.len() - tail as usize);
        self.ink.put(row, whole);
        self.ink.put(behind, tail);
    }
}
