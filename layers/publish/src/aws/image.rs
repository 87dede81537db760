//! AMIs: registered, copied, found again, and made what the options say.

use std::collections::{BTreeMap, BTreeSet};

use super::ec2::{self, Parameters, parameters};
use super::go_on;
use super::retry::{self, Limits};
use super::session::Session;
use super::snapshot::{Looks, tags};
use crate::options::TAG_DISK;
use crate::{AmiOptions, Error, FaultKind, Image};

/// Copies that may have failed with the same parameters.
const ATTEMPTS: u32 = 16;

/// What EC2 knows of an AMI.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub id: String,
    pub state: String,
    /// The snapshot of its root volume.
    pub snapshot: String,
    pub tags: BTreeMap<String, String>,
    pub deprecation: Option<String>,
    reason: String,
}

impl Known {
    /// Whether it can be launched, or will be.
    fn is_alive(&self) -> bool {
        matches!(self.state.as_str(), "available" | "pending" | "transient")
    }
}

/// One AMI, by its id.
pub(super) async fn by_id(session: &Session, id: &str, limits: Limits) -> Result<Known, Error> {
    let found = describe(session, limits, parameters([("ImageId.1", id)])).await?;
    found.into_iter().next().ok_or_else(|| {
        Error::service(id, "no such AMI in this region, or it is not shared with this account")
    })
}

/// The account's own AMI of a name: names are unique in a region.
pub(super) async fn by_name(session: &Session, name: &str) -> Result<Option<Known>, Error> {
    let filters =
        parameters([("Owner.1", "self"), ("Filter.1.Name", "name"), ("Filter.1.Value.1", &literal(name))]);
    Ok(describe(session, retry::CALL, filters).await?.into_iter().next())
}

/// A filter's value that stands for itself: `*`, `?` and `\` mean more there.
fn literal(text: &str) -> String {
    text.chars().map(|c| if "*?\\".contains(c) { format!("\\{c}") } else { c.to_string() }).collect()
}

async fn describe(session: &Session, limits: Limits, parameters: Parameters) -> Result<Vec<Known>, Error> {
    let action = "ec2:DescribeImages";
    let answer = session.ec2.call(action, limits, parameters).await?;
    answer.read(action, |root| ec2::items(root, "imagesSet").map(known).collect())
}

fn known(item: roxmltree::Node<'_, '_>) -> Option<Known> {
    let text = |name| ec2::text(item, name).map(str::to_owned);
    let root = ec2::text(item, "rootDeviceName");
    let mapped =
        |device: &roxmltree::Node<'_, '_>| root.is_none() || ec2::text(*device, "deviceName") == root;
    let snapshot = |device| ec2::text(ec2::child(device, "ebs")?, "snapshotId").map(str::to_owned);
    Some(Known {
        id: text("imageId")?,
        state: text("imageState")?,
        // An AMI whose copy is not there yet has none.
        snapshot: ec2::items(item, "blockDeviceMapping")
            .filter(mapped)
            .find_map(snapshot)
            .unwrap_or_default(),
        tags: tags(item),
        deprecation: text("deprecationTime"),
        reason: ec2::child(item, "stateReason")
            .and_then(|why| ec2::text(why, "message"))
            .unwrap_or("")
            .to_owned(),
    })
}

/// Refuses to take another disk's AMI for this one's.
pub(super) fn is_of(known: &Known, image: &Image, snapshot_tag: Option<&String>) -> Result<(), Error> {
    let tag = known.tags.get(TAG_DISK).or(snapshot_tag);
    if tag.is_some_and(|tag| *tag == image.digest.to_string()) {
        return Ok(());
    }
    let other =
        tag.map_or_else(|| "something that has no disk digest".into(), |tag| format!("the disk {tag}"));
    let problem = format!(
        "{} has this name, and is {other}: choose another --name (`{{digest}}` in it is the disk digest's beginning)",
        known.id
    );
    Err(Error::unfit("--name", problem))
}

