//! Writing an image: the disk in every asked container, its manifest and its sums, all or nothing.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use bake_archive::{Compression, InputKind, WriteTarError, write_tar};
use bake_base::{Digest, DigestReader, OutputSet, json, parallel};
use bake_disk::container::{self, Format};
use bake_disk::{BLOCK_SIZE, BlockDigests};
use bake_tree::ValidTree;

use crate::manifest::{Artifact, Boot, Disk, FORMAT_REVISION, Input, Manifest, Normalised, Partition, Tool};
use crate::{Error, Image};

/// What the tree is called as a tar, beside the container formats; its file's name ends in it.
pub const TAR: &str = "tar";

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;

/// How an image is written.
#[derive(Clone, Debug)]
pub struct Output<'a> {
    /// The directory that gets the files.
    pub directory: &'a Path,
    /// The container formats, each once.
    pub formats: &'a [Format],
    /// Whether the tree is written too, as a tar.
    pub tar: bool,
    /// Whether files as long as the disk get a plain sum too, which takes a second pass over them.
    pub sum_raw: bool,
    /// Threads to use.
    pub threads: usize,
}

/// An image that is written and has no name yet; dropped, it is gone.
#[derive(Debug)]
pub struct Unpublished<M = Manifest> {
    set: OutputSet,
    directory: String,
    written: Written<M>,
}

impl<M> Unpublished<M> {
    /// All files of `set`, the last of which are the manifest and the sums.
    pub(crate) fn new(set: OutputSet, directory: String, written: Written<M>) -> Self {
        Self { set, directory, written }
    }

    /// Gives the files their names, which takes a moment that should not be interrupted.
    ///
    /// # Errors
    /// When a name cannot be given. Then there is nothing.
    pub fn publish(self) -> Result<Written<M>, Error> {
        self.set.publish().map_err(Error::io(format!("writing into `{}`", self.directory)))?;
        Ok(self.written)
    }
}

/// A written image.
#[derive(Debug)]
pub struct Written<M = Manifest> {
    /// Its manifest.
    pub manifest: M,
    /// Names of all files, in the order of `SHA256SUMS`, which is the last one.
    pub files: Vec<String>,
}

impl Image {
    /// How many bytes of the disk are written; the rest is holes.
    pub fn data_bytes(&self) -> u64 {
        container::touched_bytes(&self.disk.layout)
    }

    /// What the user should know of this machine; it has no influence on the image.
    pub fn warnings(&self) -> &[String] {
        &self.decisions.warnings
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.disk.table.len
    }

    /// Writes the image into files without names. `progress` is told how many bytes of the disk are done since it was last told.
    ///
    /// # Errors
    /// When reading an input or writing an output fails, or an input changed meanwhile. Then there is nothing.
    pub fn write(self, output: &Output<'_>, progress: &(dyn Fn(u64) + Sync)) -> Result<Unpublished, Error> {
        let directory = output.directory.display();
        let failed = || Error::io(format!("writing into `{directory}`"));
        let mut set = OutputSet::new(output.directory).map_err(failed())?;
        let name = self.decisions.name.clone();
        let mut made = Vec::new();
        let formats = output.formats.iter().map(|format| (format.name(), format.extension(), Some(*format)));
        for (format, extension, container) in formats.chain(output.tar.then_some((TAR, TAR, None))) {
            let name = format!("{name}.{extension}");
            let file = set.create(&name).map_err(failed())?;
            made.push(Made { name, format, container, file });
        }
        let files: Vec<(Format, &File)> =
            made.iter().filter_map(|made| Some((made.container?, &*made.file))).collect();
        let blocks = container::write(&self.disk.layout, &files, output.threads, progress)
            .map_err(|source| Error::Write { directory: directory.to_string(), source })?;
        for tar in made.iter().filter(|made| made.container.is_none()) {
            write_tree(&self.tree, &tar.file).map_err(|error| match error {
                WriteTarError::Output(source) => failed()(source),
                error => Error::Policy(format!("the tree cannot be written as a tar: {error}")),
            })?;
        }
        let artifacts = parallel::map(
            output.threads,
            made.len(),
            || (),
            |(), index| {
                let Made { name, format, container, file } = &made[index];
                let is_summed = output.sum_raw || !container.is_some_and(Format::is_full_length);
                let sha256 = is_summed.then(|| sum(file)).transpose()?;
                Ok::<_, std::io::Error>(Artifact { name: name.clone(), format: (*format).to_owned(), sha256 })
            },
        );
        let manifest = self.manifest(blocks, artifacts.map_err(failed())?)?;
        let manifest_bytes = json::to_canonical(&manifest).map_err(|error| failed()(error.into()))?;
        let manifest_name = "manifest.json".to_owned();
        put(&mut set, &manifest_name, &manifest_bytes).map_err(failed())?;
        let mut sums = vec![(Digest::of(&manifest_bytes), manifest_name)];
        let summed = manifest.artifacts.iter().filter_map(|file| Some((file.sha256?, file.name.clone())));
        sums.extend(summed);
        sums.sort_by(|a, b| a.1.cmp(&b.1));
        let sums_name = "SHA256SUMS".to_owned();
        let text: String = sums.iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect();
        put(&mut set, &sums_name, text.as_bytes()).map_err(failed())?;
        let mut files: Vec<_> = manifest.artifacts.iter().map(|artifact| artifact.name.clone()).collect();
        files.extend(["manifest.json".to_owned(), sums_name]);
        let directory = directory.to_string();
        Ok(Unpublished::new(set, directory, Written { manifest, files }))
    }

