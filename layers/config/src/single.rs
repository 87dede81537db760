//! The single file: the installer with its payload behind it, for hosts that reach no web root.
//!
//! The payload is an uncompressed tar of what the script would fetch, under the same paths. It is made twice by
//! the same code, first into a digest that the script has to name, then into the file.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bake_base::{Digest, DigestReader, DigestWriter, Unnamed};

use crate::Error;
use crate::installer::{InstallerData, Payload, script};
use crate::serve::{Item, Source};

/// Writes the single file `out` of what `data` lists, whose bytes are among `items`; gives its digest and size.
///
/// # Errors
/// When an item is missing or is not what its digest says, or the file cannot be written. Nothing has its name
/// then.
pub fn write(out: &Path, data: &InstallerData, items: &[Item]) -> Result<(Digest, u64), Error> {
    let mut wanted = Vec::new();
    for blob in [&data.product, &data.pkgpanda].into_iter().chain(&data.blobs) {
        let is_it =
            |item: &&Item| item.path == blob.path && item.sha256 == blob.sha256 && item.size == blob.size;
        let found = items.iter().find(is_it);
        wanted.push(found.ok_or_else(|| Error::wrong(Path::new(&blob.path), "is not among what is served"))?);
    }

    let mut digest = DigestWriter::new(io::sink());
    tar(&wanted, &mut digest, Path::new("payload"))?;
    let (sha256, size) = digest.finish();
    let payload = Some(Payload { sha256, size });
    let script = script(&InstallerData { payload, ..data.clone() })?;

    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unnamed = Unnamed::new(parent).map_err(Error::io("writing", out))?;
    let mut writer = DigestWriter::new(BufWriter::with_capacity(1 << 18, &**unnamed.file()));
    writer.write_all(&script).map_err(Error::io("writing", out))?;
    tar(&wanted, &mut writer, out)?;
    writer.flush().map_err(Error::io("writing", out))?;
    let (digest, length) = writer.finish();
    let named = || {
        unnamed.file().set_permissions(Permissions::from_mode(0o755))?;
        unnamed.file().sync_all()?;
        unnamed.name(out)
    };
    named().map_err(Error::io("writing", out))?;
    Ok((digest, length))
}

/// Writes the items as a tar that says nothing of the machine that made it.
fn tar(items: &[&Item], out: &mut impl Write, name: &Path) -> Result<(), Error> {
    let mut builder = tar::Builder::new(out);
    for item in items {
        let mut header = tar::Header::new_ustar();
        header.set_size(item.size);
        header.set_mode(item.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        match &item.source {
            Source::Bytes(bytes) => append(&mut builder, &mut header, item, bytes.as_slice(), name)?,
            Source::File(path) => {
                let file = File::open(path).map_err(Error::io("reading", path))?;
                append(&mut builder, &mut header, item, file, path)?;
            }
        }
    }
    builder.finish().map_err(Error::io("writing", name))
}

/// Adds one file, which has to be what its digest says.
fn append(
    builder: &mut tar::Builder<&mut impl Write>,
    header: &mut tar::Header,
    item: &Item,
    bytes: impl Read,
    from: &Path,
) -> Result<(), Error> {
    let mut reader = DigestReader::new(bytes);
    builder
        .append_data(header, &item.path, (&mut reader).take(item.size))
        .map_err(Error::io("packing", from))?;
    let (digest, size) = reader.drain().map_err(Error::io("reading", from))?;
    if (digest, size) == (item.sha256, item.size) {
        return Ok(());
    }
    let message = format!(
        "has sha256 {digest} and {size} bytes, expected {} and {}: deliver it again",
        item.sha256, item.size
    );
    Err(Error::wrong(from, message))
}

#[cfg(test)]
mod tests {
    use bake_host::product::Blob;

    use super::*;
    use crate::installer::Preflight;

    fn blob(item: &Item) -> Blob {
        Blob { path: item.path.clone(), sha256: item.sha256, size: item.size }
    }

    fn data(items: &[Item]) -> InstallerData {
        InstallerData {
            config_id: "0".repeat(40),
            cluster_name: "Sample".to_owned(),
            bootstrap_url: "http://bootstrap.example".to_owned(),
            product: blob(&items[0]),
            pkgpanda: blob(&items[1]),
            machine: "x86_64".to_owned(),
            blobs: items[2..].iter().map(blob).collect(),
            secrets: Vec::new(),
            roles: vec!["master".to_owned()],
            preflight: Preflight::default(),
            payload: None,
        }
    }

    #[test]
    fn the_same_items_are_the_same_file_and_its_payload_is_a_tar_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let long = format!("packages/{0}/{0}--setup_{1}.tar.xz", "n".repeat(40), "0".repeat(40));
        std::fs::write(directory.path().join("blob"), "from a file").unwrap();
        let from = Source::File(directory.path().join("blob"));
        let items = [
            Item::bytes("products/0.json", "{}"),
            Item::bytes("bin/0/pkgpanda", "program").executable(),
            Item { source: from, ..Item::bytes(long.as_str(), "from a file") },
        ];
        let data = data(&items);
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let written = write(&one, &data, &items).unwrap();
        assert_eq!(write(&two, &data, &items).unwrap(), written);
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes, std::fs::read(&two).unwrap());
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), written);

        let mark = b"\n#EOF#\n";
        let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
        let mut members = Vec::new();
        for entry in tar::Archive::new(&bytes[at..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            members.push((path, entry.header().mode().unwrap(), content));
        }
        let expected = [
            ("products/0.json", 0o644, "{}"),
            ("bin/0/pkgpanda", 0o755, "program"),
            (long.as_str(), 0o644, "from a file"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(path, mode, text)| (path.to_string(), *mode, text.to_string())).collect();
        assert_eq!(members, expected);
    }

    #[test]
    fn what_is_missing_or_changed_makes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let items = [Item::bytes("products/0.json", "{}"), Item::bytes("bin/0/pkgpanda", "program")];
        let data = data(&items);
        let error = write(&out, &data, &items[..1]).unwrap_err().to_string();
        assert_eq!(error, "`bin/0/pkgpanda` is not among what is served");
        for changed in ["Program", "progra", "programs", ""] {
            let source = Source::Bytes(changed.as_bytes().to_vec());
            let items = [items[0].clone(), Item { source, ..items[1].clone() }];
            let error = write(&out, &data, &items).unwrap_err().to_string();
            assert!(error.contains("deliver it again") || error.contains("packing"), "{error}");
            assert!(!out.exists());
        }
    }
}
