//! The messages that signatures are: `SignedData` of the Cryptographic Message Syntax in its first form (PKCS
//! #7 1.5, RFC 2315), with the contents that Authenticode defines. Written in full here, read element by
//! element.

use bake_base::Digest;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};

use super::{Certificate, SignError};

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const NULL: &[u8] = &[0x05, 0x00];
const VERSION_1: &[u8] = &[0x02, 0x01, 0x01];
/// `[0]`, with elements in it.
const CONTEXT_0: u8 = 0xa0;
/// `[2]`, with elements in it.
const CONTEXT_2: u8 = 0xa2;
/// `[0]`, with bytes in it.
const CONTEXT_0_BYTES: u8 = 0x80;
/// What stands for the name of a file, as specified.
const OBSOLETE: &str = "<<<Obsolete>>>";

/// Object identifiers.
pub(super) mod oid {
    use super::ObjectIdentifier;

    /// `rsaEncryption`
    pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    /// `sha256WithRSAEncryption`
    pub(crate) const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
    /// `id-ecPublicKey`
    pub(crate) const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    /// `id-sha256`
    pub(crate) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
    /// `id-data`
    pub(crate) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
    /// `id-signedData`
    pub(crate) const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
    /// `id-contentType`
    pub(crate) const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
    /// `id-messageDigest`
    pub(crate) const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
    /// `SPC_INDIRECT_DATA_OBJID`
    pub(crate) const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
    /// `SPC_PE_IMAGE_DATA_OBJID`
    pub(crate) const PE_IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
}

/// An element of DER: tag, length, and the parts one after the other.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut element = vec![tag];
    if len < 0x80 {
        element.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        element.push(0x80 | bytes.len() as u8);
        element.extend_from_slice(bytes);
    }
    element.extend(parts.concat());
    element
}

fn identifier(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(0x06, &[oid.as_bytes()])
}

/// An algorithm without parameters.
fn algorithm(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(SEQUENCE, &[&identifier(oid), NULL])
}

/// `SpcIndirectDataContent`: the digest of a program.
pub(super) fn indirect_data(program: Digest) -> Vec<u8> {
    let name: Vec<u8> = OBSOLETE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let file = tlv(CONTEXT_0, &[&tlv(CONTEXT_2, &[&tlv(CONTEXT_0_BYTES, &[&name])])]);
    let no_flags = tlv(0x03, &[&[0]]);
    let image = tlv(SEQUENCE, &[&identifier(oid::PE_IMAGE_DATA), &tlv(SEQUENCE, &[&no_flags, &file])]);
    let digest = tlv(SEQUENCE, &[&algorithm(oid::SHA256), &tlv(OCTETS, &[program.as_bytes()])]);
    tlv(SEQUENCE, &[&image, &digest])
}

/// The signed attributes for [`indirect_data`], one after the other in the order that DER wants. They have no
/// time: it would say when, and not what.
pub(super) fn attributes(content: &[u8]) -> Vec<u8> {
    let attribute = |oid, value: &[u8]| tlv(SEQUENCE, &[&identifier(oid), &tlv(SET, &[value])]);
    let digest = digest_of_value(content).expect("what was just written can be read");
    let digest = tlv(OCTETS, &[digest.as_bytes()]);
    let kind = attribute(oid::CONTENT_TYPE, &identifier(oid::INDIRECT_DATA));
    [kind, attribute(oid::MESSAGE_DIGEST, &digest)].concat()
}

/// What is signed of attributes: they as a set, whatever stands before them in the message (RFC 2315, 9.3).
pub(super) fn attributes_to_sign(attributes: &[u8]) -> Vec<u8> {
    tlv(SET, &[attributes])
}

/// The whole signature of a program.
pub(super) fn program_signature(
    certificate: &Certificate,
    content: &[u8],
    attributes: &[u8],
    signature: &[u8],
) -> Vec<u8> {
    let content = tlv(SEQUENCE, &[&identifier(oid::INDIRECT_DATA), &tlv(CONTEXT_0, &[content])]);
    let message = signed_data(certificate, &content, &tlv(CONTEXT_0, &[attributes]), signature);
    tlv(SEQUENCE, &[&identifier(oid::SIGNED_DATA), &tlv(CONTEXT_0, &[&message])])
}

/// The signature of data that lie elsewhere. Firmware of before 2021 wants it without the element around it
/// that says "signed data" (edk2, `VerifyTimeBasedPayload`), and without attributes.
pub(super) fn detached_signature(certificate: &Certificate, signature: &[u8]) -> Vec<u8> {
    signed_data(certificate, &tlv(SEQUENCE, &[&identifier(oid::DATA)]), &[], signature)
}

fn signed_data(certificate: &Certificate, content: &[u8], attributes: &[u8], signature: &[u8]) -> Vec<u8> {
    let sha256 = algorithm(oid::SHA256);
    let signer = tlv(
        SEQUENCE,
        &[
            VERSION_1,
            certificate.issuer_and_serial(),
            &sha256,
            attributes,
            &algorithm(oid::RSA),
            &tlv(OCTETS, &[signature]),
        ],
    );
    let certificates = tlv(CONTEXT_0, &[certificate.der()]);
    tlv(SEQUENCE, &[VERSION_1, &tlv(SET, &[&sha256]), content, &certificates, &tlv(SET, &[&signer])])
}

