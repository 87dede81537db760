//! Scripts that bring an image where `bake` itself does not: the exact commands of each cloud's own tool.
//!
//! They check their tool and the file first, and find what an earlier run has made.

use std::fs::File;
use std::path::Path;

use bake_base::DigestReader;
use bake_disk::container;

use crate::Error;
use crate::image::has_small_sectors;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// AWS by way of S3 and ImportSnapshot, for accounts that have no EBS direct APIs.
    VmImport,
    /// Azure: a managed disk by upload, and an image of it.
    Azure,
    /// Google Compute Engine: an image of a tarball in a bucket.
    Gce,
}

/// What a script is for.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// Name of the image there.
    pub name: &'a str,
    /// Architecture, as in `x86_64` or `arm64`.
    pub architecture: &'a str,
    /// What the firmware does, as EC2 calls it.
    pub boot_mode: &'a str,
    /// What the root volume is called on AWS.
    pub root_device: &'a str,
}

/// The script for a file.
///
/// # Errors
/// When the file cannot be read, or is in no format that this cloud takes.
pub fn script(kind: Kind, file: &Path, upload: &Upload<'_>) -> Result<String, Error> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let format = match (kind, extension) {
        (Kind::VmImport, "raw" | "img") => "RAW",
        (Kind::VmImport, "vmdk") => "VMDK",
        (Kind::VmImport | Kind::Azure, "vhd") => "VHD",
        (Kind::Gce, "gz") => "",
        _ => {
            let expected = match kind {
                Kind::VmImport => "a raw, stream-optimised VMDK or VHD image (.raw, .vmdk, .vhd)",
                Kind::Azure => "a fixed VHD (.vhd), a whole number of MiB",
                Kind::Gce => "a tarball of disk.raw (.tar.gz)",
            };
            return Err(Error::unfit(
                format_args!("`{}`", file.display()),
                format_args!("expected {expected}"),
            ));
        }
    };
    let open = File::open(file).map_err(Error::file("opening", file))?;
    if format == "RAW" {
        // The other formats refuse such disks when they are written.
        let disk = container::open(open.try_clone().map_err(Error::file("opening", file))?);
        let disk = disk.map_err(|source| Error::Image { path: file.into(), source })?;
        has_small_sectors(&*disk.disk, file)?;
    }
    let (sha256, size) = DigestReader::new(open).drain().map_err(Error::file("reading", file))?;
    let [file, name] = [file.display().to_string(), upload.name.to_owned()].map(|text| quoted(&text));
    let head = |tool: &str, arguments: &str| {
        let count = arguments.split(' ').count();
        format!(
            "#!/bin/bash\n# Usage: bash SCRIPT {arguments}\nset -euo pipefail\n\
             [ $# = {count} ] || {{ echo \"usage: $0 {arguments}\" >&2; exit 2; }}\n\
             command -v {tool} >/dev/null || {{ echo '{tool} is missing' >&2; exit 1; }}\n\
             file={file}\nname={name}\n\
             echo \"{sha256}  $file\" | sha256sum --check --quiet\n"
        )
    };
    Ok(match kind {
        Kind::VmImport => head("aws", "REGION BUCKET") + &vm_import(format, upload),
        Kind::Azure => head("az", "GROUP LOCATION") + &azure(size, upload),
        Kind::Gce => head("gcloud", "PROJECT BUCKET") + &gce(upload),
    })
}

/// VM Import/Export User Guide, "Import a disk as a snapshot".
fn vm_import(format: &str, upload: &Upload<'_>) -> String {
    let Upload { architecture, boot_mode, root_device, .. } = upload;
    let [architecture, boot_mode, root_device] =
        [architecture, boot_mode, root_device].map(|text| quoted(text));
    format!(
        r#"region=$1 bucket=$2
aws() {{ command aws --region "$region" --output text "$@"; }}
image=$(aws ec2 describe-images --owners self --filters "Name=name,Values=$name" --query 'Images[0].ImageId')
[ "$image" = None ] || {{ echo "$image"; exit; }}
key=$name.{extension}
aws s3 cp --only-show-errors "$file" "s3://$bucket/$key"
# Takes the role `vmimport`, which may read the bucket.
task=$(aws ec2 import-snapshot --description "$name" --query ImportTaskId \
    --disk-container "Format={format},UserBucket={{S3Bucket=$bucket,S3Key=$key}}")
while :; do
    read -r status snapshot message < <(aws ec2 describe-import-snapshot-tasks --import-task-ids "$task" \
        --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.[Status,SnapshotId,StatusMessage]')
    case $status in
    completed) break ;;
    active) sleep 15 ;;
    *) echo "$task: $status $message" >&2; exit 1 ;;
    esac
