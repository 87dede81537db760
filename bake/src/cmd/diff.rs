//! `bake diff`: whether two images hold the same disk.

use std::ops::Range;

use bake_disk::{Partition, read_gpt};
use serde::Serialize;

use crate::cli::DiffArgs;
use crate::cmd::inspect::open;
use crate::cmd::package::print_json;
use crate::env;
use crate::error::{Failure, failed};
use crate::ui::Printer;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Comparison {
    same: bool,
    sizes: [u64; 2],
    differences: Vec<Difference>,
}

/// Bytes in a row that differ, in multiples of 4 KiB.
#[derive(Debug, Serialize)]
struct Difference {
    offset: u64,
    length: u64,
    /// Of the left disk, where there is one.
    partition: Option<String>,
}

/// Runs `bake diff`. Fails, without a word, when the disks differ.
pub fn run(args: &DiffArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let (left, right) = (open(&args.left)?.disk, open(&args.right)?.disk);
    let sizes = [left.len(), right.len()];
    let bar = printer.bytes("comparing", Some(sizes[0].max(sizes[1])));
    let threads = args.threads.map_or_else(env::threads, usize::from);
    let ranges = bake_disk::differences(&*left, &*right, threads, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let what = format!("reading `{}` and `{}`", args.left.display(), args.right.display());
    let ranges = ranges.map_err(failed(&what))?;
    // Without a table there are bytes to compare all the same.
    let partitions = read_gpt(&*left).map(|table| table.partitions).unwrap_or_default();
    let differences: Vec<_> = ranges.into_iter().flat_map(|range| by_partition(range, &partitions)).collect();
    let same = differences.is_empty() && sizes[0] == sizes[1];
    let comparison = Comparison { same, sizes, differences };
    if args.json {
        print_json(&comparison, printer)?;
    } else {
        printer.raw(text(&comparison).as_bytes())?;
    }
    if same { Ok(()) } else { Err(Failure::different()) }
}

/// A range cut where partitions begin and end.
fn by_partition(range: Range<u64>, partitions: &[Partition]) -> Vec<Difference> {
    let edges = partitions.iter().flat_map(|partition| [partition.offset, partition.end()]);
    let mut edges: Vec<u64> =
        edges.filter(|edge| range.contains(edge)).chain([range.start, range.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let holds = |partition: &&Partition, at: u64| partition.offset <= at && at < partition.end();
    let name = |at| partitions.iter().find(|partition| holds(partition, at)).map(|found| found.name.clone());
    let difference =
        |pair: &[u64]| Difference { offset: pair[0], length: pair[1] - pair[0], partition: name(pair[0]) };
    edges.windows(2).map(difference).collect()
}

fn text(comparison: &Comparison) -> String {
    if comparison.same {
        return "the same disk\n".to_owned();
    }
    let mut text = String::new();
    if let [left, right] = comparison.sizes
        && left != right
    {
        text += &format!("sizes differ: {left} and {right} bytes\n");
    }
    for Difference { offset, length, partition } in &comparison.differences {
        let place = partition.as_ref().map_or_else(String::new, |name| format!(" in partition {name:?}"));
        text += &format!("{length} bytes at {offset} differ{place}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use bake_base::Uuid;

    use super::*;

    #[test]
    fn a_difference_belongs_to_one_partition_or_to_none() {
        let partition = |name: &str, offset, len| Partition {
            number: 1,
            type_guid: Uuid::nil(),
            guid: Uuid::nil(),
            name: name.to_owned(),
            attributes: 0,
            offset,
            len,
        };
        let partitions = [partition("esp", 4096, 8192), partition("root", 12_288, 8192)];
        let parts = by_partition(0..40_960, &partitions);
        let parts: Vec<_> =
            parts.iter().map(|part| (part.offset, part.length, part.partition.as_deref())).collect();
        let expected = [
            (0, 4096, None),
            (4096, 8192, Some("esp")),
            (12_288, 8192, Some("root")),
            (20_480, 20_480, None),
        ];
        assert_eq!(parts, expected);
    }
}
