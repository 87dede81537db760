//! Looking at everything once before anything is placed: what of the files is data, what the attributes are,
//! how many blocks each directory takes after which layer. What ext4 cannot hold is found here.

use std::ops::Range;

use bake_base::parallel;
use bake_tree::{Content, Directory, Inode, InodeId, LayerId, Node};

use super::attributes::{self, Attributes};
use super::census::{Census, LOST, LOST_AND_FOUND, ROOT};
use super::directory::{DOTS, Hashed, LOST_AND_FOUND_BLOCKS, ROOM, entry_size, hashed};
use super::error::{self, by_path};
use super::geometry::BLOCK;
use super::htree;
use super::inode::{MOST_LINKS, SECONDS, short_target};
use super::{Error, Options};

/// The longest file: its last block has a number of 32 bits, and one number is a mark.
const LONGEST_FILE: u64 = 0xffff_ffff * BLOCK;

/// What an inode needs blocks for.
#[derive(Debug, Default)]
pub(super) struct Need {
    pub attributes: Attributes,
    pub content: Body,
}

/// The blocks of an inode's content.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// None, or in the inode itself.
    #[default]
    None,
    /// Runs of blocks within the file.
    Data(Vec<Range<u64>>),
    /// A directory's.
    Directory(Blocks),
}

/// How a directory has grown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    /// How many blocks it takes now.
    pub now: u32,
    /// How many were needed after each layer that made it grow, ascending; the first is the layer it came with.
    pub steps: Vec<(LayerId, u32)>,
}

/// Surveys every place of the census.
pub(super) fn survey(census: &Census<'_>, options: &Options) -> Result<Vec<Need>, Error> {
    let tree = census.tree;
    let mut problems: Vec<(InodeId, String)> = Vec::new();
    let mut needs = Vec::with_capacity(census.len());
    let mut files: Vec<(usize, InodeId, &Content)> = Vec::new();
    for place in 0..census.len() {
        let mut need = Need::default();
        let live = census.is_live(place);
        let mut report = |problem: String| {
            if live {
                problems.extend(census.at(place).map(|id| (id, problem)));
            }
        };
        let inode = census.at(place).map(|id| tree.inode(id));
        if let Some(inode) = inode {
            check(inode, tree.link_count(census.at(place).unwrap_or(bake_tree::Tree::ROOT)), &mut report);
            need.attributes = attributes::encode(&inode.metadata.xattrs).unwrap_or_else(|problem| {
                report(problem);
                Attributes::default()
            });
        }
        let empty = Directory::default();
        need.content = match inode.map(|inode| &inode.node) {
            Some(Node::Directory(directory)) => {
                Body::Directory(blocks(census, options, place, directory, &mut report))
            }
            None if place == LOST => Body::Directory(blocks(census, options, place, &empty, &mut report)),
            Some(Node::Symlink(target)) if short_target(target).is_none() => {
                Body::Data(std::iter::once(0..1).collect())
            }
            Some(Node::File(content)) => {
                files.extend(census.at(place).map(|id| (place, id, content)));
                Body::None
            }
            _ => Body::None,
        };
        if let (LOST, Some(other)) = (place, inode.filter(|inode| inode.as_directory().is_none())) {
            report(format!(
                "is {}: expected a directory, as every ext4 file system has one there",
                other.node.describe()
            ));
        }
        needs.push(need);
    }
    if !problems.is_empty() {
        return Err(Error::Unwritable(by_path(tree, problems)));
    }
    let scanned = parallel::map(options.threads, files.len(), Vec::new, |scratch, index| {
        let (_, id, content) = files[index];
        content.data_blocks(BLOCK, scratch).map_err(|source| (id, source))
    });
    let scanned = scanned.map_err(|(id, source)| error::read(tree, id, source))?;
    for ((place, _, _), runs) in files.into_iter().zip(scanned) {
        needs[place].content = Body::Data(runs);
    }
    Ok(needs)
}

/// The limits of an inode.
fn check(inode: &Inode, links: u32, report: &mut impl FnMut(String)) {
    let seconds = inode.metadata.mtime.seconds;
    if !SECONDS.contains(&seconds) {
        report(format!(
            "has a time {seconds} seconds from 1970: expected one from {} to {}, the years 1901 to 2446",
            SECONDS.start(),
            SECONDS.end()
        ));
    }
    if let Node::File(content) = &inode.node
        && content.len() > LONGEST_FILE
    {
        report(format!("has {} bytes: expected at most {LONGEST_FILE}", content.len()));
    }
    if inode.as_directory().is_none() && links > MOST_LINKS {
        report(format!("has {links} names: expected at most {MOST_LINKS} hard links to a file"));
    }
}

/// How many blocks a directory takes now, and took after each layer.
fn blocks(
    census: &Census<'_>,
    options: &Options,
    place: usize,
    directory: &Directory,
    report: &mut impl FnMut(String),
) -> Blocks {
    let own = census.layer(place);
    let least = if place == LOST { LOST_AND_FOUND_BLOCKS } else { 1 };
    // `lost+found` is there from the first layer on, whoever brings it.
    let (added, is_root) = ((LOST_AND_FOUND, LayerId(0)), place == ROOT);
    let history = || {
        let names = directory.history().filter(|(name, _)| !(is_root && *name == LOST_AND_FOUND));
        names.chain(is_root.then_some(added)).map(|(name, since)| (name, since.max(own)))
    };
    let size: usize = history().map(|(name, _)| entry_size(name)).sum();
    if DOTS + size <= ROOM {
        return Blocks { now: least, steps: vec![(own, least)] };
    }
    let names =
        hashed(options, history().map(|(name, since)| (name, (since, is_live(directory, name, is_root)))));
    let mut count = |selected: Vec<Hashed<()>>| {
        let size: usize = selected.iter().map(|name| name.size as usize).sum();
        if DOTS + size <= ROOM {
            return least;
        }
        htree::blocks(&selected).unwrap_or_else(|leaves| {
            report(format!(
                "holds so many names that its index would have {leaves} leaves: expected at most {} in one directory",
                htree::MOST_LEAVES
            ));
            least
        })
    };
    let select = |wanted: &dyn Fn(LayerId, bool) -> bool| -> Vec<Hashed<()>> {
        let selected = names.iter().filter(|name| wanted(name.what.0, name.what.1));
        selected.map(|name| Hashed { hash: name.hash, size: name.size, what: () }).collect()
    };
    let now = count(select(&|_, live| live));
    let mut layers: Vec<LayerId> = names.iter().map(|name| name.what.0).chain([own]).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut steps: Vec<(LayerId, u32)> = Vec::new();
    for layer in layers {
        let blocks = count(select(&|since, _| since <= layer)).max(least);
        if steps.last().is_none_or(|(_, before)| *before < blocks) {
            steps.push((layer, blocks));
        }
    }
    Blocks { now, steps }
}

fn is_live(directory: &Directory, name: &[u8], is_root: bool) -> bool {
    is_root && name == LOST_AND_FOUND || directory.get(name).is_some()
}
