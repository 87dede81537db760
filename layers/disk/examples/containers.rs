//! Writes a raw disk in one container format, and nothing else: what `ci/bench-containers` measures.
//!
//! `containers RAW FORMAT OUT THREADS`; of FORMAT `digests` nothing is written, and only the digests are computed.

use std::env;
use std::error::Error;
use std::fs::File;
use std::sync::Arc;

use bake_base::{FileBytes, Layout, LayoutBuilder, ReadAt};
use bake_disk::container::{Format, write};
use rustix::fs::SeekFrom;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [raw, format, out, threads] = &arguments[..] else {
        return Err("usage: containers RAW FORMAT OUT THREADS".into());
    };
    let file = File::options().read(true).write(true).create(true).truncate(true).open(out)?;
    let outputs: &[(Format, &File)] = if format == "digests" { &[] } else { &[(format.parse()?, &file)] };
    write(&layout(File::open(raw)?)?, outputs, threads.parse()?, &|_| ())?;
    Ok(())
}

/// The file's data, as `bake image` knows it of the disks that it makes.
fn layout(file: File) -> Result<Layout, Box<dyn Error>> {
    let bytes = Arc::new(FileBytes::new(file)?);
    let mut builder = LayoutBuilder::new();
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(bytes.file(), SeekFrom::Data(at)) {
        at = rustix::fs::seek(bytes.file(), SeekFrom::Hole(data))?;
        builder.push(data, at - data, Arc::clone(&bytes) as Arc<dyn ReadAt>, data);
    }
    Ok(builder.finish(bytes.len())?)
}
