//! Secrets go beside the serve directory, where only their owner reads them.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use bake_archive::write_tar;
use bake_base::Unnamed;
use bake_package::EPOCH;
use bake_tree::{Content, Metadata, Node, Tree, TreePath, ValidTree};

use crate::{Body, ConfigFile, Error, Target};

/// The archive of all secrets of a configuration.
pub const SECRETS_TAR: &str = "dcos-secrets.tar";

/// Brings the secrets among `files` to `directory`, which is made if there are any; takes an older archive away
/// if there are none. Whether something changed.
///
/// # Errors
/// When others can look into the directory, or it cannot be written.
pub fn write_secrets(files: &[ConfigFile], directory: &Path) -> Result<bool, Error> {
    let path = directory.join(SECRETS_TAR);
    let Some(bytes) = archive(files)? else {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(Error::io("removing", &path))?,
        }
        // Somebody else's files may be there.
        let _ = fs::remove_dir(directory);
        return Ok(true);
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(Error::io("making", directory))?;
    let mode = fs::metadata(directory).map_err(Error::io("reading", directory))?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("has mode {:04o}, and others look into it: `chmod 700` it", mode & 0o7777);
        return Err(Error::wrong(directory, message));
    }
    let there = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
    let is_private = there.is_some_and(|there| there.permissions().mode() & 0o7777 == 0o600);
    if is_private && fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let write = || {
        let unnamed = Unnamed::new(directory)?;
        unnamed.file().set_permissions(Permissions::from_mode(0o600))?;
        (&**unnamed.file()).write_all(&bytes)?;
        unnamed.file().sync_all()?;
        unnamed.name(&path)
    };
    write().map_err(Error::io("writing", &path))?;
    Ok(true)
}

/// The archive, whose members are called as on hosts, without the first slash; nothing without secrets.
fn archive(files: &[ConfigFile]) -> Result<Option<Vec<u8>>, Error> {
    let mut tree = Tree::new();
    let mut is_empty = true;
    let failed = |reason: String| Error::Render { what: SECRETS_TAR.to_owned(), reason };
    for file in files.iter().filter(|file| file.target == Target::Secret) {
        let Body::File { mode, content } = &file.body else { continue };
        let path = TreePath::from_root(file.path.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let node = Node::File(Content::bytes(content.as_slice()));
        tree.put(&path, Metadata::root(*mode as u16), node).map_err(|error| failed(error.to_string()))?;
        is_empty = false;
    }
    if is_empty {
        return Ok(None);
    }
    tree.clamp_times(EPOCH);
    tree.seal();
    let tree = ValidTree::new(tree).map_err(|problems| {
        failed(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let mut bytes = Vec::new();
    write_tar(&tree, &mut bytes).map_err(|error| failed(error.to_string()))?;
    Ok(Some(bytes))
}