/// Registers a snapshot.
pub(super) async fn register(
    session: &Session,
    image: &Image,
    options: &AmiOptions,
    snapshot: &str,
) -> Result<String, Error> {
    let register = &options.register;
    let mut call = parameters([
        ("Name", &options.name),
        ("Architecture", &register.architecture),
        ("VirtualizationType", "hvm"),
        ("RootDeviceName", &register.root_device),
        ("BlockDeviceMapping.1.DeviceName", &register.root_device),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
        ("BlockDeviceMapping.1.Ebs.VolumeType", &register.volume_type),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("EnaSupport", "true"),
        ("SriovNetSupport", "simple"),
        ("BootMode", register.boot_mode.name()),
    ]);
    let mut add = |name: &str, value: &str| call.push((name.into(), value.into()));
    options.description.iter().for_each(|text| add("Description", text));
    register.uefi_data.iter().for_each(|data| add("UefiData", data));
    if register.tpm {
        add("TpmSupport", "v2.0");
    }
    if register.imds_v2 {
        add("ImdsSupport", "v2.0");
    }
    call.extend(tag_specification(1, "image", &options.image_tags(&image.digest)));
    let action = "ec2:RegisterImage";
    let answer = session.ec2.call(action, retry::FRESH, call).await;
    match answer {
        Ok(answer) => answer.read(action, |root| ec2::text(root, "imageId").map(str::to_owned)),
        // An earlier attempt, whose answer was lost, has done it.
        Err(fault) if fault.code.as_deref() == Some("InvalidAMIName.Duplicate") => {
            let known = by_name(session, &options.name).await?.ok_or(Error::Fault(fault))?;
            if known.snapshot == snapshot {
                Ok(known.id)
            } else {
                is_of(&known, image, None).map(|()| known.id)
            }
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Copies an AMI from another region, or finds the copy that was begun.
pub(super) async fn copy(
    session: &Session,
    (image, options): (&Image, &AmiOptions),
    (from, id): (&str, &str),
) -> Result<String, Error> {
    for attempt in 0..ATTEMPTS {
        let token = options.token(&image.digest, Some(id), &session.region, attempt);
        let copy = begin_copy(session, (image, options), (from, id), token).await?;
        // A token that was used before gives the copy that it stood for, which may have failed or be deregistered since.
        match by_id(session, &copy, retry::FRESH).await {
            Ok(known) if known.is_alive() => return Ok(copy),
            Err(Error::Fault(fault)) if fault.kind != FaultKind::NotYet => return Err(Error::Fault(fault)),
            _ => {}
        }
    }
    Err(Error::service("ec2:CopyImage", "all copies have failed: deregister them, and run again"))
}

async fn begin_copy(
    session: &Session,
    (image, options): (&Image, &AmiOptions),
    (from, id): (&str, &str),
    token: String,
) -> Result<String, Error> {
    let mut call = parameters([("Name", &options.name), ("SourceRegion", from), ("SourceImageId", id)]);
    call.push(("ClientToken".into(), token));
    call.extend(options.description.iter().map(|text| ("Description".into(), text.clone())));
    if options.encryption.is_on {
        call.push(("Encrypted".into(), "true".into()));
        let key = options.encryption.key(&session.region);
        call.extend(key.map(|key| ("KmsKeyId".into(), key.to_owned())));
    }
    let tags = options.image_tags(&image.digest);
    call.extend(tag_specification(1, "image", &tags));
    call.extend(tag_specification(2, "snapshot", &tags));
    let action = "ec2:CopyImage";
    let answer = session.ec2.call(action, retry::FRESH, call).await?;
    answer.read(action, |root| ec2::text(root, "imageId").map(str::to_owned))
}

fn tag_specification(number: u32, kind: &str, tags: &[(String, String)]) -> Parameters {
    let prefix = format!("TagSpecification.{number}");
    let pair = |(at, (key, value)): (usize, &(String, String))| {
        [
            (format!("{prefix}.Tag.{}.Key", at + 1), key.clone()),
            (format!("{prefix}.Tag.{}.Value", at + 1), value.clone()),
        ]
    };
    let tags = tags.iter().enumerate().flat_map(pair);
    std::iter::once((format!("{prefix}.ResourceType"), kind.to_owned())).chain(tags).collect()
}

/// Waits until an AMI can be launched.
pub(super) async fn wait(session: &Session, id: &str, options: &AmiOptions) -> Result<Known, Error> {
    let mut looks = Looks::new(options.patience);
    loop {
        go_on(&options.stop)?;
        let known = by_id(session, id, retry::FRESH).await?;
        match known.state.as_str() {
            "available" => return Ok(known),
            "pending" | "transient" => looks.next(id).await?,
            state => {
                let problem = format!("it is {state}: {}; deregister it and run again", known.reason);
                return Err(Error::service(id, problem));
            }
        }
    }
}

/// Makes tags, permissions and deprecation what the options say; what is so already is left alone. Tells what it did.
pub(super) async fn settle(
    session: &Session,
    (image, options): (&Image, &AmiOptions),
    known: &Known,
) -> Result<Vec<String>, Error> {
    let mut done = Vec::new();
    let tags = options.image_tags(&image.digest);
    let missing: Vec<_> =
        tags.into_iter().filter(|(key, value)| known.tags.get(key) != Some(value)).collect();
    if !missing.is_empty() {
        let mut call = parameters([("ResourceId.1", &known.id)]);
        for (at, (key, value)) in (1..).zip(&missing) {
            call.push((format!("Tag.{at}.Key"), key.clone()));
            call.push((format!("Tag.{at}.Value"), value.clone()));
        }
        session.ec2.call("ec2:CreateTags", retry::FRESH, call).await?;
        done.push(format!("tagged {}", known.id));
    }
    done.extend(share(session, options, known).await?);
    if let Some(date) = &options.deprecate
        && known.deprecation.as_deref().is_none_or(|at| !at.starts_with(date.as_str()))
    {
        let at = format!("{date}T00:00:00Z");
        let call = parameters([("ImageId", &known.id), ("DeprecateAt", &at)]);
        session.ec2.call("ec2:EnableImageDeprecation", retry::FRESH, call).await?;
        done.push(format!("{} will be deprecated on {date}", known.id));
    }
    Ok(done)
}

/// Lets others launch the AMI, and make volumes of its snapshot, which launching from a copy takes.
async fn share(session: &Session, options: &AmiOptions, known: &Known) -> Result<Vec<String>, Error> {
    let mut done = Vec::new();
    if options.share.is_empty() {
        return Ok(done);
    }
    let of_image = permissions(
        session,
        ("ec2:DescribeImageAttribute", "launchPermission"),
        parameters([("ImageId", &known.id), ("Attribute", "launchPermission")]),
    );
    let missing = missing(&options.share, &of_image.await?);
    if !missing.is_empty() {
        let mut call = parameters([("ImageId", &known.id)]);
        call.extend(additions("LaunchPermission.Add", &missing));
        session.ec2.call("ec2:ModifyImageAttribute", retry::FRESH, call).await?;
        done.push(format!("shared {} with {}", known.id, missing.join(", ")));
    }
    // Snapshots are shared with accounts only: organisations launch through the AMI, and `all` would publish the blocks.
    let accounts: Vec<_> = options.share.iter().filter(|who| who.len() == 12).cloned().collect();
    if accounts.is_empty() || known.snapshot.is_empty() {
        return Ok(done);
    }
    let of_snapshot = permissions(
        session,
        ("ec2:DescribeSnapshotAttribute", "createVolumePermission"),
        parameters([("SnapshotId", &known.snapshot), ("Attribute", "createVolumePermission")]),
    );
    let missing = self::missing(&accounts, &of_snapshot.await?);
    if !missing.is_empty() {
        let mut call = parameters([("SnapshotId", &known.snapshot)]);
        call.extend(additions("CreateVolumePermission.Add", &missing));
        session.ec2.call("ec2:ModifySnapshotAttribute", retry::FRESH, call).await?;
        done.push(format!("shared {} with {}", known.snapshot, missing.join(", ")));
    }
    Ok(done)
}

async fn permissions(
    session: &Session,
    (action, list): (&'static str, &str),
    call: Parameters,
) -> Result<BTreeSet<String>, Error> {
    let answer = session.ec2.call(action, retry::FRESH, call).await?;
    let names = ["userId", "group", "organizationArn", "organizationalUnitArn"];
    answer.read(action, |root| {
        let who = |item| names.into_iter().find_map(|name| ec2::text(item, name)).map(str::to_owned);
        Some(ec2::items(root, list).filter_map(who).collect())
    })
}

fn missing(wanted: &[String], there: &BTreeSet<String>) -> Vec<String> {
    wanted.iter().filter(|who| !there.contains(*who)).cloned().collect()
}

fn additions(prefix: &str, who: &[String]) -> Parameters {
    let name = |who: &str| match who {
        "all" => "Group",
        arn if arn.contains(":ou/") => "OrganizationalUnitArn",
        arn if arn.starts_with("arn:") => "OrganizationArn",
        _ => "UserId",
    };
    (1..).zip(who).map(|(at, who): (u32, _)| (format!("{prefix}.{at}.{}", name(who)), who.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_filters_would_take_for_a_pattern_is_escaped() {
        assert_eq!(literal(r"a*b?c\d"), r"a\*b\?c\\d");
    }

    #[test]
    fn everybody_is_named_in_the_way_that_they_are_permitted() {
        let who = [
            "123456789012",
            "all",
            "arn:aws:organizations::1:organization/o-1",
            "arn:aws:organizations::1:ou/o-1/ou-2",
        ];
        let names: Vec<_> =
            additions("Add", &who.map(str::to_owned)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["Add.1.UserId", "Add.2.Group", "Add.3.OrganizationArn", "Add.4.OrganizationalUnitArn"]
        );
    }
}