/// What a program's signature says.
#[derive(Debug)]
pub(super) struct ProgramSignature {
    /// The digest of the program.
    pub(super) program: Digest,
    /// By whom it is: issuer and serial number, in DER.
    pub(super) signer: Vec<u8>,
    /// What was signed.
    pub(super) to_sign: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl ProgramSignature {
    /// Reads a signature, which zeros may follow, and checks that its parts belong together.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        let mut reader = SliceReader::new(bytes).map_err(|_| NOT_DER)?;
        let message = AnyRef::decode(&mut reader).map_err(|_| NOT_DER)?;
        if bytes[usize::try_from(reader.position()).unwrap_or(usize::MAX)..].iter().any(|byte| *byte != 0) {
            return damaged("something follows it");
        }
        let [kind, message] = elements(message)?[..] else { return damaged("it is no message") };
        expect_identifier(kind, oid::SIGNED_DATA, "it is no signed data")?;
        let message = elements(only(message)?)?;
        // Version, algorithms, content, then certificates and revocations as may be, and signers.
        let ([_, _, content, ..], [.., signers]) = (&message[..], &message[..]) else {
            return damaged("it lacks a part");
        };
        let [kind, content] = elements(*content)?[..] else { return damaged("it has no content") };
        expect_identifier(kind, oid::INDIRECT_DATA, "its content is no program's digest")?;
        let content = only(content)?;
        let signed = Signed::parse(only(*signers)?)?;
        if signed.content != Digest::of(content.value()) {
            return damaged("its content is not what was signed");
        }
        let [_, digest] = elements(content)?[..] else { return damaged("its content is no digest") };
        let program = sha256(digest)?;
        Ok(Self { program, signer: signed.signer, to_sign: signed.to_sign, signature: signed.signature })
    }
}

/// What a `SignerInfo` says.
struct Signed {
    content: Digest,
    signer: Vec<u8>,
    to_sign: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn parse(info: AnyRef<'_>) -> Result<Self, SignError> {
        let fields = elements(info)?;
        let [_, signer, hash, attributes, cipher, signature, ..] = fields[..] else {
            return damaged("it has no signed attributes");
        };
        expect_algorithm(hash, &[oid::SHA256])?;
        expect_algorithm(cipher, &[oid::RSA, oid::RSA_SHA256])?;
        let is_first = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
        if attributes.tag() != is_first || signature.tag() != Tag::OctetString {
            return damaged("its signer's fields are not as expected");
        }
        let mut content = None;
        let mut kind = None;
        for attribute in elements(attributes)? {
            let [name, values] = elements(attribute)?[..] else {
                return damaged("an attribute has no value");
            };
            let name = name.decode_as::<ObjectIdentifier>().map_err(|_| NOT_DER)?;
            let slot = match name {
                oid::CONTENT_TYPE => &mut kind,
                oid::MESSAGE_DIGEST => &mut content,
                _ => continue,
            };
            if slot.replace(only(values)?).is_some() {
                return damaged("it has an attribute twice");
            }
        }
        let (Some(kind), Some(content)) = (kind, content) else { return damaged("it lacks an attribute") };
        expect_identifier(kind, oid::INDIRECT_DATA, "its attributes are for another content")?;
        Ok(Self {
            content: digest(content)?,
            signer: signer.to_der().map_err(|_| NOT_DER)?,
            to_sign: attributes_to_sign(attributes.value()),
            signature: signature.value().to_vec(),
        })
    }
}

const NOT_DER: SignError = SignError::Damaged("it is no DER");

fn damaged<T>(reason: &'static str) -> Result<T, SignError> {
    Err(SignError::Damaged(reason))
}

/// The elements in an element.
fn elements(outer: AnyRef<'_>) -> Result<Vec<AnyRef<'_>>, SignError> {
    let mut reader = SliceReader::new(outer.value()).map_err(|_| NOT_DER)?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        found.push(AnyRef::decode(&mut reader).map_err(|_| NOT_DER)?);
    }
    Ok(found)
}

/// The only element in an element.
fn only(outer: AnyRef<'_>) -> Result<AnyRef<'_>, SignError> {
    match elements(outer)?[..] {
        [inner] => Ok(inner),
        _ => damaged("it has none or several of what there should be one of"),
    }
}

fn expect_identifier(
    element: AnyRef<'_>,
    expected: ObjectIdentifier,
    otherwise: &'static str,
) -> Result<(), SignError> {
    match element.decode_as::<ObjectIdentifier>() {
        Ok(found) if found == expected => Ok(()),
        _ => damaged(otherwise),
    }
}

fn expect_algorithm(element: AnyRef<'_>, expected: &[ObjectIdentifier]) -> Result<(), SignError> {
    let found = elements(element)?.first().and_then(|name| name.decode_as::<ObjectIdentifier>().ok());
    match found {
        Some(found) if expected.contains(&found) => Ok(()),
        _ => damaged("it was not made with RSA and SHA-256"),
    }
}

/// A `DigestInfo` of SHA-256.
fn sha256(element: AnyRef<'_>) -> Result<Digest, SignError> {
    let [algorithm, value] = elements(element)?[..] else { return damaged("its content is no digest") };
    expect_algorithm(algorithm, &[oid::SHA256])?;
    digest(value)
}

fn digest(element: AnyRef<'_>) -> Result<Digest, SignError> {
    match <[u8; 32]>::try_from(element.value()) {
        Ok(bytes) if element.tag() == Tag::OctetString => Ok(Digest::from_bytes(bytes)),
        _ => damaged("a digest is none of SHA-256"),
    }
}

/// The digest of an element without its tag and length, which is what the attributes have of the content.
fn digest_of_value(element: &[u8]) -> der::Result<Digest> {
    Ok(Digest::of(AnyRef::from_der(element)?.value()))
}
