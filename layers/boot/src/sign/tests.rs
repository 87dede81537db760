use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bake_base::{ReadAt, Uuid};
use proptest::prelude::*;

use super::*;
use crate::kernel::tests::executable;
use crate::pe::Image;

const OWN_KEY: &[u8] = include_bytes!("keys/own.key");
const OWN: &[u8] = include_bytes!("keys/own.pem");
const OTHER_KEY: &[u8] = include_bytes!("keys/other.key");
const OTHER: &[u8] = include_bytes!("keys/other.pem");
const EPOCH: Epoch = Epoch::from_seconds(1_700_000_000);

fn certificate() -> Certificate {
    Certificate::from_pem("own.pem", OWN).unwrap()
}

fn own() -> Key {
    Key::from_pem("own.key", OWN_KEY, certificate()).unwrap()
}

fn other() -> Key {
    Key::from_pem("other.key", OTHER_KEY, Certificate::from_pem("other.pem", OTHER).unwrap()).unwrap()
}

fn program() -> Content {
    Content::bytes(executable(0x8664))
}

fn bytes(content: &Content) -> Vec<u8> {
    content.read_all(1 << 20).unwrap()
}

fn signed(program: &Content) -> Content {
    sign(program, &own(), Existing::Refuse, EPOCH).unwrap()
}

#[test]
fn only_headers_change_and_the_signature_follows() {
    let program = program();
    let signed = signed(&program);
    verify(&signed, &certificate()).unwrap();
    assert_eq!(digest(&program).unwrap(), digest(&signed).unwrap());
    let (before, after) = (bytes(&program), bytes(&signed));
    let security = Image::parse(&program).unwrap().security_at().unwrap();
    let len = after.len() - before.len();
    let entry = [before.len() as u32, len as u32].map(u32::to_le_bytes).concat();
    assert_eq!(after[security..security + 8], entry);
    assert_eq!(after[..security], before[..security]);
    assert_eq!(after[security + 8..before.len()], before[security + 8..]);
    assert_eq!(len % 8, 0);
}

#[test]
fn the_same_inputs_give_the_same_bytes_for_ever() {
    let digest_of = |content: &Content| Digest::of(&bytes(content)).to_string();
    let expected = "0ee7972eed782e4e326ebe1683d78140f86d7a7487fbe4acfd4b60abb6066049";
    assert_eq!(digest_of(&signed(&program())), expected);
    let older_form = include_bytes!("keys/own.rsa.key");
    let key = Key::from_pem("own.rsa.key", older_form, certificate()).unwrap();
    let again = sign(&program(), &key, Existing::Refuse, EPOCH).unwrap();
    assert_eq!(digest_of(&again), expected);
}

#[test]
fn the_bytes_of_the_program_are_referred_to_and_not_copied() {
    /// Counts what is read of it.
    #[derive(Debug)]
    struct Counted(Vec<u8>, AtomicUsize);
    impl ReadAt for Counted {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.1.fetch_add(buffer.len(), Ordering::Relaxed);
            buffer.copy_from_slice(&self.0[offset as usize..offset as usize + buffer.len()]);
            Ok(())
        }
    }
    let mut large = executable(0x8664);
    large.resize(3 << 20, 7);
    let source = std::sync::Arc::new(Counted(large, AtomicUsize::new(0)));
    let program = Content::whole(source.clone(), 0, source.len()).unwrap();
    let signed = signed(&program);
    let read = source.1.load(Ordering::Relaxed);
    assert!(read < (3 << 20) + 4096, "{read} bytes were read");
    let own: u64 =
        signed.extents().iter().filter(|extent| extent.len < 1 << 20).map(|extent| extent.len).sum();
    assert!(own < 4096, "{own} bytes are new");
}

#[test]
fn holes_and_odd_lengths_are_as_good_as_bytes() {
    for extra in [0, 1, 3, 8, 300_001] {
        let mut dense = executable(0x8664);
        dense.resize(dense.len() + extra, 0);
        let extents = program().extents();
        let sparse = Content::sparse(dense.len() as u64, extents).unwrap();
        let (dense, sparse) = (signed(&Content::bytes(dense)), signed(&sparse));
        assert_eq!(bytes(&dense), bytes(&sparse));
        verify(&sparse, &certificate()).unwrap();
    }
}

#[test]
fn a_checksum_stays_zero_or_right() {
    let checksum_at = Image::parse(&program()).unwrap().checksum_at();
    let expected = |mut bytes: Vec<u8>| {
        bytes[checksum_at..checksum_at + 4].fill(0);
        let len = bytes.len() as u32;
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        let words = bytes.chunks(2).map(|word| u32::from(u16::from_le_bytes([word[0], word[1]])));
        words.fold(0, |sum, word| (sum + word) % 0x10000 + (sum + word) / 0x10000) + len
    };
    let read = |bytes: &[u8]| u32::from_le_bytes(bytes[checksum_at..checksum_at + 4].try_into().unwrap());
    assert_eq!(read(&bytes(&signed(&program()))), 0);
    for extra in [0, 5, 300_001] {
        let mut with = executable(0x8664);
        with.resize(with.len() + extra, 0xab);
        with[checksum_at] = 1;
        let signed = bytes(&signed(&Content::bytes(with)));
        assert_eq!(read(&signed), expected(signed.clone()));
    }
}

