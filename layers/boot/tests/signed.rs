//! Signatures, judged by tools that know nothing of this crate: `sbsign` and `sbverify`, `osslsigncode`,
//! `openssl`, efitools.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

mod signing;
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bake_base::{Digest, Uuid};
use bake_boot::Architecture;
use bake_boot::kernel::Kernel;
use bake_boot::sign::{
    self, Certificate, Existing, External, Key, SignError, Signer, Variable, authenticated, signature_list,
};
use bake_tree::Content;
use signing::{EPOCH, bytes, certificate, key, key_file, loader, run, succeeds, unified, write};
use support::real;

fn signed(program: &Content, signer: &dyn Signer) -> Content {
    sign::sign(program, signer, Existing::Refuse, EPOCH).unwrap()
}

/// What is between a title and the end of its line, in every line that has it.
fn values<'a>(text: &'a str, title: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(title));
    lines.map(|rest| rest.trim_start_matches([' ', ':']).trim()).collect()
}

/// Everybody agrees that the file `name` is signed with the certificate and says which digest it has.
fn assert_judged(name: &str, certificate: &str, digest: Digest, directory: &Path) {
    let file = key_file(&format!("{certificate}.pem"));
    let said = run("sbverify", &["--cert", &file, name], directory);
    assert!(said.contains("Signature verification OK"), "{said}");
    let said = run("osslsigncode", &["verify", "-CAfile", &file, "-in", name], directory);
    let digest = digest.to_string();
    for title in ["Current message digest", "Calculated message digest"] {
        let found = values(&said, title);
        assert!(!found.is_empty() && found.iter().all(|found| found.eq_ignore_ascii_case(&digest)), "{said}");
    }
}

/// The digest that `sbsign` signs of a program.
fn digest_by_sbsign(program: &Content, directory: &Path) -> Digest {
    write(program, &directory.join("program.efi"));
    let (key, pem) = (key_file("own.key"), key_file("own.pem"));
    run("sbsign", &["--key", &key, "--cert", &pem, "--output", "theirs.efi", "program.efi"], directory);
    let theirs = std::fs::read(directory.join("theirs.efi")).unwrap();
    let theirs = &theirs[program.len() as usize..];
    // The `DigestInfo` of SHA-256, right before the digest.
    let mark = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
    let at = theirs.windows(mark.len()).position(|part| part == mark).unwrap() + mark.len();
    Digest::from_bytes(theirs[at..at + 32].try_into().unwrap())
}

#[test]
fn programs_of_real_distributions_are_signed_as_others_would() {
    for (name, architecture) in
        [("debian-12-dracut.tar", Architecture::X86_64), ("debian-12-arm64.tar", Architecture::Arm64)]
    {
        let Some(tree) = real(name) else { continue };
        let scratch = tempfile::tempdir().unwrap();
        for program in [loader(&tree, architecture), unified(&tree, "console=ttyS0")] {
            let ours = signed(&program, &key("own"));
            let digest = sign::digest(&program).unwrap();
            assert_eq!(digest_by_sbsign(&program, scratch.path()), digest);
            write(&ours, &scratch.path().join("ours.efi"));
            assert_judged("ours.efi", "own", digest, scratch.path());
            let other = key_file("other.pem");
            assert!(!succeeds("sbverify", &["--cert", &other, "ours.efi"], scratch.path()));
            // Theirs are signatures here too, and the message is the same but for what they add to it.
            let theirs = Content::bytes(std::fs::read(scratch.path().join("theirs.efi")).unwrap());
            sign::verify(&theirs, &certificate("own")).unwrap();
            assert!(sign::verify(&theirs, &certificate("other")).is_err());
            // Without the signature it is the program again.
            run("sbattach", &["--remove", "ours.efi"], scratch.path());
            let stripped = std::fs::read(scratch.path().join("ours.efi")).unwrap();
            let program = bytes(&program);
            let differing = stripped.iter().zip(&program).filter(|(a, b)| a != b).count();
            assert!(stripped.len() - program.len() < 8 && differing <= 4, "{differing} bytes differ");
        }
    }
}

