//! A web server that can be told to misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Well,
    /// No answer brings more than so many bytes, then the connection breaks.
    Cut(usize),
    /// The same, and ranges mean nothing to it.
    CutWithoutRanges(usize),
    /// Without end, and without a length.
    Endless,
}

/// A server of some files by their paths, until the test ends.
pub struct Server {
    pub url: String,
    /// Paths that were asked for, and from which byte on.
    pub asked: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Server {
    pub fn new(files: BTreeMap<String, Vec<u8>>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that is gone is nobody's trouble.
                let _ = answer(stream.unwrap(), &files, manner, &log);
            }
        });
        Self { url, asked }
    }
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    manner: Manner,
    log: &Mutex<Vec<(String, usize)>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().unwrap()?.split(' ').nth(1).unwrap().to_owned();
    let mut first = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            first = range.trim_end_matches('-').parse().ok();
        }
    }
    log.lock().unwrap().push((path.clone(), first.unwrap_or(0)));
    let Some(content) = files.get(&path) else {
        return write!(stream, "HTTP/1.1 404 none\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if manner == Manner::Endless {
        write!(stream, "HTTP/1.1 200 fine\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&vec![7; 1 << 16])?;
        }
    }
    let first = first.filter(|_| !matches!(manner, Manner::CutWithoutRanges(_)));
    let rest = &content[first.unwrap_or(0).min(content.len())..];
    match first {
        Some(first) if rest.is_empty() => {
            let length = content.len();
            return write!(
                stream,
                "HTTP/1.1 416 {first} of {length}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Some(first) => write!(
            stream,
            "HTTP/1.1 206 part\r\nContent-Range: bytes {first}-{}/{}\r\n",
            content.len() - 1,
            content.len()
        )?,
        None => write!(stream, "HTTP/1.1 200 fine\r\n")?,
    }
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
    let most = match manner {
        Manner::Cut(most) | Manner::CutWithoutRanges(most) => most.min(rest.len()),
        _ => rest.len(),
    };
    stream.write_all(&rest[..most])
}