#[test]
fn signatures_stay_when_asked_and_none_is_made_twice() {
    let once = signed(&program());
    let error = sign(&once, &other(), Existing::Refuse, EPOCH).unwrap_err().to_string();
    assert!(error.starts_with("it is signed already: expected an unsigned program"), "{error}");
    let twice = sign(&once, &other(), Existing::Keep, EPOCH).unwrap();
    verify(&twice, &certificate()).unwrap();
    verify(&twice, other().certificate()).unwrap();
    assert_eq!(bytes(&twice)[4608..once.len() as usize], bytes(&once)[4608..]);
    assert_eq!(digest(&twice).unwrap(), digest(&program()).unwrap());
    let thrice = sign(&twice, &own(), Existing::Keep, EPOCH).unwrap();
    assert_eq!(bytes(&thrice), bytes(&twice));
}

#[test]
fn what_is_not_as_it_was_signed_is_told_apart() {
    let message =
        |content: &Content, certificate: &Certificate| verify(content, certificate).unwrap_err().to_string();
    let own = certificate();
    assert_eq!(message(&program(), &own), "it is not signed");
    let signed = signed(&program());
    let by_others = "it is not signed with the certificate `other.pem`, but by others";
    assert_eq!(message(&signed, other().certificate()), by_others);
    let mut changed = bytes(&signed);
    changed[4100] ^= 1;
    let error = message(&Content::bytes(changed), &own);
    assert!(error.starts_with("it was changed after it was signed: its digest is "), "{error}");
    let mut changed = bytes(&signed);
    let last = changed.iter().rposition(|byte| *byte != 0).unwrap();
    changed[last] ^= 1;
    let error = message(&Content::bytes(changed), &own);
    assert!(error.contains("does not verify with it: expected a signature by its key"), "{error}");
    let mut longer = bytes(&signed);
    longer.push(0);
    assert!(message(&Content::bytes(longer), &own).contains("not the last thing in the file"));
}

#[test]
fn bytes_that_a_signature_would_not_cover_are_refused() {
    let raw_offset = 64 + 24 + 160 + 20;
    let mut gap = executable(0x8664);
    gap.resize(8192, 1);
    gap[raw_offset..raw_offset + 4].copy_from_slice(&4608_u32.to_le_bytes());
    let error = digest(&Content::bytes(gap)).unwrap_err().to_string();
    assert!(error.starts_with("its bytes 4096 to 4608 are in no section, or in two"), "{error}");
    let mut overlap = executable(0x8664);
    overlap[raw_offset..raw_offset + 4].copy_from_slice(&3584_u32.to_le_bytes());
    assert!(matches!(
        digest(&Content::bytes(overlap)).unwrap_err(),
        SignError::Uncovered { start: 3584, end: 4096 }
    ));
    let mut few = executable(0x8664);
    few[64 + 24 + 108] = 4;
    let error = digest(&Content::bytes(few)).unwrap_err().to_string();
    assert!(error.contains("no room for signatures"), "{error}");
}

#[test]
fn certificates_and_keys_of_no_use_are_refused_with_advice() {
    let refused = |text: &[u8]| Certificate::from_pem("c.pem", text).unwrap_err().to_string();
    assert!(
        refused(b"").starts_with("`c.pem` is no certificate that can sign: it has no `BEGIN CERTIFICATE`")
    );
    assert!(refused(OWN_KEY).contains("it has no `BEGIN CERTIFICATE`"));
    assert!(refused(&[OWN, OTHER].concat()).contains("several certificates"));
    assert!(refused(&[0x30, 0x82]).contains("`openssl x509`"));
    assert!(
        refused(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("it is damaged")
    );
    assert!(refused(&vec![b' '; certificate::MAX_FILE + 1]).contains("expected at most"));
    let text = [b"Certificate:\r\n    Data:\r\n", OWN].concat();
    assert_eq!(Certificate::from_pem("own.pem", &text).unwrap(), certificate());

    let refused = |text: &[u8]| Key::from_pem("k", text, certificate()).unwrap_err().to_string();
    let mismatch =
        "the key `k` does not belong to the certificate `own.pem`: expected the one it was made for";
    assert_eq!(refused(OTHER_KEY), mismatch);
    assert!(refused(OWN).contains("it has 0 private keys: expected one"));
    assert!(refused(&[OWN_KEY, OTHER_KEY].concat()).contains("it has 2 private keys"));
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n",
    ] {
        assert!(refused(encrypted.as_bytes()).contains("it is encrypted: decrypt it"));
    }
}

