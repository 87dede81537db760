//! What gives a machine one's own keys: lists of certificates, and the signed form in which firmware takes
//! them as its variables (UEFI 2.10, sections 8.2.2 and 32.4). systemd-boot enrols what lies in
//! `loader/keys/auto` on a machine that has no keys yet.

use bake_base::{Epoch, Uuid};
use bake_tree::{Content, TreePath};

use super::certificate::date;
use super::cms;
use super::{Certificate, SignError, Signer};

/// `EFI_CERT_X509_GUID`
const X509: Uuid = Uuid::from_u128(0xa5c0_59a1_94e4_4aa7_87b5_ab15_5c2b_f072);
/// `EFI_CERT_TYPE_PKCS7_GUID`
const PKCS7: Uuid = Uuid::from_u128(0x4aaf_d29d_68df_49ee_8aa9_347d_3756_65a7);
/// `EFI_GLOBAL_VARIABLE`
const GLOBAL: Uuid = Uuid::from_u128(0x8be4_df61_93ca_11d2_aa0d_00e0_9803_2b8c);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`
const SECURITY: Uuid = Uuid::from_u128(0xd719_b2cb_3d3a_4596_a3bc_dad0_0e67_656f);
/// Kept without power, there before and after the system starts, and taken only when signed with a time.
const ATTRIBUTES: u32 = 0x27;
/// `WIN_CERT_REVISION` and `WIN_CERT_TYPE_EFI_GUID`
const BY_GUID: [u8; 4] = [0x00, 0x02, 0xf1, 0x0e];

/// A variable that holds keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `PK`: whose the machine is. Setting it ends setup mode.
    PlatformKey,
    /// `KEK`: who may change `db`.
    KeyExchange,
    /// `db`: whose programs start.
    Database,
}

impl Variable {
    /// Its name, which is also that of the file it is enrolled from.
    pub fn name(self) -> &'static str {
        match self {
            Self::PlatformKey => "PK",
            Self::KeyExchange => "KEK",
            Self::Database => "db",
        }
    }

    fn vendor(self) -> Uuid {
        match self {
            Self::PlatformKey | Self::KeyExchange => GLOBAL,
            Self::Database => SECURITY,
        }
    }
}

/// The keys that a machine gets.
#[derive(Clone, Copy)]
pub struct Enrolment<'a> {
    /// Who put them there; says nothing to firmware.
    pub owner: Uuid,
    /// The time of the variables. Firmware takes only later ones after it.
    pub time: Epoch,
    /// The platform key.
    pub platform: &'a dyn Signer,
    /// The key exchange key; may be the same.
    pub exchange: &'a dyn Signer,
    /// Whose programs start.
    pub database: &'a [&'a Certificate],
}

impl Enrolment<'_> {
    /// The files from which systemd-boot enrols the keys, with their places on the EFI system partition.
    /// `loader.conf` must allow it: `secure-boot-enroll force`, or `if-safe` for virtual machines.
    ///
    /// # Errors
    /// When a signer fails, or the time cannot be written.
    pub fn files(&self) -> Result<Vec<(TreePath, Content)>, SignError> {
        let (platform, exchange) = (self.platform.certificate(), self.exchange.certificate());
        let variables = [
            (Variable::PlatformKey, &[platform][..], self.platform),
            (Variable::KeyExchange, &[exchange][..], self.platform),
            (Variable::Database, self.database, self.exchange),
        ];
        let mut files = Vec::new();
        for (variable, certificates, signer) in variables {
            let list = signature_list(self.owner, certificates);
            let bytes = authenticated(variable, &list, self.time, signer)?;
            let path = crate::path(&format!("loader/keys/auto/{}.auth", variable.name()));
            files.push((path, Content::bytes(bytes)));
        }
        Ok(files)
    }
}

/// `EFI_SIGNATURE_LIST`s of certificates, one for each (an `.esl` file).
pub fn signature_list(owner: Uuid, certificates: &[&Certificate]) -> Vec<u8> {
    let mut list = Vec::new();
    for certificate in certificates {
        let len = 16 + certificate.der().len() as u32;
        list.extend_from_slice(&X509.to_bytes_le());
        for field in [28 + len, 0, len] {
            list.extend_from_slice(&field.to_le_bytes());
        }
        list.extend_from_slice(&owner.to_bytes_le());
        list.extend_from_slice(certificate.der());
    }
    list
}

/// A variable's new value in the form in which firmware takes it (an `.auth` file):
/// `EFI_VARIABLE_AUTHENTICATION_2`, then the value.
///
/// # Errors
/// When the signer fails, or the time cannot be written.
pub fn authenticated(
    variable: Variable,
    value: &[u8],
    time: Epoch,
    signer: &dyn Signer,
) -> Result<Vec<u8>, SignError> {
    signer.certificate().check_end(time)?;
    let time = efi_time(time)?;
    let name: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let vendor = variable.vendor().to_bytes_le();
    let message = [&name[..], &vendor, &ATTRIBUTES.to_le_bytes(), &time, value].concat();
    let signature = super::signature(signer, &message)?;
    let signature = cms::detached_signature(signer.certificate(), &signature);
    let len = 24 + signature.len() as u32;
    Ok([&time[..], &len.to_le_bytes(), &BY_GUID, &PKCS7.to_bytes_le(), &signature, value].concat())
}

/// `EFI_TIME` in UTC; what a signature's must not have is zero.
fn efi_time(time: Epoch) -> Result<[u8; 16], SignError> {
    let date = date(time)?;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&date.year().to_le_bytes());
    bytes[2..7].copy_from_slice(&[date.month(), date.day(), date.hour(), date.minutes(), date.seconds()]);
    Ok(bytes)
}
