//! `bake inspect`: what a disk image is.

use std::fs::File;
use std::io;
use std::path::Path;

use bake_base::{Digest, ReadAt, Uuid};
use bake_disk::container::{self, Format, Opened};
use bake_disk::{BlockDigests, Partition, Table, TableError, discoverable, read_gpt};
use bake_fs::signature;
use serde::Serialize;

use crate::cli::InspectArgs;
use crate::cmd::package::print_json;
use crate::env;
use crate::error::{Failure, failed};
use crate::ui::Printer;

/// What is known of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Facts {
    format: String,
    size: u64,
    digest: Digest,
    /// Of the blocks of 512 KiB, those that are not zeros.
    blocks_in_use: usize,
    table: Option<TableFacts>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TableFacts {
    guid: Uuid,
    sector_size: u64,
    partitions: Vec<PartitionFacts>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PartitionFacts {
    number: u32,
    offset: u64,
    size: u64,
    r#type: Option<&'static str>,
    /// What lies in it, by its first bytes.
    file_system: Option<&'static str>,
    type_guid: Uuid,
    guid: Uuid,
    name: String,
}

/// Runs `bake inspect`.
pub fn run(args: &InspectArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let Opened { format, disk } = open(&args.image)?;
    let shown = args.image.display();
    if format == Format::RAW {
        match container::named(&args.image).filter(|named| *named != Format::RAW) {
            Some(named) => printer.note(format!(
                "`{shown}` is no {named} image, though named like one: it may be cut short; read as a raw disk"
            )),
            None if disk.is_empty() => printer.note(format!("`{shown}` is empty")),
            None => {}
        }
    }
    let table = match read_gpt(&*disk) {
        Ok(table) => Some(table),
        Err(TableError::NotFound) => {
            if format == Format::RAW {
                printer.note(format!(
                    "`{shown}` has neither a GPT nor the signature of any container: is it a disk?"
                ));
            }
            None
        }
        Err(error) => {
            printer.note(format!("`{shown}`: {error}"));
            None
        }
    };
    let bar = printer.bytes("reading", Some(disk.len()));
    let threads = args.threads.map_or_else(env::threads, usize::from);
    let digests = BlockDigests::compute(&*disk, threads, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let what = format!("reading `{shown}`");
    let reading = || failed(&what);
    let digests = digests.map_err(reading())?;
    let facts = Facts {
        format: format.name().to_owned(),
        size: disk.len(),
        digest: digests.disk_digest(),
        blocks_in_use: digests.runs().iter().map(|run| run.sha256.len()).sum(),
        table: table.as_ref().map(|table| table_facts(table, &*disk)).transpose().map_err(reading())?,
    };
    if args.json { print_json(&facts, printer) } else { printer.raw(text(&facts).as_bytes()) }
}

/// Opens an image of whatever format.
pub fn open(image: &Path) -> Result<Opened, Failure> {
    let shown = image.display();
    if image.is_dir() {
        return Err(Failure::new(format!("`{shown}` is a directory: name an image in it")));
    }
    let file = File::open(image).map_err(failed(&format!("opening `{shown}`")))?;
    container::open(file).map_err(|error| Failure::new(format!("`{shown}`: {error}")))
}

fn table_facts(table: &Table, disk: &dyn ReadAt) -> io::Result<TableFacts> {
    let partition = |partition: &Partition| {
        Ok(PartitionFacts {
            number: partition.number,
            offset: partition.offset,
            size: partition.len,
            r#type: discoverable::type_name(partition.type_guid),
            file_system: file_system(disk, partition)?,
            type_guid: partition.type_guid,
            guid: partition.guid,
            name: partition.name.clone(),
        })
    };
    let partitions = table.partitions.iter().map(partition).collect::<io::Result<_>>()?;
    Ok(TableFacts { guid: table.guid, sector_size: table.sector_size.bytes(), partitions })
}

fn file_system(disk: &dyn ReadAt, partition: &Partition) -> io::Result<Option<&'static str>> {
    let end = partition.end().min(disk.len()).saturating_sub(partition.offset);
    let mut start = vec![0; signature::RECOGNISED_BY.min(usize::try_from(end).unwrap_or(usize::MAX))];
    disk.read_exact_at(partition.offset, &mut start)?;
    Ok(signature::recognise(&start))
}

fn text(facts: &Facts) -> String {
    let Facts { format, size, digest, blocks_in_use, table } = facts;
    let mut text = format!("format {format}\nsize {size}\ndigest {digest}\nblocks in use {blocks_in_use}\n");
    let Some(table) = table else { return text + "no partition table\n" };
    text += &format!("table GPT {} sectors of {} bytes\n", table.guid, table.sector_size);
    for partition in &table.partitions {
        let kind = partition.r#type.map_or_else(|| partition.type_guid.to_string(), str::to_owned);
        let holds = partition.file_system.map_or_else(String::new, |found| format!(" holds {found}"));
        text += &format!(
            "partition {} {:?} at {} size {} type {kind} id {}{holds}\n",
            partition.number, partition.name, partition.offset, partition.size, partition.guid
        );
    }
    text
}
