//! The few calls of EC2, with the checks that its reference names.

use std::collections::{BTreeMap, BTreeSet};

use super::ebs::{Snapshot, State};
use super::endpoint::{World, refusal};
use super::wire::Answer;

#[derive(Clone, Debug)]
pub struct Image {
    pub region: String,
    pub name: String,
    pub snapshot: String,
    /// What it was registered with.
    pub parameters: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub permissions: BTreeSet<String>,
    pub deprecation: Option<String>,
    /// Looks until it is available.
    pub pending_for: usize,
    /// Only its token is remembered.
    pub is_deregistered: bool,
    token: String,
}

type Form = BTreeMap<String, String>;

pub fn answer(world: &mut World, region: &str, form: &Form) -> Answer {
    assert_eq!(form["Version"], "2016-11-15");
    let action = form["Action"].as_str();
    let result = match action {
        "DescribeSnapshots" => describe_snapshots(world, region, form),
        "DescribeImages" => describe_images(world, region, form),
        "RegisterImage" => register(world, region, form),
        "CopyImage" => copy(world, region, form),
        "CreateTags" => create_tags(world, region, form),
        "DescribeImageAttribute" => image(world, region, &form["ImageId"])
            .map(|image| format!("<launchPermission>{}</launchPermission>", permissions(&image.permissions))),
        "DescribeSnapshotAttribute" => snapshot(world, region, &form["SnapshotId"]).map(|snapshot| {
            format!("<createVolumePermission>{}</createVolumePermission>", permissions(&snapshot.permissions))
        }),
        "ModifyImageAttribute" => image(world, region, &form["ImageId"])
            .map(|image| image.permissions.extend(added(form, "LaunchPermission.Add.")))
            .map(|()| "<return>true</return>".into()),
        "ModifySnapshotAttribute" => snapshot(world, region, &form["SnapshotId"])
            .map(|snapshot| snapshot.permissions.extend(added(form, "CreateVolumePermission.Add.")))
            .map(|()| "<return>true</return>".into()),
        "EnableImageDeprecation" => image(world, region, &form["ImageId"])
            .map(|image| image.deprecation = Some(form["DeprecateAt"].replace("00Z", "00.000Z")))
            .map(|()| "<return>true</return>".into()),
        _ => Err((400, "InvalidAction", format!("`{action}` is not known"))),
    };
    match result {
        Ok(inner) => {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n\
                 <requestId>r</requestId>{inner}</{action}Response>"
            );
            Answer { status: 200, headers: vec![("content-type", "text/xml".into())], body: body.into() }
        }
        Err((status, code, message)) => refusal("ec2", status, code, &message),
    }
}

type Refused = (u16, &'static str, String);

fn image<'a>(world: &'a mut World, region: &str, id: &str) -> Result<&'a mut Image, Refused> {
    let found = world.images.get_mut(id).filter(|image| image.region == region && !image.is_deregistered);
    found.ok_or_else(|| (400, "InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist")))
}

fn snapshot<'a>(world: &'a mut World, region: &str, id: &str) -> Result<&'a mut Snapshot, Refused> {
    let found = world
        .snapshots
        .get_mut(id)
        .filter(|snapshot| snapshot.region == region && snapshot.state != State::Deleted);
    found.ok_or_else(|| (400, "InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist.")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn tag_set(tags: &BTreeMap<String, String>) -> String {
    let item = |(key, value): (&String, &String)| {
        format!("<item><key>{}</key><value>{}</value></item>", escape(key), escape(value))
    };
    format!("<tagSet>{}</tagSet>", tags.iter().map(item).collect::<String>())
}

fn permissions(who: &BTreeSet<String>) -> String {
    let name = |who: &str| match who {
        "all" => "group",
        arn if arn.starts_with("arn:") => "organizationArn",
        _ => "userId",
    };
    who.iter().map(|who| format!("<item><{0}>{who}</{0}></item>", name(who))).collect()
}

fn added(form: &Form, prefix: &str) -> Vec<String> {
    form.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value.clone()).collect()
}

fn tags_for(form: &Form, kind: &str) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for number in 1..3 {
        let prefix = format!("TagSpecification.{number}");
        if form.get(&format!("{prefix}.ResourceType")).is_some_and(|found| found == kind) {
            for at in 1.. {
                let field = |name: &str| form.get(&format!("{prefix}.Tag.{at}.{name}"));
                let (Some(key), Some(value)) = (field("Key"), field("Value")) else { break };
                tags.insert(key.clone(), value.clone());
            }
        }
    }
    tags
}

fn describe_snapshots(world: &mut World, region: &str, form: &Form) -> Result<String, Refused> {
    if let Some(id) = form.get("SnapshotId.1") {
        snapshot(world, region, id)?;
    }
    let mut items = String::new();
    for (id, snapshot) in &mut world.snapshots {
        let is_named = form.get("SnapshotId.1").is_none_or(|wanted| wanted == id);
        let is_tagged = form.get("Filter.1.Name").is_none_or(|name| {
            snapshot.tags.get(name.strip_prefix("tag:").unwrap()) == form.get("Filter.1.Value.1")
        });
        if snapshot.region != region || !is_named || !is_tagged || snapshot.state == State::Deleted {
            continue;
        }
        let status = match &mut snapshot.state {
            State::Completed => "completed",
            State::Failed | State::Deleted => "error",
            State::Open => "pending",
            State::Working(looks) => {
                *looks -= 1;
                if *looks == 0 {
                    snapshot.state = State::Completed;
                }
                "pending"
            }
        };
        items += &format!(
            "<item><snapshotId>{id}</snapshotId><status>{status}</status><volumeSize>{}</volumeSize>\
             <encrypted>{}</encrypted>{}</item>",
            snapshot.gib,
            snapshot.is_encrypted,
            tag_set(&snapshot.tags)
        );
    }
    Ok(format!("<snapshotSet>{items}</snapshotSet>"))
}

