//! Which blocks hold what: layers in order, within a layer entries in order. A directory's growth because of
//! a later layer lies in that layer's region, and what a later layer has shadowed leaves a gap; so no layer
//! moves what an earlier one brought.
//!
//! The size of the file system plays no part.

use std::collections::BTreeMap;
use std::ops::Range;

use bake_tree::LayerId;

use super::attributes::{AttributeBlock, Attributes, SHARERS};
use super::census::{Census, LOST};
use super::directory::LOST_AND_FOUND_BLOCKS;
use super::extents::{self, Extent, LONGEST, tree_blocks};
use super::geometry::Geometry;
use super::space::{Space, join};
use super::survey::{Body, Need};

/// The blocks of one inode.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Content, those blocks of a directory included that it does not need now.
    extents: Vec<Extent>,
    /// For the tree of the extents.
    tree: Vec<u64>,
    /// The content that is used ends before this block.
    end: u32,
    /// Attributes in the inode.
    pub inline: Box<[u8]>,
    /// Index of the block of attributes.
    pub attributes: Option<usize>,
}

impl Placed {
    /// The extents in use.
    pub fn extents(&self) -> Vec<Extent> {
        self.extents.iter().filter_map(|extent| extent.before(self.end)).collect()
    }

    /// The blocks of the tree of the extents in use.
    pub fn tree(&self, extents: &[Extent]) -> &[u64] {
        &self.tree[..tree_blocks(extents.len())]
    }

    /// Takes blocks for a run of the content.
    fn take(&mut self, run: Range<u64>, space: &mut Space) {
        let mut at = run.start;
        while at < run.end {
            let got = space.take((run.end - at).min(LONGEST));
            let len = got.end - got.start;
            extents::push(
                &mut self.extents,
                Extent { logical: at as u32, len: len as u32, physical: got.start },
            );
            at += len;
        }
    }

    /// Takes blocks for the tree, after those for the content, whose place decides how many there must be.
    fn take_tree(&mut self, space: &mut Space) {
        while self.tree.len() < tree_blocks(self.extents.len()) {
            self.tree.push(space.take_one());
        }
    }

    /// Lets the content grow to `blocks` blocks without a hole.
    fn grow(&mut self, blocks: u64, space: &mut Space) {
        let before = self.extents.last().map_or(0, |last| u64::from(last.logical + last.len));
        self.take(before..blocks, space);
        self.take_tree(space);
    }
}

/// A block of attributes and those who share it.
#[derive(Debug)]
pub(super) struct PlacedAttributes {
    pub content: AttributeBlock,
    pub number: u64,
    /// Inodes that are written.
    pub sharers: u32,
    /// The same with those that a later layer has shadowed.
    claims: u32,
}

/// Everything that has a place of its own.
#[derive(Debug)]
pub(super) struct Placement {
    /// By place in the census.
    pub inodes: Vec<Placed>,
    pub attributes: Vec<PlacedAttributes>,
    pub journal: Placed,
    /// The resize inode's own block.
    pub resize_map: u64,
    /// All blocks in use but the structures of the groups; ascending and apart.
    pub used: Vec<Range<u64>>,
}

impl Placement {
    /// The first block after all that is used.
    pub fn end(&self) -> u64 {
        self.used.last().map_or(0, |run| run.end)
    }
}

