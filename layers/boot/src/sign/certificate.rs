//! Certificates: whose key it is, and until when.

use std::time::Duration;

use bake_base::Epoch;
use der::asn1::UintRef;
use der::{DateTime, Decode, Encode, Reader, SliceReader};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls_pki_types::pem::{PemObject, SectionKind};

use super::SignError;
use super::cms::{SEQUENCE, oid, tlv};

/// What firmware takes; it is also the least that is safe.
const LEAST_BITS: usize = 2048;
/// What can be verified here.
const MOST_BITS: usize = 8192;
/// More than any file with a certificate or a key has, in bytes.
pub(super) const MAX_FILE: usize = 1 << 20;

/// A certificate with an RSA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    file: String,
    der: Vec<u8>,
    issuer_and_serial: Vec<u8>,
    public_key: Vec<u8>,
    signature_len: usize,
    end: DateTime,
}

impl Certificate {
    /// Reads a certificate in PEM; `file` is the name under which messages and an external signer know it.
    ///
    /// # Errors
    /// When it is none, more than one, or one that firmware does not take.
    pub fn from_pem(file: &str, text: &[u8]) -> Result<Self, SignError> {
        let refused =
            |reason: &str| SignError::Certificate { file: file.to_owned(), reason: reason.to_owned() };
        let mut found = sections(text).map_err(|reason| refused(&reason))?;
        found.retain(|(kind, _)| *kind == SectionKind::Certificate);
        let der = match found.len() {
            1 => found.remove(0).1,
            0 => return Err(refused("it has no `BEGIN CERTIFICATE`")),
            _ => return Err(refused("it has several certificates: expected the one of the key alone")),
        };
        Self::parse(file, der).map_err(|reason| refused(&reason))
    }

    fn parse(file: &str, der: Vec<u8>) -> Result<Self, String> {
        let damaged = |error: der::Error| format!("it is damaged ({error})");
        let parsed = x509_cert::Certificate::from_der(&der).map_err(damaged)?;
        let body = parsed.tbs_certificate();
        let key = body.subject_public_key_info();
        if key.algorithm.oid != oid::RSA {
            let kind =
                if key.algorithm.oid == oid::ELLIPTIC { "of an elliptic curve" } else { "of another kind" };
            return Err(format!(
                "its key is {kind}: expected RSA of {LEAST_BITS} bits or more, the only kind that all \
                 firmware takes"
            ));
        }
        let public_key = key.subject_public_key.as_bytes().ok_or("its key is damaged")?.to_vec();
        let bits = modulus_bits(&public_key).map_err(damaged)?;
        if !(LEAST_BITS..=MOST_BITS).contains(&bits) {
            return Err(format!("its key has {bits} bits: expected RSA of {LEAST_BITS} to {MOST_BITS}"));
        }
        let issuer = body.issuer().to_der().map_err(damaged)?;
        let serial = body.serial_number().to_der().map_err(damaged)?;
        let (begin, end) =
            (body.validity().not_before.to_date_time(), body.validity().not_after.to_date_time());
        if end < begin {
            return Err(format!("it ends at {end}, before it begins at {begin}"));
        }
        let issuer_and_serial = tlv(SEQUENCE, &[&issuer, &serial]);
        let signature_len = bits.div_ceil(8);
        Ok(Self { file: file.to_owned(), der, issuer_and_serial, public_key, signature_len, end })
    }

    /// The name it was read under.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The certificate itself, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether `signature` of `message` is by this certificate's key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(message, signature)
            .is_ok()
    }

    /// How signatures name it: issuer and serial number, in DER.
    pub(super) fn issuer_and_serial(&self) -> &[u8] {
        &self.issuer_and_serial
    }

    /// The key, as an `RSAPublicKey` in DER.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Bytes of a signature.
    pub(super) fn signature_len(&self) -> usize {
        self.signature_len
    }

    /// Refuses a certificate that ended before `epoch`. Firmware does not ask, having no clock to trust;
    /// other verifiers do.
    pub(super) fn check_end(&self, epoch: Epoch) -> Result<(), SignError> {
        let epoch = date(epoch)?;
        if self.end < epoch {
            let (end, epoch) = (self.end.to_string(), epoch.to_string());
            return Err(SignError::Ended { file: self.file.clone(), end, epoch });
        }
        Ok(())
    }
}

/// An epoch as a date.
pub(super) fn date(epoch: Epoch) -> Result<DateTime, SignError> {
    let since_1970 = Duration::from_secs(epoch.seconds());
    DateTime::from_unix_duration(since_1970).map_err(|_| SignError::Time(epoch.seconds()))
}

/// What a file in PEM has, text around it apart.
pub(super) fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if text.len() > MAX_FILE {
        return Err(format!("it has {} bytes: expected at most {MAX_FILE}", text.len()));
    }
    if text.starts_with(&[SEQUENCE]) {
        return Err(
            "it is in DER: convert it to PEM with `openssl x509` or `openssl pkey`, `-inform der`".to_owned()
        );
    }
    let found: Result<Vec<_>, _> = PemObject::pem_slice_iter(text).collect();
    found.map_err(|error| format!("it is damaged ({error})"))
}

fn modulus_bits(public_key: &[u8]) -> der::Result<usize> {
    let mut reader = SliceReader::new(public_key)?;
    let bytes = reader.sequence(|fields| {
        let modulus = UintRef::decode(fields)?.as_bytes();
        UintRef::decode(fields)?;
        Ok::<_, der::Error>(modulus)
    })?;
    reader.finish()?;
    let leading = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
    Ok(bytes.len() * 8 - leading)
}
