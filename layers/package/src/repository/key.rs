//! Keys whose signatures count.

use std::fs;
use std::io;
use std::path::Path;

use minisign_verify::{Error, PublicKey, Signature};

/// A public key of minisign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// As the user gave it.
    text: String,
    key: PublicKey,
}

/// The text is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither a key nor a file.
    #[error(
        "`{text}` is no public key of minisign (56 characters that begin with `RW`), and as a file it cannot be \
         read: {error}"
    )]
    Unreadable {
        /// The text.
        text: String,
        /// Why there is no such file.
        error: io::Error,
    },
    /// A file with something else in it.
    #[error("`{0}` holds no public key of minisign: expected the two lines that `minisign -G` writes")]
    NoKey(String),
}

impl TrustedKey {
    /// The key that `text` is, or that lies in the file of that name; relative ones start at `directory`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn find(text: &str, directory: &Path) -> Result<Self, KeyError> {
        let of = |key| Self { text: text.to_owned(), key };
        if let Ok(key) = PublicKey::from_base64(text) {
            return Ok(of(key));
        }
        let unreadable = |error| KeyError::Unreadable { text: text.to_owned(), error };
        let lines = fs::read_to_string(directory.join(text)).map_err(unreadable)?;
        PublicKey::decode(&lines).map(of).map_err(|_| KeyError::NoKey(text.to_owned()))
    }
}

/// Whether `signature` is one of `bytes`, by one of `keys`.
///
/// # Errors
/// What is wrong with the signature, to be read after its name.
pub(super) fn verify(bytes: &[u8], signature: &[u8], keys: &[TrustedKey]) -> Result<(), String> {
    let signature = std::str::from_utf8(signature).ok().and_then(|text| Signature::decode(text).ok());
    let signature = signature.ok_or("is no signature of minisign: expected the four lines that it writes")?;
    let mut is_known = false;
    for trusted in keys {
        match trusted.key.verify(bytes, &signature, false) {
            Ok(()) => return Ok(()),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => {
                return Err("is of the legacy format: expected one that was made without `-l`".to_owned());
            }
            Err(_) => is_known = true,
        }
    }
    if is_known {
        return Err(
            "does not fit: the manifest or the signature was changed, or the manifest was made anew and \
                    not signed again"
                .to_owned(),
        );
    }
    let known: Vec<_> = keys.iter().map(|key| format!("`{}`", key.text)).collect();
    Err(format!("is by another key than the trusted ones: {}", known.join(", ")))
}
