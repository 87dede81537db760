//! A download that is not complete: its bytes in `NAME.part`, and beside them what is needed to go on.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bake_base::json;
use serde::{Deserialize, Serialize};

/// What the bytes in a partial file belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub url: String,
    /// What the server calls this state of the file: an entity tag, or when it changed last; a value of
    /// `If-Range`.
    pub validator: String,
}

/// A partial file, open; whoever has it holds the lock of the download.
pub(super) struct Part {
    pub path: PathBuf,
    pub file: File,
    origin_path: PathBuf,
    /// Absent if there is no way to go on with what is there.
    pub origin: Option<Origin>,
    /// Whether bytes of an earlier transfer are in it.
    pub resumed: bool,
}

impl Part {
    /// The partial file at `path`, empty if there was none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut origin_path = path.as_os_str().to_owned();
        origin_path.push(".json");
        let origin_path = PathBuf::from(origin_path);
        // Whatever is wrong with the note, the transfer can begin anew.
        let origin = fs::read(&origin_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let resumed = file.metadata()?.len() > 0;
        Ok(Self { path: path.to_owned(), file, origin_path, origin, resumed })
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Where a transfer from `url` can go on, and the value of `If-Range`.
    pub fn continuation(&self, url: &str) -> io::Result<Option<(u64, String)>> {
        let len = self.len()?;
        let origin = self.origin.as_ref().filter(|origin| len > 0 && origin.url == url);
        Ok(origin.map(|origin| (len, origin.validator.clone())))
    }

    /// Prepares for bytes from `offset` on.
    pub fn go_on(&mut self, offset: u64) -> io::Result<()> {
        self.file.set_len(offset)?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.resumed = offset > 0;
        Ok(())
    }

    /// Empties the file for a transfer from `origin`; none if it could not be continued later.
    pub fn restart(&mut self, origin: Option<Origin>) -> io::Result<()> {
        // In this order: a note never stands beside bytes of another origin, whenever the process is killed.
        self.forget()?;
        self.go_on(0)?;
        if let Some(origin) = &origin {
            fs::write(&self.origin_path, json::to_canonical(origin)?)?;
        }
        self.origin = origin;
        Ok(())
    }

    /// Nothing goes on with these bytes.
    pub fn forget(&mut self) -> io::Result<()> {
        self.origin = None;
        match fs::remove_file(&self.origin_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives the file its place for good, on disk before it has the name.
    pub fn settle(mut self, place: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        self.forget()?;
        fs::rename(&self.path, place)?;
        File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Removes the file.
    pub fn discard(mut self) -> io::Result<()> {
        self.forget()?;
        fs::remove_file(&self.path)
    }
}