/// Places everything.
pub(super) fn place(
    census: &Census<'_>,
    geometry: Geometry,
    journal_blocks: u64,
    needs: Vec<Need>,
) -> Placement {
    let mut space = Space::new(geometry);
    // What every file system has comes first, so that no content can move it.
    let resize_map = space.take_one();
    let mut inodes: Vec<Placed> = Vec::with_capacity(needs.len());
    inodes.resize_with(needs.len(), Placed::default);
    inodes[LOST].grow(u64::from(LOST_AND_FOUND_BLOCKS), &mut space);
    let mut journal = Placed { end: journal_blocks as u32, ..Placed::default() };
    journal.grow(journal_blocks, &mut space);

    let mut growth: Vec<(LayerId, usize, u32)> = Vec::new();
    for (place, need) in needs.iter().enumerate() {
        if let Body::Directory(blocks) = &need.content {
            let later = blocks.steps.iter().skip(usize::from(place != LOST));
            growth.extend(later.map(|(layer, count)| (*layer, place, *count)));
        }
    }
    growth.sort_unstable();
    let mut growth = growth.into_iter().peekable();
    let mut sharing = Sharing::default();
    let mut needs = needs.into_iter().enumerate().peekable();
    // Layers in order, and there is none without an entry or a directory that grows.
    while let Some(layer) = needs
        .peek()
        .map(|(place, _)| census.layer(*place))
        .into_iter()
        .chain(growth.peek().map(|step| step.0))
        .min()
    {
        while let Some((place, need)) = needs.next_if(|(place, _)| census.layer(*place) == layer) {
            place_one(census, place, need, &mut inodes[place], &mut sharing, &mut space);
        }
        while let Some((_, place, count)) = growth.next_if(|step| step.0 == layer) {
            inodes[place].grow(u64::from(count), &mut space);
        }
    }
    let mut placement =
        Placement { inodes, attributes: sharing.blocks, journal, resize_map, used: Vec::new() };
    placement.used = used(census, &placement);
    placement
}

fn place_one(
    census: &Census<'_>,
    place: usize,
    need: Need,
    placed: &mut Placed,
    sharing: &mut Sharing,
    space: &mut Space,
) {
    let Attributes { inline, block } = need.attributes;
    placed.inline = inline;
    placed.attributes =
        block.map(|block| sharing.claim(census.layer(place), *block, census.is_live(place), space));
    match need.content {
        Body::None => {}
        Body::Data(runs) => {
            for run in runs {
                placed.take(run, space);
            }
            placed.take_tree(space);
            placed.end = u32::MAX;
        }
        Body::Directory(blocks) => {
            // The blocks of `lost+found` were placed before everything.
            if let (true, Some((_, count))) = (place != LOST, blocks.steps.first()) {
                placed.grow(u64::from(*count), space);
            }
            placed.end = blocks.now;
        }
    }
}

/// Blocks of attributes that several inodes of one layer have in common (`attributes.rst`, `h_refcount`).
#[derive(Debug, Default)]
struct Sharing {
    blocks: Vec<PlacedAttributes>,
    /// The block that still takes claims, for a content in a layer.
    open: BTreeMap<(LayerId, AttributeBlock), usize>,
}

impl Sharing {
    fn claim(&mut self, layer: LayerId, content: AttributeBlock, live: bool, space: &mut Space) -> usize {
        let blocks = &mut self.blocks;
        let key = (layer, content);
        let open = self.open.get(&key).copied().filter(|index| blocks[*index].claims < SHARERS);
        let index = open.unwrap_or_else(|| {
            let (number, content) = (space.take_one(), key.1.clone());
            blocks.push(PlacedAttributes { content, number, sharers: 0, claims: 0 });
            self.open.insert(key, blocks.len() - 1);
            blocks.len() - 1
        });
        self.blocks[index].claims += 1;
        self.blocks[index].sharers += u32::from(live);
        index
    }
}

fn used(census: &Census<'_>, placement: &Placement) -> Vec<Range<u64>> {
    let one = |block: u64| block..block + 1;
    let mut used = vec![one(placement.resize_map)];
    let mut add = |placed: &Placed| {
        let extents = placed.extents();
        used.extend(extents.iter().map(Extent::blocks));
        used.extend(placed.tree(&extents).iter().copied().map(one));
    };
    add(&placement.journal);
    for (place, placed) in placement.inodes.iter().enumerate() {
        if census.is_live(place) {
            add(placed);
        }
    }
    let shared = placement.attributes.iter().filter(|block| block.sharers > 0);
    used.extend(shared.map(|block| one(block.number)));
    join(used)
}
