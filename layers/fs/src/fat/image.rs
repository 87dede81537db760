//! The device under `fatfs`: a sparse image in memory that keeps metadata and only notes where content falls.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bake_base::{LayoutBuilder, ReadAt, is_zero};

/// Bytes that are kept or absent together.
const PAGE: u64 = 4096;

/// A volume in the making. Pages that were never given anything but zeros are absent.
#[derive(Debug)]
pub(super) struct Image {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    /// Where clusters begin; below are boot sectors and FATs. Unknown while formatting.
    pub data_start: u64,
    /// While a file is being written: where its bytes fell so far, adjacent runs joined.
    content: Option<Vec<(u64, u64)>>,
}

impl Image {
    pub(super) fn new(len: u64) -> Self {
        Self { len, pages: BTreeMap::new(), data_start: len, content: None }
    }

    /// From now on, what is written to clusters is a file's content, from its first byte on.
    pub(super) fn start_content(&mut self) {
        self.content = Some(Vec::new());
    }

    /// Where the content fell.
    pub(super) fn end_content(&mut self) -> Vec<(u64, u64)> {
        self.content.take().unwrap_or_default()
    }

    /// Writes bytes inside of the image.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::WriteZero)?;
        let mut at = offset;
        while at < end {
            let within = (at % PAGE) as usize;
            let n = (PAGE - at % PAGE).min(end - at) as usize;
            let piece = &bytes[(at - offset) as usize..][..n];
            match self.pages.get_mut(&(at / PAGE)) {
                Some(page) => page[within..within + n].copy_from_slice(piece),
                None if is_zero(piece) => {}
                None => {
                    let mut page = Box::new([0; PAGE as usize]);
                    page[within..within + n].copy_from_slice(piece);
                    self.pages.insert(at / PAGE, page);
                }
            }
            at += n as u64;
        }
        Ok(())
    }

    fn device_write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &mut self.content {
            Some(runs) if offset >= self.data_start => {
                let len = bytes.len() as u64;
                match runs.last_mut() {
                    Some((start, before)) if *start + *before == offset => *before += len,
                    _ => runs.push((offset, len)),
                }
                Ok(())
            }
            _ => self.write_at(offset, bytes),
        }
    }

    /// Adds what was kept to a layout.
    pub(super) fn into_layout(self, builder: &mut LayoutBuilder) {
        for (index, page) in self.pages {
            if !is_zero(&*page) {
                builder.push_bytes(index * PAGE, page.to_vec());
            }
        }
    }
}

impl ReadAt for Image {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        while at < end {
            let within = (at % PAGE) as usize;
            let n = (PAGE - at % PAGE).min(end - at) as usize;
            let target = &mut buffer[(at - offset) as usize..][..n];
            match self.pages.get(&(at / PAGE)) {
                Some(page) => target.copy_from_slice(&page[within..within + n]),
                None => target.fill(0),
            }
            at += n as u64;
        }
        Ok(())
    }
}

/// An [`Image`] as `fatfs` wants it. Shared, because `fatfs` keeps it for itself otherwise.
#[derive(Debug)]
pub(super) struct Device<'a> {
    image: &'a RefCell<Image>,
    position: u64,
}

impl<'a> Device<'a> {
    pub(super) fn new(image: &'a RefCell<Image>) -> Self {
        Self { image, position: 0 }
    }
}

impl Read for Device<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let image = self.image.borrow();
        let n = image.len.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        image.read_exact_at(self.position, &mut buffer[..n])?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for Device<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.image.borrow_mut().device_write(self.position, bytes)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Device<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.image.borrow().len.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
