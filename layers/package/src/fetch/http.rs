//! One transfer over HTTP: from a URL into a partial file, beginning or going on.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, ResponseExt};

use super::part::{Origin, Part};
use super::url::shown;
use super::{FetchOptions, OptionsError, Proxy};

/// No chain of redirections that leads anywhere is longer.
const MOST_REDIRECTS: u32 = 10;
/// How often it is looked at whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// How many pieces may wait to be written.
const AHEAD: usize = 4;

/// Why a transfer failed.
pub(super) enum Failure {
    /// What the partial file's bytes do not fit to; another transfer begins anew.
    Stale,
    /// Another attempt may succeed, not before this time has passed.
    Passing { reason: String, after: Duration },
    /// Another attempt would fail too.
    Lasting(String),
    /// There is no such file.
    Absent(String),
    /// The operating system does not take the bytes.
    Local(io::Error),
    /// Somebody asked for the end.
    Stopped,
}

/// What transfers are made with.
pub(super) struct Client {
    agent: Agent,
    connect_timeout: Duration,
    stall_timeout: Duration,
    limit: u64,
    stop: Arc<AtomicBool>,
}

impl Client {
    pub fn new(options: &FetchOptions) -> Result<Self, OptionsError> {
        let proxy = options.proxy.as_ref().map(proxy).transpose()?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &options.certificates {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
        }
        let agent = Agent::config_builder()
            .proxy(proxy)
            .tls_config(tls.build())
            .user_agent(&options.user_agent)
            .http_status_as_error(false)
            .max_redirects(MOST_REDIRECTS)
            .max_redirects_will_error(false)
            .save_redirect_history(true)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            .build()
            .new_agent();
        let (connect_timeout, stall_timeout) = (options.connect_timeout, options.stall_timeout);
        Ok(Self {
            agent,
            connect_timeout,
            stall_timeout,
            limit: options.limit,
            stop: Arc::clone(&options.stop),
        })
    }

    /// Transfers what `url` has into `part`, reporting how many bytes are there and how many will be.
    pub fn transfer(
        &self,
        url: &str,
        part: &mut Part,
        progress: &dyn Fn(u64, Option<u64>),
    ) -> Result<(), Failure> {
        // What is wanted are the bytes as they lie there.
        let mut request = self.agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        let continuation = part.continuation(url).map_err(Failure::Local)?;
        if let Some((offset, validator)) = &continuation {
            request =
                request.header(header::RANGE, format!("bytes={offset}-")).header(header::IF_RANGE, validator);
        }
        let (sender, answers) = mpsc::sync_channel(1);
        start(move || drop(sender.send(request.call())))?;
        let response = self.arrival(&answers)?.map_err(|error| self.failure(error))?;
        let offset = match (response.status(), continuation) {
            (StatusCode::PARTIAL_CONTENT, Some((offset, _))) => offset,
            (StatusCode::OK, _) => 0,
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => return Err(Failure::Stale),
            _ => return Err(refused(&response)),
        };
        let total = total(&response, offset)?;
        if let Some(total) = total.filter(|total| *total > self.limit) {
            return Err(self.too_large(&format!("has {total} bytes")));
        }
        match offset {
            0 => part.restart(origin(url, &response)),
            offset => part.go_on(offset),
        }
        .map_err(Failure::Local)?;
        self.receive(response, part, offset, total, progress)
    }

