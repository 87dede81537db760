//! HTTP/1.1 and version 4 of AWS's signatures, as much as an endpoint needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use bake_base::Digest;

/// The secret of every test's credentials.
pub const SECRET: &str = "not-a-secret";
/// Their key.
pub const KEY: &str = "AKIDTEST";

/// A request, read whole.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Of the body: computed once, by the connection's own thread.
    pub digest: Digest,
}

/// An answer.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; none at its end.
    pub fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, query, headers, digest: Digest::of(&body), body })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A parameter of the query, or of a form.
    pub fn parameters(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }

    /// The region and the service that the signature is for, if it is right.
    pub fn signed_for(&self) -> Result<(String, String), String> {
        let fields = self.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or("no signature")?;
        let field = |name: &str| {
            let found = fields.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned).ok_or(format!("no {name}"))
        };
        let (credential, signed, signature) =
            (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let (key, scope) = credential.split_once('/').ok_or("no scope")?;
        let [date, region, service, end] = scope.split('/').collect::<Vec<_>>()[..] else {
            return Err("a wrong scope".into());
        };
        if key != KEY || end != "aws4_request" {
            return Err("an unknown key".into());
        }
        // What the body of a block is, only its checksum says.
        let is_block = self.method == "PUT";
        let payload = if is_block { "UNSIGNED-PAYLOAD".into() } else { self.digest.to_string() };
        let mut query: Vec<_> = self.query.split('&').filter(|pair| !pair.is_empty()).collect();
        query.sort_unstable();
        let headers: String =
            signed.split(';').map(|name| format!("{name}:{}\n", self.header(name))).collect();
        let canonical =
            format!("{}\n{}\n{}\n{headers}\n{signed}\n{payload}", self.method, self.path, query.join("&"));
        let time = self.header("x-amz-date");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", Digest::of(canonical.as_bytes()));
        let mut secret = format!("AWS4{SECRET}").into_bytes();
        for part in [date, region, service, "aws4_request", &text] {
            secret = hmac(&secret, part.as_bytes());
        }
        let expected: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        if signature != expected {
            return Err(format!("a wrong signature of\n{canonical}"));
        }
        Ok((region.into(), service.into()))
    }
}

impl Answer {
    pub fn write(&self, stream: &mut impl Write) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", self.status, self.body.len());
        self.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{text}\r\n").as_bytes())?;
        stream.write_all(&self.body)?;
        stream.flush()
    }
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Digest::of(key).as_bytes().to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(move |byte| byte ^ with).collect::<Vec<_>>();
    let inner = Digest::of(&[pad(0x36), text.to_vec()].concat());
    Digest::of(&[pad(0x5c), inner.as_bytes().to_vec()].concat()).as_bytes().to_vec()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
