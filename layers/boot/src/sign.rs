//! Signing of EFI programs, so that firmware with one's own keys starts them and nothing else (UEFI 2.10,
//! section 32; Microsoft, "Windows Authenticode Portable Executable Signature Format").
//!
//! The same program, certificate and key give the same bytes: RSA in the padding of PKCS #1 v1.5, the only
//! signature that all firmware takes, draws nothing at random, and the signed attributes have no time (what
//! `sbsign` makes has one, and a list of what mail programs can do). A signature goes behind the program,
//! whose own bytes are referred to and read once; its digest is the same before and after ([`digest`]), and
//! is what the program is known by.
//!
//! A key in a file signs here ([`Key`]); one in a token or a service signs through a program ([`External`]).
//! Whatever signs is believed only after its signature was checked against the certificate.

mod authenticode;
mod certificate;
mod cms;
mod enrol;
mod external;
mod key;
mod verify;

use bake_base::{Digest, Epoch};
use bake_tree::Content;

use crate::pe::PeError;
use authenticode::Program;
pub use certificate::Certificate;
pub use enrol::{Enrolment, Variable, authenticated, signature_list};
pub use external::External;
pub use key::Key;
pub use verify::verify;

/// What holds a private key.
pub trait Signer {
    /// The certificate of the key.
    fn certificate(&self) -> &Certificate;

    /// The signature of `message`: RSA, PKCS #1 v1.5, SHA-256, as long as the key.
    ///
    /// # Errors
    /// When there is none to be had.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What happens to the signatures that a program has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// A program that has any is refused.
    #[default]
    Refuse,
    /// They stay, and the new one follows them. A program that the same key has signed stays as it is.
    Keep,
}

/// What cannot be signed, or is not signed as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The certificate is of no use.
    #[error("`{file}` is no certificate that can sign: {reason}")]
    Certificate {
        /// Which.
        file: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The key is of no use.
    #[error("`{file}` is no key that can sign: {reason}")]
    Key {
        /// Which.
        file: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Key and certificate do not belong together.
    #[error(
        "the key `{key}` does not belong to the certificate `{certificate}`: expected the one it was made for"
    )]
    Mismatch {
        /// The key's file.
        key: String,
        /// The certificate's.
        certificate: String,
    },
    /// The certificate had ended when what it should sign was made.
    #[error("the certificate `{file}` ended at {end}, before the epoch {epoch}: renew it")]
    Ended {
        /// Which.
        file: String,
        /// When.
        end: String,
        /// The image's time.
        epoch: String,
    },
    /// The program that signs failed.
    #[error("the signer `{program}` {reason}")]
    External {
        /// Which.
        program: String,
        /// What it did.
        reason: String,
    },
    /// What came back is no signature of the certificate's key.
    #[error(
        "what was signed with the certificate `{file}` does not verify with it: expected a signature by its \
         key (RSA, PKCS #1 v1.5, SHA-256)"
    )]
    NotByCertificate {
        /// The certificate's file.
        file: String,
    },
    /// The program is none that can be signed.
    #[error(transparent)]
    Program(#[from] PeError),
    /// Some bytes would not be covered by the signature.
    #[error("its bytes {start} to {end} are in no section, or in two: a signature would not cover them")]
    Uncovered {
        /// Where they begin.
        start: u64,
        /// Where they end.
        end: u64,
    },
    /// The program has a signature.
    #[error("it is signed already: expected an unsigned program, or leave to keep its signatures")]
    Signed,
    /// The program has no signature.
    #[error("it is not signed")]
    NotSigned,
    /// None of its signatures is by the certificate.
    #[error("it is not signed with the certificate `{file}`, but by others")]
    ByOthers {
        /// The certificate's file.
        file: String,
    },
    /// The program is not what was signed.
    #[error("it was changed after it was signed: its digest is {found}, the signed one {signed}")]
    Changed {
        /// The digest that was signed.
        signed: Digest,
        /// That of the program.
        found: Digest,
    },
    /// A signature is damaged, or of a kind that is not known.
    #[error("its signature is damaged: {0}")]
    Damaged(&'static str),
    /// The time cannot be written.
    #[error("the epoch {0} lies after the year 9999, the last that firmware knows")]
    Time(u64),
}

/// Signs a program. `epoch` is the image's time, which the certificate must not have ended before; whether it
/// has begun is not asked, as images of old files are signed with new keys.
///
/// # Errors
/// When the program cannot be signed, or the signer fails.
pub fn sign(
    program: &Content,
    signer: &dyn Signer,
    existing: Existing,
    epoch: Epoch,
) -> Result<Content, SignError> {
    let certificate = signer.certificate();
    certificate.check_end(epoch)?;
    let parsed = Program::parse(program)?;
    if parsed.is_signed() {
        match existing {
            Existing::Refuse => return Err(SignError::Signed),
            Existing::Keep if verify(program, certificate).is_ok() => return Ok(program.clone()),
            Existing::Keep => {}
        }
    }
    let content = cms::indirect_data(parsed.digest());
    let attributes = cms::attributes(&content);
    let signature = signature(signer, &cms::attributes_to_sign(&attributes))?;
    parsed.attach(&cms::program_signature(certificate, &content, &attributes, &signature))
}

/// The Authenticode digest of a program, signed or not: SHA-256 of all but its signatures and what signing
/// changes in its headers. Padding to eight bytes counts, as signing would add it.
///
/// # Errors
/// When it is no program that can be signed.
pub fn digest(program: &Content) -> Result<Digest, SignError> {
    Ok(Program::parse(program)?.digest())
}

/// A signature that was checked against the signer's certificate.
fn signature(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature = signer.sign(message)?;
    let certificate = signer.certificate();
    if !certificate.verifies(message, &signature) {
        return Err(SignError::NotByCertificate { file: certificate.file().to_owned() });
    }
    Ok(signature)
}

#[cfg(test)]
mod tests;
