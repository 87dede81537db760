//! Keys that another program holds: in a token, a service, or a file with a passphrase.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bake_base::Digest;

use super::{Certificate, SignError, Signer};

/// How often is asked whether the program has ended.
const STEP: Duration = Duration::from_millis(10);
/// How long its output may take to come after it has ended.
const GRACE: Duration = Duration::from_secs(2);
/// Most that is kept of what it says, in bytes.
const MAX_SAID: u64 = 64 << 10;
/// Most that a message shows of it, in characters.
const SHOWN: usize = 500;
/// What has a meaning to a shell, of which there is none.
const SHELL: &[char] = &['\'', '"', '\\', '$', '`', '|', '&', ';', '<', '>', '(', ')'];

/// A program that signs. It gets the message on its standard input and prints the signature, as many bytes as
/// the key has, and nothing else. `BAKE_SIGN_CERTIFICATE` is the certificate's file, `BAKE_SIGN_SHA256` the
/// message's digest in hexadecimal, for what signs digests alone. `openssl dgst -sha256 -sign KEY` is one.
#[derive(Debug)]
pub struct External {
    words: Vec<String>,
    certificate: Certificate,
    timeout: Duration,
}

impl External {
    /// A program that is started as `command`: its name and its arguments, with spaces between them. There is
    /// no shell; whoever needs one writes a script.
    ///
    /// # Errors
    /// When the command is empty, or would mean something else to a shell.
    pub fn new(command: &str, certificate: Certificate, timeout: Duration) -> Result<Self, SignError> {
        let refused =
            |reason: &str| SignError::External { program: command.to_owned(), reason: reason.to_owned() };
        if command.contains(SHELL) {
            return Err(refused(
                "has characters that mean something to a shell, which is not used: expected a program and \
                 plain arguments; put the rest into a script",
            ));
        }
        let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(refused("is empty: expected a program and its arguments"));
        }
        Ok(Self { words, certificate, timeout })
    }

    fn failed(&self, reason: impl Into<String>) -> SignError {
        SignError::External { program: self.words[0].clone(), reason: reason.into() }
    }

    #[expect(clippy::disallowed_methods, reason = "the key is where only this program can reach it")]
    fn start(&self, message: &[u8]) -> Result<Child, SignError> {
        let started = Command::new(&self.words[0])
            .args(&self.words[1..])
            .env("BAKE_SIGN_CERTIFICATE", self.certificate.file())
            .env("BAKE_SIGN_SHA256", Digest::of(message).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        started.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                self.failed("is not there: expected a path, or a program in PATH")
            }
            _ => self.failed(format!("cannot be started: {error}")),
        })
    }

    /// Waits for the end; a program that takes too long is ended. Times are counted, not looked up.
    fn wait(&self, child: &mut Child) -> Result<ExitStatus, SignError> {
        let mut left = self.timeout;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if left.is_zero() => break,
                Ok(None) => {}
                Err(error) => return Err(self.failed(format!("cannot be waited for: {error}"))),
            }
            thread::sleep(STEP.min(left));
            left = left.saturating_sub(STEP);
        }
        // It may have ended by itself; either way nothing is left to do about it.
        let _ = child.kill();
        let _ = child.wait();
        Err(self.failed(format!("did not end within {} s", self.timeout.as_secs())))
    }
}

impl Signer for External {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut child = self.start(message)?;
        // Not joined: whatever the program has started may hold its ends of the pipes for ever.
        if let Some(mut stdin) = child.stdin.take() {
            let message = message.to_vec();
            // A program that does not read signs the digest.
            thread::spawn(move || drop(stdin.write_all(&message)));
        }
        let (printed, said) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let status = self.wait(&mut child)?;
        let said = || {
            let said = said.recv_timeout(GRACE).unwrap_or_default();
            let text: String = String::from_utf8_lossy(&said).trim().chars().take(SHOWN).collect();
            if text.is_empty() { "nothing".to_owned() } else { format!("`{}`", text.escape_debug()) }
        };
        if !status.success() {
            return Err(self.failed(format!("failed ({status}) and said {}", said())));
        }
        let late = |_| self.failed("ended, but what it started keeps its output open");
        let signature = printed.recv_timeout(GRACE).map_err(late)?;
        let expected = self.certificate.signature_len();
        if signature.len() != expected {
            return Err(self.failed(format!(
                "printed {} bytes and said {}: expected the signature alone, in {expected} bytes, neither \
                 encoded nor with a line end",
                signature.len(),
                said()
            )));
        }
        Ok(signature)
    }
}

/// Reads to the end in a thread of its own, and gives what came first.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error says what there is to say.
            let _ = pipe.by_ref().take(MAX_SAID).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        let _ = send.send(bytes);
    });
    receive
}
