//! Keys in files.

use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::pem::SectionKind;

use super::certificate::sections;
use super::{Certificate, SignError, Signer};

/// A private key with its certificate.
#[derive(Debug)]
pub struct Key {
    certificate: Certificate,
    file: String,
    pair: RsaKeyPair,
}

impl Key {
    /// Reads a key in PEM (PKCS #8 or PKCS #1), not encrypted; `file` is its name in messages.
    ///
    /// # Errors
    /// When it is none, of a kind that firmware does not take, or not that of the certificate.
    pub fn from_pem(file: &str, text: &[u8], certificate: Certificate) -> Result<Self, SignError> {
        let pair = parse(text).map_err(|reason| SignError::Key { file: file.to_owned(), reason })?;
        if pair.public_key().as_ref() != certificate.public_key() {
            return Err(SignError::Mismatch {
                key: file.to_owned(),
                certificate: certificate.file().to_owned(),
            });
        }
        Ok(Self { certificate, file: file.to_owned(), pair })
    }
}

impl Signer for Key {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        // This padding draws nothing from the source of randomness that the interface asks for.
        let random = SystemRandom::new();
        let failed =
            |_| SignError::Key { file: self.file.clone(), reason: "signing with it failed".to_owned() };
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
        Ok(signature)
    }
}

fn parse(text: &[u8]) -> Result<RsaKeyPair, String> {
    // PKCS #8 says so in its title, the older form in a line below it (RFC 1421, section 4.6.1.1).
    for mark in ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"] {
        if text.windows(mark.len()).any(|part| part == mark.as_bytes()) {
            return Err(
                "it is encrypted: decrypt it (`openssl pkey -in KEY -out PLAIN`), or sign through a \
                        program that asks for its passphrase"
                    .to_owned(),
            );
        }
    }
    let mut found = sections(text)?;
    found.retain(|(kind, _)| {
        matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
    });
    let [(kind, der)] = found.as_slice() else {
        return Err(format!("it has {} private keys: expected one", found.len()));
    };
    let pair = match kind {
        SectionKind::PrivateKey => RsaKeyPair::from_pkcs8(der),
        SectionKind::RsaPrivateKey => RsaKeyPair::from_der(der),
        _ => return Err(EXPECTED.to_owned()),
    };
    pair.map_err(|error| match error.to_string().as_str() {
        "WrongAlgorithm" => EXPECTED.to_owned(),
        reason => format!("it was refused ({reason}): expected an RSA key of 2048, 3072 or 4096 bits"),
    })
}

const EXPECTED: &str =
    "it is no RSA key: expected RSA of 2048, 3072 or 4096 bits, the only kind that all firmware takes";