#[test]
fn a_checksum_is_right_where_there_was_one() {
    let Some(tree) = real("debian-12-dracut.tar") else { return };
    let scratch = tempfile::tempdir().unwrap();
    write(&signed(&loader(&tree, Architecture::X86_64), &key("own")), &scratch.path().join("ours.efi"));
    let pem = key_file("own.pem");
    let said = run("osslsigncode", &["verify", "-CAfile", &pem, "-in", "ours.efi"], scratch.path());
    // Newer releases say it once when it is right.
    let found = [values(&said, "Current PE checksum"), values(&said, "PE checksum")].concat();
    let calculated = values(&said, "Calculated PE checksum");
    assert!(!found.is_empty() && calculated.iter().all(|other| *other == found[0]), "{said}");
    assert!(!said.contains("MISMATCH"), "{said}");
}

#[test]
fn several_signatures_live_together_whoever_made_them() {
    let Some(tree) = real("debian-12-dracut.tar") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let program = loader(&tree, Architecture::X86_64);
    let digest = digest_by_sbsign(&program, scratch.path());
    let theirs = Content::bytes(std::fs::read(scratch.path().join("theirs.efi")).unwrap());
    let both = sign::sign(&theirs, &key("other"), Existing::Keep, EPOCH).unwrap();
    write(&both, &scratch.path().join("both.efi"));
    for name in ["own", "other"] {
        let pem = key_file(&format!("{name}.pem"));
        run("sbverify", &["--cert", &pem, "both.efi"], scratch.path());
        sign::verify(&both, &certificate(name)).unwrap();
    }
    assert_eq!(sign::digest(&both).unwrap(), digest);
    // And theirs after ours.
    write(&signed(&program, &key("other")), &scratch.path().join("ours.efi"));
    let (own_key, own) = (key_file("own.key"), key_file("own.pem"));
    run("sbsign", &["--key", &own_key, "--cert", &own, "--output", "both.efi", "ours.efi"], scratch.path());
    let both = Content::bytes(std::fs::read(scratch.path().join("both.efi")).unwrap());
    for name in ["own", "other"] {
        sign::verify(&both, &certificate(name)).unwrap();
    }
    // Another tool writes the table in another way.
    let arguments = ["sign", "-certs", &own, "-key", &own_key, "-in", "program.efi", "-out", "third.efi"];
    run("osslsigncode", &arguments, scratch.path());
    let third = Content::bytes(std::fs::read(scratch.path().join("third.efi")).unwrap());
    sign::verify(&third, &certificate("own")).unwrap();
}

#[test]
fn the_distribution_s_signature_stays_beside_ones_own() {
    let Some(tree) = real("debian-12.tar") else { return };
    let scratch = tempfile::tempdir().unwrap();
    // Debian signs its kernels.
    let kernel = Kernel::find(&tree, None).unwrap().content;
    write(&kernel, &scratch.path().join("kernel.efi"));
    let output =
        Command::new("osslsigncode").args(["verify", "-in", "kernel.efi"]).current_dir(&scratch).output();
    let said = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    let digest = sign::digest(&kernel).unwrap();
    let found = values(&said, "Current message digest");
    assert!(!found.is_empty() && found[0].eq_ignore_ascii_case(&digest.to_string()), "{said}");
    let error = sign::verify(&kernel, &certificate("own")).unwrap_err();
    assert!(matches!(error, SignError::ByOthers { .. }), "{error}");

    let both = sign::sign(&kernel, &key("own"), Existing::Keep, EPOCH).unwrap();
    write(&both, &scratch.path().join("both.efi"));
    let said = run("sbverify", &["--list", "both.efi"], scratch.path());
    assert!(said.contains("Debian Secure Boot") && said.contains("bake test: own"), "{said}");
    run("sbverify", &["--cert", &key_file("own.pem"), "both.efi"], scratch.path());
    sign::verify(&both, &certificate("own")).unwrap();
}

#[test]
fn a_program_that_signs_gives_the_same_bytes_as_the_key() {
    let Some(tree) = real("debian-12-dracut.tar") else { return };
    let program = loader(&tree, Architecture::X86_64);
    let expected = bytes(&signed(&program, &key("own")));
    let minute = Duration::from_mins(1);
    let external = |command: &str| External::new(command, certificate("own"), minute).unwrap();
    let by_openssl = external(&format!("openssl dgst -sha256 -sign {}", key_file("own.key")));
    assert_eq!(bytes(&signed(&program, &by_openssl)), expected);

    // One that signs digests, and takes everything from its environment.
    let scratch = tempfile::tempdir().unwrap();
    let script = scratch.path().join("sign");
    let text = "#!/bin/bash\nset -eu -o pipefail\nkey=${BAKE_SIGN_CERTIFICATE%.pem}.key\n\
                printf \"$(sed 's/../\\\\x&/g' <<<\"$BAKE_SIGN_SHA256\")\" |\n\
                openssl pkeyutl -sign -inkey \"$key\" -pkeyopt digest:sha256\n";
    std::fs::write(&script, text).unwrap();
    run("chmod", &["+x", "sign"], scratch.path());
    assert_eq!(bytes(&signed(&program, &external(script.to_str().unwrap()))), expected);

    let by_another = external(&format!("openssl dgst -sha256 -sign {}", key_file("other.key")));
    let error = sign::sign(&program, &by_another, Existing::Refuse, EPOCH).unwrap_err();
    assert!(matches!(error, SignError::NotByCertificate { .. }), "{error}");
}

