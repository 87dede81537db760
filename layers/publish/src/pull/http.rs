//! A raw image behind a URL, by HTTP ranges (RFC 9110, section 14), and the manifest beside it.

use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bake_disk::BLOCK_SIZE;
use ureq::http::{StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Origin;
use crate::Error;
use crate::manifest::Manifest;

/// Blocks of one request: 4 MiB keep a line busy, and the threads' memory small.
const LONGEST: u64 = 8;
/// How often something is asked for that may pass.
const ATTEMPTS: u32 = 6;
/// The wait before the second attempt; each further one is twice as long.
const WAIT: Duration = Duration::from_millis(250);
/// Bytes of a manifest, at most: that of 7 TiB in use has fewer.
const MANIFEST: u64 = 1 << 30;
/// How long one answer may take in all; a server that sends a byte now and then is no server.
const ANSWER: Duration = Duration::from_mins(15);

/// How servers are reached.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Through which proxy, and hosts that are reached without it, as `no_proxy` has them.
    pub proxy: Option<(String, Vec<String>)>,
    /// A PEM file with the certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
}

/// A raw image behind a URL.
#[derive(Debug)]
pub struct Remote {
    agent: ureq::Agent,
    url: String,
    len: u64,
}

impl Remote {
    /// Fetches the manifest at `url`, and finds the raw image that it lists beside it.
    ///
    /// # Errors
    /// When the manifest cannot be had or used, or lists no raw image.
    pub fn open(url: &str, http: &Http) -> Result<(Self, Manifest), Error> {
        let agent = agent(http, url)?;
        let bytes = repeat(|| {
            let answer = agent.get(url).call().map_err(|error| passing(url, &error))?;
            let mut bytes = Vec::new();
            let mut body = answer.into_body().into_reader().take(MANIFEST + 1);
            body.read_to_end(&mut bytes).map_err(|error| (broken(url, &error), true))?;
            if bytes.len() as u64 > MANIFEST {
                return Err((Error::unfit(url, "it is larger than any manifest (1 GiB)"), false));
            }
            Ok(bytes)
        })?;
        let manifest = Manifest::parse(&bytes, url)?;
        let raw = manifest.artifacts.iter().find(|artifact| artifact.format == "raw");
        let name =
            raw.map(|raw| raw.name.as_str()).filter(|name| !name.contains(['/', '?', '#']) && *name != "..");
        let Some(name) = name else {
            return Err(Error::unfit(url, "it lists no raw image: bake one with --format raw"));
        };
        let (base, _) = url.rsplit_once('/').unwrap_or((url, ""));
        Ok((Self { agent, url: format!("{base}/{name}"), len: manifest.blocks.disk_size() }, manifest))
    }

    fn attempt(&self, from: u64, to: u64) -> Result<Vec<u8>, (Error, bool)> {
        let range = format!("bytes={from}-{}", to - 1);
        let answer = self
            .agent
            .get(&self.url)
            .header(header::RANGE, range)
            .header(header::ACCEPT_ENCODING, "identity")
            .call();
        let answer = answer.map_err(|error| passing(&self.url, &error))?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            let problem =
                "the server does not do ranges: it has to answer 206 to them (RFC 9110, section 14.2)";
            return Err((Error::unfit(&self.url, problem), false));
        }
        let wanted = format!("bytes {from}-{}/", to - 1);
        let said =
            answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !said.starts_with(&wanted) {
            let problem = format!(
                "the server sent `{said}`, expected `{wanted}*`: the image has another length than its manifest says"
            );
            return Err((Error::unfit(&self.url, problem), false));
        }
        let mut bytes = vec![0; (to - from) as usize];
        let mut body = answer.into_body().into_reader();
        body.read_exact(&mut bytes).map_err(|error| (broken(&self.url, &error), true))?;
        Ok(bytes)
    }
}

impl Origin for Remote {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn longest(&self) -> u64 {
        LONGEST
    }

    fn fetch(&self, first: u64, count: u64) -> Result<Vec<u8>, Error> {
        let (from, to) = (first * BLOCK_SIZE, ((first + count) * BLOCK_SIZE).min(self.len));
        repeat(|| self.attempt(from, to))
    }
}

/// Asks until there is an answer, unless it is one that will not change.
fn repeat<T>(attempt: impl Fn() -> Result<T, (Error, bool)>) -> Result<T, Error> {
    let mut wait = WAIT;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err((_, true)) => thread::sleep(wait),
            result => return result.map_err(|(error, _)| error),
        }
        wait *= 2;
    }
    attempt().map_err(|(error, _)| error)
}

/// A failure, and whether it may pass.
fn passing(url: &str, error: &ureq::Error) -> (Error, bool) {
    let may_pass = match error {
        ureq::Error::StatusCode(status) => *status == 429 || *status == 408 || *status >= 500,
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::HostNotFound => true,
        _ => false,
    };
    let problem = match error {
        ureq::Error::StatusCode(404) => "not found (status 404): expected the manifest.json that `bake image` wrote, and the raw image beside it".into(),
        ureq::Error::StatusCode(status @ (401 | 403)) => format!("the server refuses it (status {status})"),
        other => other.to_string(),
    };
    (Error::unfit(url, problem), may_pass)
}

fn broken(url: &str, error: &std::io::Error) -> Error {
    Error::unfit(url, format_args!("the transfer broke off: {error}"))
}

fn agent(http: &Http, url: &str) -> Result<ureq::Agent, Error> {
    let proxy = http.proxy.as_ref().map(|(url, except)| proxy(url, except)).transpose()?;
    let stall = Some(Duration::from_mins(1));
    let connect = Some(Duration::from_secs(30));
    let mut config = ureq::Agent::config_builder()
        .timeout_resolve(connect)
        .timeout_connect(connect)
        .timeout_per_read(stall)
        .timeout_per_write(stall)
        .timeout_recv_response(stall)
        .timeout_recv_body(Some(ANSWER))
        // Nobody is led from a safe place to an unsafe one.
        .https_only(url.starts_with("https:"))
        .proxy(proxy)
        .user_agent(concat!("bake/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &http.certificates {
        let pem = std::fs::read(path).map_err(Error::file("reading", path))?;
        let items: Result<Vec<_>, _> = ureq::tls::parse_pem(&pem).collect();
        let items = items.map_err(|error| Error::unfit(format_args!("`{}`", path.display()), error))?;
        let certificates = items.into_iter().filter_map(|item| match item {
            ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<Certificate<'static>> = certificates.collect();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build();
        config = config.tls_config(tls);
    }
    Ok(config.build().into())
}

fn proxy(url: &str, except: &[String]) -> Result<ureq::Proxy, Error> {
    let wrong = |error: ureq::Error| Error::unfit("proxy of the environment", error);
    let plain = ureq::Proxy::new(url).map_err(wrong)?;
    let mut builder = ureq::Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    except.iter().fold(builder, |builder, host| builder.no_proxy(host)).build().map_err(wrong)
}
