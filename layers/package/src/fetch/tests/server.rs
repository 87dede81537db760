//! An HTTP server that does exactly what a test says, right or wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server sends before it closes the connection.
pub struct Reply {
    bytes: Vec<u8>,
    /// Whether it goes silent instead of closing the connection.
    stalls: bool,
}

impl Reply {
    /// A status, header lines and bytes, as they are.
    pub fn new(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self { bytes, stalls: false }
    }

    /// The whole file with its length and these header lines.
    pub fn file(body: &[u8], headers: &[&str]) -> Self {
        Self::part(body, body.len(), headers)
    }

    /// The first `sent` bytes of a file whose whole length is told.
    pub fn part(body: &[u8], sent: usize, headers: &[&str]) -> Self {
        let length = format!("Content-Length: {}", body.len());
        Self::new("200 OK", &[headers, &[&length]].concat(), &body[..sent])
    }

    /// What is left of a file after `start` bytes.
    pub fn rest(body: &[u8], start: usize) -> Self {
        let range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
        let length = format!("Content-Length: {}", body.len() - start);
        Self::new("206 Partial Content", &[&range, &length], &body[start..])
    }

    /// A status without anything.
    pub fn status(status: &str) -> Self {
        Self::new(status, &["Content-Length: 0"], b"")
    }

    pub fn redirect(to: &str) -> Self {
        Self::new("302 Found", &[&format!("Location: {to}"), "Content-Length: 0"], b"")
    }

    /// The same, and then silence.
    pub fn stalling(self) -> Self {
        Self { stalls: true, ..self }
    }
}

pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// A server that answers by the number of the request, from 0, and its text in lower case.
    pub fn new(answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (noted, ended, answer) = (Arc::clone(&requests), Arc::clone(&over), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (mut stream, noted, ended) = (stream.unwrap(), Arc::clone(&noted), Arc::clone(&ended));
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n")
                        && stream.read(&mut byte).is_ok_and(|count| count > 0)
                    {
                        request.push(byte[0]);
                    }
                    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                    let number = {
                        let mut noted = noted.lock().unwrap();
                        noted.push(request.clone());
                        noted.len() - 1
                    };
                    let reply = answer(number, &request);
                    // A client that has seen enough hangs up.
                    let _ = stream.write_all(&reply.bytes);
                    while reply.stalls && !ended.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(20));
                    }
                });
            }
        });
        Self { address, requests, over }
    }

    /// A server that always sends this file.
    pub fn of(bytes: &'static [u8]) -> Self {
        Self::new(move |_, _| Reply::file(bytes, &[]))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A message in which the server has the same name in every run.
    pub fn plain(&self, text: &str) -> String {
        text.replace(&self.address, "http://server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener, which sees that it is over.
        let _ = std::net::TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}
