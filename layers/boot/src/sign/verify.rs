//! Checking of signatures.

use bake_tree::Content;

use super::authenticode::Program;
use super::cms::ProgramSignature;
use super::{Certificate, SignError};

/// Checks that a program is signed by the key of `certificate` itself (what the certificate's key has
/// certified is not asked) and is what was signed.
///
/// # Errors
/// When it is not, with what is wrong.
pub fn verify(program: &Content, certificate: &Certificate) -> Result<(), SignError> {
    let program = Program::parse(program)?;
    if !program.is_signed() {
        return Err(SignError::NotSigned);
    }
    let mut wrong = SignError::ByOthers { file: certificate.file().to_owned() };
    for signature in program.signatures()? {
        match check(&program, signature, certificate) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => wrong = error,
        }
    }
    Err(wrong)
}

/// Whether one signature is by the certificate.
fn check(program: &Program<'_>, signature: &[u8], certificate: &Certificate) -> Result<bool, SignError> {
    let signature = ProgramSignature::parse(signature)?;
    if signature.signer != certificate.issuer_and_serial() {
        return Ok(false);
    }
    if !certificate.verifies(&signature.to_sign, &signature.signature) {
        return Err(SignError::NotByCertificate { file: certificate.file().to_owned() });
    }
    if signature.program != program.digest() {
        return Err(SignError::Changed { signed: signature.program, found: program.digest() });
    }
    Ok(true)
}