fn describe_images(world: &mut World, region: &str, form: &Form) -> Result<String, Refused> {
    if let Some(id) = form.get("ImageId.1") {
        image(world, region, id)?;
    }
    let mut items = String::new();
    for (id, image) in &mut world.images {
        let is_named = form.get("ImageId.1").is_none_or(|wanted| wanted == id);
        let is_filtered = form.get("Filter.1.Value.1").is_none_or(|name| *name == image.name);
        if image.region != region || !is_named || !is_filtered || image.is_deregistered {
            continue;
        }
        let state = if image.pending_for == 0 { "available" } else { "pending" };
        image.pending_for = image.pending_for.saturating_sub(1);
        let deprecation =
            image.deprecation.as_ref().map(|at| format!("<deprecationTime>{at}</deprecationTime>"));
        let device = image.parameters.get("RootDeviceName").map_or("/dev/xvda", String::as_str);
        items += &format!(
            "<item><imageId>{id}</imageId><imageState>{state}</imageState><name>{}</name>\
             <rootDeviceName>{device}</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/sdz</deviceName>\
             <ebs><snapshotId>snap-0other</snapshotId></ebs></item><item><deviceName>{device}</deviceName><ebs>\
             <snapshotId>{}</snapshotId></ebs></item></blockDeviceMapping>{}{}</item>",
            escape(&image.name),
            image.snapshot,
            deprecation.unwrap_or_default(),
            tag_set(&image.tags)
        );
    }
    Ok(format!("<imagesSet>{items}</imagesSet>"))
}

fn name_is_free(world: &World, region: &str, name: &str) -> Result<(), Refused> {
    let is_taken = |image: &Image| image.region == region && image.name == name && !image.is_deregistered;
    let taken = world.images.iter().find(|(_, image)| is_taken(image));
    let message = |id: &str| format!("AMI name {name} is already in use by AMI {id}");
    taken.map_or(Ok(()), |(id, _)| Err((400, "InvalidAMIName.Duplicate", message(id))))
}

fn register(world: &mut World, region: &str, form: &Form) -> Result<String, Refused> {
    let refuse = |why: &str| (400, "InvalidParameterCombination", why.to_owned());
    name_is_free(world, region, &form["Name"])?;
    let id = &form["BlockDeviceMapping.1.Ebs.SnapshotId"];
    let root = snapshot(world, region, id)?;
    if root.state != State::Completed {
        return Err((400, "InvalidSnapshot.NotFound", "the snapshot is not completed".into()));
    }
    let get = |name: &str| form.get(name).map_or("", String::as_str);
    if get("RootDeviceName") != get("BlockDeviceMapping.1.DeviceName") {
        return Err(refuse("no mapping of the root device"));
    }
    if !["x86_64", "arm64"].contains(&get("Architecture")) || get("VirtualizationType") != "hvm" {
        return Err(refuse("Architecture or VirtualizationType"));
    }
    if !["uefi", "legacy-bios", "uefi-preferred"].contains(&get("BootMode")) {
        return Err(refuse("BootMode"));
    }
    if get("TpmSupport") == "v2.0" && get("BootMode") != "uefi" {
        return Err(refuse("a TPM needs UEFI"));
    }
    let image = Image {
        region: region.into(),
        name: form["Name"].clone(),
        snapshot: id.clone(),
        parameters: form.clone(),
        tags: tags_for(form, "image"),
        permissions: BTreeSet::new(),
        deprecation: None,
        pending_for: world.pending_for,
        is_deregistered: false,
        token: String::new(),
    };
    let id = world.id("ami");
    world.images.insert(id.clone(), image);
    Ok(format!("<imageId>{id}</imageId>"))
}

fn copy(world: &mut World, region: &str, form: &Form) -> Result<String, Refused> {
    let token = &form["ClientToken"];
    let earlier = world.images.iter().find(|(_, image)| image.token == *token && image.region == region);
    if let Some((id, _)) = earlier {
        return Ok(format!("<imageId>{id}</imageId>"));
    }
    name_is_free(world, region, &form["Name"])?;
    let source = image(world, &form["SourceRegion"], &form["SourceImageId"])?.clone();
    if source.pending_for > 0 {
        return Err((400, "InvalidAMIID.Unavailable", "the source is pending".into()));
    }
    let mut root = snapshot(world, &source.region, &source.snapshot)?.clone();
    root.region = region.into();
    root.tags = tags_for(form, "snapshot");
    root.is_encrypted |= form.get("Encrypted").is_some_and(|is| is == "true");
    root.key = form.get("KmsKeyId").cloned().or(root.key);
    root.permissions.clear();
    let (root_id, id) = (world.id("snap"), world.id("ami"));
    world.snapshots.insert(root_id.clone(), root);
    let image = Image {
        region: region.into(),
        snapshot: root_id,
        tags: tags_for(form, "image"),
        permissions: BTreeSet::new(),
        deprecation: None,
        pending_for: world.pending_for,
        is_deregistered: false,
        token: token.clone(),
        ..source
    };
    world.images.insert(id.clone(), image);
    Ok(format!("<imageId>{id}</imageId>"))
}

fn create_tags(world: &mut World, region: &str, form: &Form) -> Result<String, Refused> {
    let image = image(world, region, &form["ResourceId.1"])?;
    for at in 1.. {
        let field = |name: &str| form.get(&format!("Tag.{at}.{name}"));
        let (Some(key), Some(value)) = (field("Key"), field("Value")) else { break };
        image.tags.insert(key.clone(), value.clone());
    }
    Ok("<return>true</return>".into())
}