    /// The manifest, once the digests are known. Waits for the digests of inputs that are still being computed.
    fn manifest(self, blocks: BlockDigests, artifacts: Vec<Artifact>) -> Result<Manifest, Error> {
        let Self { decisions, disk, .. } = self;
        let mut inputs = Vec::new();
        let (last, esp_serial) = (decisions.last(), decisions.esp_serial());
        let last_uuid = decisions.file_system_uuid(last);
        let verified = decisions.verified;
        for (role, input) in decisions.inputs {
            let name = Path::new(&input.label).file_name().unwrap_or_default().to_string_lossy().into_owned();
            inputs.push(Input { role, name, kind: kind_name(input.kind), sha256: input.digest.wait()? });
        }
        let vendor_root = decisions.profile.vendor.as_ref().map(|vendor| vendor.root.label.clone());
        let partition = |partition: &bake_disk::Partition| {
            // What bake laid out ends between blocks, or with zeros behind.
            let is_whole = vendor_root.is_none() || partition.end().is_multiple_of(BLOCK_SIZE);
            let digests = blocks.part(partition.offset, partition.len).filter(|_| is_whole);
            let (file_system, file_system_id) = match partition.name.as_str() {
                name if vendor_root.is_some() => {
                    let is_root = vendor_root.as_deref() == Some(name);
                    (is_root.then_some("ext4"), is_root.then(|| last_uuid.to_string()))
                }
                name if name == last => (Some("ext4"), Some(last_uuid.to_string())),
                "esp" => {
                    (Some("vfat"), Some(format!("{:04X}-{:04X}", esp_serial >> 16, esp_serial & 0xffff)))
                }
                name => match verified.as_ref().filter(|verified| verified.partition == name) {
                    Some(verified) => (Some(verified.file_system), verified.file_system_id.clone()),
                    None => (None, None),
                },
            };
            Partition {
                number: partition.number,
                type_guid: partition.type_guid,
                guid: partition.guid,
                name: partition.name.clone(),
                offset: partition.offset,
                size: partition.len,
                file_system,
                file_system_id,
                digest: digests.map(|digests| digests.disk_digest()),
            }
        };
        Ok(Manifest {
            schema: "bake-manifest-1",
            tool: Tool { name: "bake", version: env!("CARGO_PKG_VERSION"), format_revision: FORMAT_REVISION },
            profile: decisions.profile.name,
            architecture: decisions.architecture.to_string(),
            epoch: decisions.epoch,
            inputs,
            configuration: decisions.configuration,
            packages: decisions.packages.iter().map(ToString::to_string).collect(),
            roles: decisions.roles,
            boot: (!decisions.kernel.is_empty()).then_some(Boot {
                loader: decisions.loader,
                kernel: decisions.kernel,
                command_line: decisions.command_line,
                signed: decisions.signed,
            }),
            verified: verified.clone(),
            growth: decisions.growth,
            normalised: Normalised {
                entries: decisions.changes,
                clamped_times: decisions.clamped_times,
                notes: decisions.notes,
                added: decisions.added,
                removed: decisions.removed,
            },
            disk: Disk {
                digest: blocks.disk_digest(),
                size: disk.table.len,
                sector_size: disk.table.sector_size.bytes(),
                guid: disk.table.guid,
                partitions: disk.table.partitions.iter().map(partition).collect(),
                blocks,
            },
            artifacts,
            name: decisions.name,
        })
    }
}

/// A file that will be published.
struct Made {
    name: String,
    format: &'static str,
    /// Nothing for the tree.
    container: Option<Format>,
    file: Arc<File>,
}

fn write_tree(tree: &ValidTree, file: &File) -> Result<(), WriteTarError> {
    let mut out = BufWriter::with_capacity(BUFFER, file);
    write_tar(tree, &mut out)?;
    out.flush().map_err(WriteTarError::Output)
}

/// A file of these bytes.
pub(crate) fn put(set: &mut OutputSet, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let file: Arc<File> = set.create(name)?;
    (&*file).write_all(bytes)
}

/// The plain SHA-256 of a file that was just written.
pub(crate) fn sum(file: &File) -> std::io::Result<Digest> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(0))?;
    let (digest, _) = DigestReader::new(BufReader::with_capacity(1 << 20, reader)).drain()?;
    Ok(digest)
}

/// What an input was recognised as, in one word.
pub(crate) fn kind_name(kind: InputKind) -> String {
    match kind {
        InputKind::Tar(Compression::None) => "tar".to_owned(),
        InputKind::Tar(compression) => format!("tar, {compression}"),
        InputKind::Disk(Compression::None) => "disk image".to_owned(),
        InputKind::Disk(compression) => format!("disk image, {compression}"),
        InputKind::OciLayout => "OCI layout".to_owned(),
        InputKind::OciArchive => "OCI archive".to_owned(),
        InputKind::DockerArchive => "docker archive".to_owned(),
        InputKind::Directory => "directory".to_owned(),
        InputKind::Document => "document".to_owned(),
        other => format!("{other:?}"),
    }
}