#[test]
fn a_certificate_that_had_ended_is_refused() {
    let late = Epoch::from_seconds(6_000_000_000);
    let error = sign(&program(), &own(), Existing::Refuse, late).unwrap_err().to_string();
    assert!(error.starts_with("the certificate `own.pem` ended at 21"), "{error}");
    assert!(error.ends_with("before the epoch 2160-02-18T10:40:00Z: renew it"), "{error}");
    let never = Epoch::from_seconds(u64::MAX);
    assert!(matches!(sign(&program(), &own(), Existing::Refuse, never).unwrap_err(), SignError::Time(_)));
}

#[test]
fn a_signer_is_believed_only_when_its_signature_verifies() {
    struct Liar;
    impl Signer for Liar {
        fn certificate(&self) -> &Certificate {
            static OWN_ONCE: std::sync::OnceLock<Certificate> = std::sync::OnceLock::new();
            OWN_ONCE.get_or_init(certificate)
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            other().sign(message)
        }
    }
    let error = sign(&program(), &Liar, Existing::Refuse, EPOCH).unwrap_err();
    assert!(matches!(error, SignError::NotByCertificate { .. }), "{error}");
}

fn external(command: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let signer = External::new(command, certificate(), timeout).map_err(|error| error.to_string())?;
    signer.sign(b"message").map_err(|error| error.to_string())
}

#[test]
fn a_program_that_does_not_sign_is_told_what_was_expected() {
    let long = Duration::from_mins(1);
    let error = |command: &str| external(command, long).unwrap_err();
    assert!(error("sign 'a b'").contains("mean something to a shell"));
    assert!(error(" ").contains("is empty"));
    assert_eq!(
        error("/nowhere/sign x"),
        "the signer `/nowhere/sign` is not there: expected a path, or a program in PATH"
    );
    assert!(error("/").contains("cannot be started"));
    assert_eq!(error("false"), "the signer `false` failed (exit status: 1) and said nothing");
    let said = error("cat /nowhere/key");
    assert!(said.contains("and said `cat: /nowhere/key: No such file or directory`"), "{said}");
    let said = error("cat");
    assert!(
        said.contains("printed 7 bytes and said nothing: expected the signature alone, in 256 bytes"),
        "{said}"
    );
    let said = error("cat /dev/null");
    assert!(said.contains("printed 0 bytes"), "{said}");
    let said = external("sleep 60", Duration::from_millis(50)).unwrap_err();
    assert!(said.contains("did not end within 0 s"), "{said}");
    // More than is kept, and for ever.
    let said = external("yes", Duration::from_millis(50)).unwrap_err();
    assert!(said.contains("did not end within"), "{said}");
}

#[test]
fn enrolment_data_are_laid_out_as_specified() {
    let owner = Uuid::from_u128(0x1111_1111_2222_3333_4444_1234_5678_9abc);
    let (own, certificate) = (own(), certificate());
    let enrolment = Enrolment {
        owner,
        time: EPOCH,
        platform: &own,
        exchange: &own,
        database: &[&certificate, &certificate],
    };
    let files = enrolment.files().unwrap();
    let names: Vec<_> = files.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(
        names,
        ["/loader/keys/auto/PK.auth", "/loader/keys/auto/KEK.auth", "/loader/keys/auto/db.auth"]
    );
    let list = signature_list(owner, &[&certificate]);
    assert_eq!(list.len(), 44 + certificate.der().len());
    // The first half of a GUID is little-endian.
    assert_eq!(list[28..44], *b"\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x12\x34\x56\x78\x9a\xbc");
    let database = bytes(&files[2].1);
    assert!(database.ends_with(&[&list[..], &list].concat()));
    // 2023-11-14 22:13:20
    assert_eq!(database[..16], [0xe7, 0x07, 11, 14, 22, 13, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let len = u32::from_le_bytes(database[16..20].try_into().unwrap()) as usize;
    assert_eq!(database.len(), 16 + len + 2 * list.len());
    assert_eq!(bytes(&enrolment.files().unwrap()[2].1), database);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_programs_never_panic_and_never_verify(
        flips in prop::collection::vec((0_usize..6200, 1_u8..), 1..6),
        cut in 4096_usize..6200,
        whole in any::<bool>(),
    ) {
        static SIGNED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let signed = SIGNED.get_or_init(|| bytes(&signed(&program())));
        let mut damaged = signed.clone();
        for (at, flip) in flips {
            let at = at % signed.len();
            // Most that matters lies in the headers and behind the program.
            let at = if at < 4096 { at % 300 } else { at };
            damaged[at] ^= flip;
        }
        if !whole {
            damaged.truncate(cut);
        }
        let content = Content::bytes(damaged.clone());
        let _ = sign(&content, &own(), Existing::Keep, EPOCH);
        if verify(&content, &certificate()).is_ok() {
            // What nothing covers: the checksum, and of the message what no verifier reads.
            let checksum_at = Image::parse(&program()).unwrap().checksum_at();
            let same = |range: std::ops::Range<usize>| damaged[range.clone()] == signed[range];
            prop_assert!(same(0..checksum_at) && same(checksum_at + 4..4608));
        }
    }
}