#[test]
fn enrolment_data_are_those_of_efitools_byte_for_byte() {
    let scratch = tempfile::tempdir().unwrap();
    let (own_key, own) = (key_file("own.key"), key_file("own.pem"));
    let owner = Uuid::from_u128(0x1111_1111_2222_3333_4444_1234_5678_9abc);
    run("cert-to-efi-sig-list", &["-g", &owner.to_string(), &own, "own.esl"], scratch.path());
    let list = signature_list(owner, &[&certificate("own")]);
    assert_eq!(std::fs::read(scratch.path().join("own.esl")).unwrap(), list);
    for variable in [Variable::PlatformKey, Variable::KeyExchange, Variable::Database] {
        let time = ["-t", "2023-11-14 22:13:20", "-k", &own_key, "-c", &own, variable.name()];
        run("sign-efi-sig-list", &[&time[..], &["own.esl", "own.auth"]].concat(), scratch.path());
        let theirs = std::fs::read(scratch.path().join("own.auth")).unwrap();
        assert!(authenticated(variable, &list, EPOCH, &key("own")).unwrap() == theirs, "{}", variable.name());
    }
}

#[test]
fn keys_that_firmware_does_not_take_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(scratch.path().join(name)).unwrap();
    let make = |name: &str, options: &[&str]| {
        let common =
            ["req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", name, "-out", "c.pem", "-newkey"];
        run("openssl", &[&common[..], options].concat(), scratch.path());
        let key = Key::from_pem("key", &read(name), certificate("own")).unwrap_err().to_string();
        (Certificate::from_pem("c", &read("c.pem")).err().map(|error| error.to_string()), key)
    };
    let (of_certificate, of_key) = make("ec.key", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    assert!(of_certificate.unwrap().contains("its key is of an elliptic curve: expected RSA of 2048 bits"));
    assert!(of_key.contains("it is no RSA key: expected RSA of 2048, 3072 or 4096 bits"), "{of_key}");
    let (of_certificate, of_key) = make("ed.key", &["ed25519"]);
    assert!(of_certificate.unwrap().contains("its key is of another kind"));
    assert!(of_key.contains("no RSA key"), "{of_key}");
    let (of_certificate, of_key) = make("short.key", &["rsa:1024"]);
    assert!(of_certificate.unwrap().contains("its key has 1024 bits: expected RSA of 2048"));
    assert!(of_key.contains("(TooSmall): expected an RSA key of 2048"), "{of_key}");
    // Larger ones are as good.
    let (of_certificate, _) = make("long.key", &["rsa:3072"]);
    assert_eq!(of_certificate, None);
    let long = Certificate::from_pem("c", &read("c.pem")).unwrap();
    let long = Key::from_pem("long.key", &read("long.key"), long).unwrap();
    assert_eq!(long.sign(b"message").unwrap().len(), 384);
    for (options, name) in [(&["-traditional"][..], "1"), (&[][..], "8")] {
        let own = key_file("own.key");
        let common = ["rsa", "-aes128", "-passout", "pass:word", "-in", &own, "-out", name];
        run("openssl", &[&common[..], options].concat(), scratch.path());
        let error = Key::from_pem("key", &read(name), certificate("own")).unwrap_err().to_string();
        assert!(error.contains("it is encrypted: decrypt it (`openssl pkey"), "{error}");
    }
    run("openssl", &["x509", "-in", &key_file("own.pem"), "-outform", "der", "-out", "der"], scratch.path());
    let error = Certificate::from_pem("c", &read("der")).unwrap_err().to_string();
    assert!(error.contains("convert it to PEM"), "{error}");
}
