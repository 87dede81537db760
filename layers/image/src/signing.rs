//! Signatures of one's own on what UEFI starts. They come last: the digest without them stays what an image is known
//! by, and whoever has no key can still make it again and compare.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bake_base::{Digest, Epoch};
use bake_boot::pe::Image;
use bake_boot::sign::{self, Certificate, Enrolment, Existing, External, Key, Signer};
use bake_tree::{Content, TreePath};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest time that an external signer may take for one signature: somebody may have to touch a token.
const PATIENCE: Duration = Duration::from_mins(2);
/// The largest certificate or key, in bytes.
const LIMIT: u64 = 1 << 20;

/// Who signs what UEFI starts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Signing {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// A program that signs in place of a key: see [`External`].
    pub signer: Option<String>,
    /// Whether machines without keys are to be given the certificate on first boot, by systemd-boot.
    #[serde(default)]
    pub enroll: bool,
}

/// A program that was signed, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// Where it lies on the EFI system partition.
    pub path: String,
    /// Its Authenticode digest, which signatures do not change.
    pub digest: Digest,
}

/// Signs every program among the files of an EFI system partition, and adds what enrols the certificate.
///
/// # Errors
/// When there is no usable key, or a program cannot be signed.
pub(crate) fn apply(
    signing: &Signing,
    files: &mut Vec<(TreePath, Content)>,
    epoch: Epoch,
    owner: bake_base::Uuid,
) -> Result<Vec<Signed>, Error> {
    let signer = signer(signing)?;
    let mut signed = Vec::new();
    for (path, content) in files.iter_mut() {
        if Image::parse(content).is_err() {
            continue;
        }
        let at = |source| Error::Sign { path: path.clone(), source };
        let digest = sign::digest(content).map_err(at)?;
        *content = sign::sign(content, &*signer, Existing::Keep, epoch).map_err(at)?;
        signed.push(Signed { path: path.to_string(), digest });
    }
    if signing.enroll {
        let certificate = signer.certificate();
        let enrolment = Enrolment {
            owner,
            time: epoch,
            platform: &*signer,
            exchange: &*signer,
            database: &[certificate],
        };
        files.extend(enrolment.files()?);
        let menu = files.iter_mut().find(|(path, _)| path.as_bytes() == b"loader/loader.conf");
        let (_, menu) = menu.ok_or_else(|| {
            let message = "only systemd-boot enrols keys: choose it as the loader, or leave `enroll` out";
            Error::Policy(message.to_owned())
        })?;
        let mut text = menu.read_all(LIMIT).map_err(Error::io("reading loader.conf"))?;
        text.extend_from_slice(b"secure-boot-enroll force\n");
        *menu = Content::bytes(text);
    }
    Ok(signed)
}

fn signer(signing: &Signing) -> Result<Box<dyn Signer>, Error> {
    let certificate =
        Certificate::from_pem(&signing.certificate.to_string_lossy(), &read(&signing.certificate)?)?;
    match (&signing.key, &signing.signer) {
        (Some(key), None) => Ok(Box::new(Key::from_pem(&key.to_string_lossy(), &read(key)?, certificate)?)),
        (None, Some(command)) => Ok(Box::new(External::new(command, certificate, PATIENCE)?)),
        _ => {
            let message =
                "a certificate signs nothing by itself: give its key, or a program that signs, and not both";
            Err(Error::Policy(message.to_owned()))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = || Error::io(format!("reading `{}`", path.display()));
    if std::fs::metadata(path).map_err(failed())?.len() > LIMIT {
        return Err(Error::Policy(format!("`{}` is larger than any key or certificate", path.display())));
    }
    std::fs::read(path).map_err(failed())
}