done
aws ec2 register-image --name "$name" --architecture {architecture} --boot-mode {boot_mode} --virtualization-type hvm \
    --ena-support --imds-support v2.0 --root-device-name {root_device} --block-device-mappings \
    "DeviceName="{root_device}",Ebs={{SnapshotId=$snapshot,VolumeType=gp3,DeleteOnTermination=true}}" --query ImageId
aws s3 rm --only-show-errors "s3://$bucket/$key"
"#,
        extension = format.to_ascii_lowercase(),
    )
}

/// Azure's documentation, "Upload a VHD to Azure with the Azure CLI".
fn azure(size: u64, upload: &Upload<'_>) -> String {
    let generation = if upload.boot_mode == "legacy-bios" { "V1" } else { "V2" };
    let architecture = if upload.architecture == "arm64" { "Arm64" } else { "x64" };
    format!(
        r#"group=$1 location=$2
command -v azcopy >/dev/null || {{ echo 'azcopy is missing' >&2; exit 1; }}
az image show --resource-group "$group" --name "$name" --query id --output tsv 2>/dev/null && exit
az disk create --resource-group "$group" --name "$name" --location "$location" --os-type Linux --sku standard_lrs \
    --hyper-v-generation {generation} --architecture {architecture} --upload-type Upload --upload-size-bytes {size} --output none
sas=$(az disk grant-access --resource-group "$group" --name "$name" --access-level Write --duration-in-seconds 86400 \
    --query accessSAS --output tsv)
azcopy copy "$file" "$sas" --blob-type PageBlob
az disk revoke-access --resource-group "$group" --name "$name" --output none
az image create --resource-group "$group" --name "$name" --location "$location" --os-type Linux \
    --hyper-v-generation {generation} --query id --output tsv \
    --source "$(az disk show --resource-group "$group" --name "$name" --query id --output tsv)"
"#
    )
}

/// Google Cloud's documentation, "Import boot disk images to Compute Engine".
fn gce(upload: &Upload<'_>) -> String {
    let features = if upload.boot_mode == "legacy-bios" { "" } else { "UEFI_COMPATIBLE," };
    let architecture = if upload.architecture == "arm64" { "ARM64" } else { "X86_64" };
    format!(
        r#"project=$1 bucket=$2
gcloud() {{ command gcloud --quiet --project "$project" "$@"; }}
# Names there have small letters, digits and hyphens.
name=$(printf %s "$name" | tr 'A-Z_.' 'a-z--' | cut -c1-63)
gcloud compute images describe "$name" --format 'value(selfLink)' 2>/dev/null && exit
gcloud storage cp "$file" "gs://$bucket/$name.tar.gz"
gcloud compute images create "$name" --source-uri "gs://$bucket/$name.tar.gz" --architecture {architecture} \
    --guest-os-features {features}VIRTIO_SCSI_MULTIQUEUE,GVNIC --format 'value(selfLink)'
gcloud storage rm "gs://$bucket/$name.tar.gz"
"#
    )
}

/// A word that the shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_is_told_what_it_takes() {
        let scratch = tempfile::tempdir().unwrap();
        let upload =
            Upload { name: "it's", architecture: "x86_64", boot_mode: "uefi", root_device: "/dev/xvda" };
        for (kind, good, bad) in [
            (Kind::VmImport, "a.raw", "a.qcow2"),
            (Kind::Azure, "a.vhd", "a.raw"),
            (Kind::Gce, "a.tar.gz", "a.raw"),
        ] {
            let [good, bad] = [good, bad].map(|name| scratch.path().join(name));
            std::fs::write(&good, "x").unwrap();
            let text = script(kind, &good, &upload).unwrap();
            assert!(text.contains(r"name='it'\''s'") && text.contains("sha256sum --check"), "{text}");
            assert!(script(kind, &bad, &upload).unwrap_err().to_string().contains("expected a"));
        }
    }
}