    fn receive(
        &self,
        response: Response<Body>,
        part: &mut Part,
        mut done: u64,
        total: Option<u64>,
        progress: &dyn Fn(u64, Option<u64>),
    ) -> Result<(), Failure> {
        let (sender, pieces) = mpsc::sync_channel(AHEAD);
        start(move || {
            let mut body = response.into_body().into_reader();
            loop {
                let mut buffer = vec![0; 1 << 16];
                let read = body.read(&mut buffer);
                let piece = read.map(|count| {
                    buffer.truncate(count);
                    buffer
                });
                let is_last = !piece.as_ref().is_ok_and(|piece| !piece.is_empty());
                if sender.send(piece).is_err() || is_last {
                    return;
                }
            }
        })?;
        loop {
            progress(done, total);
            let piece = match self.arrival(&pieces)? {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ended(done, total));
                }
                Err(error) => return Err(self.failure(Error::from(error))),
            };
            done += piece.len() as u64;
            if done > self.limit {
                return Err(self.too_large("goes on after that"));
            }
            part.file.write_all(&piece).map_err(Failure::Local)?;
        }
        if total.is_some_and(|total| total != done) { Err(ended(done, total)) } else { Ok(()) }
    }

    /// What a thread that waits for the server sends next. A stop does not wait for it: the thread ends with its
    /// time-out or with the process, whichever is first.
    fn arrival<T>(&self, arriving: &Receiver<T>) -> Result<T, Failure> {
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Err(Failure::Stopped);
            }
            match arriving.recv_timeout(TICK) {
                Ok(arrived) => return Ok(arrived),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Lasting(
                        "cannot be fetched: the transfer ended without a word".to_owned(),
                    ));
                }
            }
        }
    }

    fn too_large(&self, how: &str) -> Failure {
        Failure::Lasting(format!("is larger than the limit of {} bytes: it {how}", self.limit))
    }

    fn failure(&self, error: Error) -> Failure {
        use ureq::Timeout::{Connect, Resolve};
        match error {
            Error::Timeout(Connect | Resolve) => {
                passing(format!("gave no connection within {:?}", self.connect_timeout))
            }
            Error::Timeout(_) => passing(format!("sent nothing for {:?}", self.stall_timeout)),
            Error::HostNotFound => passing("has a host that no name server knows".to_owned()),
            // Certificates do not get better by asking again.
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::Lasting(format!("gave no secure connection: {error}"))
            }
            Error::Io(error) => passing(format!("broke the connection: {error}")),
            Error::Protocol(error) => passing(format!("does not answer as HTTP has it: {error}")),
            Error::ConnectProxyFailed(reason) => passing(format!("is refused by the proxy: {reason}")),
            Error::ConnectionFailed => passing("gave no connection".to_owned()),
            Error::BadUri(_) | Error::Http(_) => {
                Failure::Lasting(format!("is no URL, or leads to something that is none: {error}"))
            }
            other => Failure::Lasting(format!("cannot be fetched: {other}")),
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new().spawn(work).map(drop).map_err(Failure::Local)
}

fn passing(reason: String) -> Failure {
    Failure::Passing { reason, after: Duration::ZERO }
}

fn ended(done: u64, total: Option<u64>) -> Failure {
    passing(match total {
        Some(total) => format!("ended after {done} of {total} bytes"),
        None => format!("ended after {done} bytes, which are not all"),
    })
}

/// The length of the whole file, if the server says it.
fn total(response: &Response<Body>, offset: u64) -> Result<Option<u64>, Failure> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if offset == 0 {
        // An encoding in transfer has its own end; a length beside it means nothing (RFC 9112, 6.3).
        let plain = text(header::TRANSFER_ENCODING).is_none();
        return Ok(text(header::CONTENT_LENGTH)
            .filter(|_| plain)
            .and_then(|length| length.trim().parse().ok()));
    }
    let range = text(header::CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes ")?.split_once('/'));
    match range.and_then(|(range, total)| Some((range.split_once('-')?.0.parse::<u64>().ok()?, total))) {
        Some((start, total)) if start == offset => Ok(total.parse().ok()),
        _ => Err(Failure::Stale),
    }
}

/// How this state of the file can be asked for again. Weak entity tags can't (RFC 9110, 13.1.5).
fn origin(url: &str, response: &Response<Body>) -> Option<Origin> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let strong = text(header::ETAG).filter(|tag| tag.starts_with('"'));
    let validator = strong.or_else(|| text(header::LAST_MODIFIED))?.to_owned();
    Some(Origin { url: url.to_owned(), validator })
}

/// Any answer that is not the file.
fn refused(response: &Response<Body>) -> Failure {
    let status = response.status();
    if status.is_redirection() {
        return Failure::Lasting(redirections(response.get_redirect_history().unwrap_or_default()));
    }
    let reason = format!("answers {}", status.to_string().trim_end());
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Failure::Absent(reason);
    }
    let may_pass = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if !may_pass {
        return Failure::Lasting(reason);
    }
    // Seconds; the back-off stands in for a date.
    let after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Failure::Passing { reason, after: Duration::from_secs(after.unwrap_or(0)) }
}

fn redirections(history: &[Uri]) -> String {
    let uris: Vec<String> = history.iter().map(|uri| shown(&uri.to_string())).collect();
    let again = uris.iter().enumerate().find_map(|(at, uri)| {
        let first = uris[..at].iter().position(|earlier| earlier == uri)?;
        Some(&uris[first..=at])
    });
    match again {
        Some(circle) => format!("is redirected in a circle: {}", circle.join(" -> ")),
        None => format!("is redirected more than {MOST_REDIRECTS} times: {}", uris.join(" -> ")),
    }
}

fn proxy(proxy: &Proxy) -> Result<ureq::Proxy, OptionsError> {
    let wrong = || OptionsError::Proxy(shown(&proxy.url));
    let plain = ureq::Proxy::new(&proxy.url).map_err(|_| wrong())?;
    let mut builder = ureq::Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    proxy.except.iter().fold(builder, |builder, host| builder.no_proxy(host)).build().map_err(|_| wrong())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, OptionsError> {
    let wrong = |reason: String| OptionsError::Certificates { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(wrong("no certificate is in it".to_owned()));
    }
    Ok(certificates)
}
