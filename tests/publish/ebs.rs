//! The EBS direct APIs (Amazon EBS User Guide, "EBS direct APIs"), without mercy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::endpoint::{World, refusal};
use super::wire::{Answer, Request};

pub const BLOCK: usize = 524_288;
/// Blocks of a page of a listing.
const PAGE: usize = 100;

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes blocks.
    Open,
    /// Completed after so many looks.
    Working(usize),
    Completed,
    /// The service could not make it.
    Failed,
    /// Somebody has deleted it: only its token is remembered.
    Deleted,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub region: String,
    pub gib: u64,
    pub parent: Option<String>,
    pub is_encrypted: bool,
    pub key: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub token: String,
    /// The parameters that the token stands for.
    pub parameters: String,
    pub state: State,
    /// What was put, with its checksums.
    pub put: BTreeMap<u64, Digest>,
    /// Blocks that hold something, here or in the parents.
    pub held: BTreeSet<u64>,
    pub file: PathBuf,
    pub unknown_for: usize,
    pub permissions: BTreeSet<String>,
}

/// What a request asks for.
pub enum Call {
    Start,
    Put(String, u64),
    Complete(String),
    List(String),
    Get(String, u64),
    Unknown,
}

impl Call {
    pub fn of(request: &Request) -> Self {
        let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
        let number = |text: &str| text.parse().unwrap();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["snapshots"]) => Self::Start,
            ("POST", ["snapshots", "completion", id]) => Self::Complete((*id).into()),
            ("PUT", ["snapshots", id, "blocks", block]) => Self::Put((*id).into(), number(block)),
            ("GET", ["snapshots", id, "blocks"]) => Self::List((*id).into()),
            ("GET", ["snapshots", id, "blocks", block]) => Self::Get((*id).into(), number(block)),
            _ => Self::Unknown,
        }
    }

    pub fn action(&self) -> &'static str {
        match self {
            Self::Start => "StartSnapshot",
            Self::Put(..) => "PutSnapshotBlock",
            Self::Complete(_) => "CompleteSnapshot",
            Self::List(_) => "ListSnapshotBlocks",
            Self::Get(..) => "GetSnapshotBlock",
            Self::Unknown => "Unknown",
        }
    }

    pub fn block(&self) -> Option<u64> {
        match self {
            Self::Put(_, block) | Self::Get(_, block) => Some(*block),
            _ => None,
        }
    }

    pub fn snapshot(&self) -> &str {
        match self {
            Self::Put(id, _) | Self::Complete(id) | Self::List(id) | Self::Get(id, _) => id,
            _ => "",
        }
    }

    pub fn file(&self, world: &World) -> PathBuf {
        world.snapshots[self.snapshot()].file.clone()
    }

    /// Whether a block can be written.
    pub fn is_fit(&self, world: &World, request: &Request) -> bool {
        let snapshot = world.snapshots.get(self.snapshot());
        let is_open = |snapshot: &Snapshot| {
            snapshot.state == State::Open
                && snapshot.unknown_for == 0
                && self.block().unwrap() * (BLOCK as u64) < snapshot.gib << 30
        };
        let checksum = BASE64.encode(request.digest.as_bytes());
        snapshot.is_some_and(is_open)
            && request.body.len() == BLOCK
            && request.header("x-amz-data-length") == BLOCK.to_string()
            && request.header("x-amz-checksum-algorithm") == "SHA256"
            && request.header("x-amz-checksum") == checksum
    }

    pub fn put(&self, world: &mut World, request: &Request) {
        let block = self.block().unwrap();
        let snapshot = world.snapshots.get_mut(self.snapshot()).unwrap();
        snapshot.put.insert(block, request.digest);
        snapshot.held.insert(block);
    }

    pub fn answer(&self, world: &mut World, region: &str, request: &Request) -> Answer {
        let refuse = |status, code, why: &str| refusal("ebs", status, code, why);
        if let Self::Start = self {
            return start(world, region, request);
        }
        let Some(snapshot) =
            world.snapshots.get_mut(self.snapshot()).filter(|snapshot| snapshot.region == region)
        else {
            return refuse(404, "ResourceNotFoundException", "The snapshot does not exist.");
        };
        if snapshot.unknown_for > 0 || snapshot.state == State::Deleted {
            snapshot.unknown_for = snapshot.unknown_for.saturating_sub(1);
            return refuse(404, "ResourceNotFoundException", "The snapshot does not exist.");
        }
        match self {
            Self::Put(_, block) => match snapshot.state {
                State::Open if *block * (BLOCK as u64) >= snapshot.gib << 30 => {
                    refuse(400, "ValidationException", "INVALID_BLOCK: behind the volume's end")
                }
                State::Open => refuse(400, "ValidationException", "INVALID_CONTENT: length or checksum"),
                _ => refuse(409, "ConflictException", "the snapshot takes no blocks any more"),
            },
            Self::Complete(_) => complete(snapshot, world.pending_for, request),
            Self::List(_) => list(snapshot, request),
            Self::Get(_, block) => get(snapshot, *block, request),
            _ => refuse(404, "UnknownOperationException", "no such operation"),
        }
    }
}

fn json_answer(status: u16, value: &Value) -> Answer {
    let headers = vec![("content-type", "application/json".into())];
    Answer { status, headers, body: value.to_string().into() }
}

fn start(world: &mut World, region: &str, request: &Request) -> Answer {
    let refuse = |status, code, why: &str| refusal("ebs", status, code, why);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let (gib, token) = (body["VolumeSize"].as_u64().unwrap(), text("ClientToken").unwrap());
    let mut parameters = body.clone();
    parameters["Timeout"] = Value::Null;
    let parameters = parameters.to_string();
    let earlier =
        world.snapshots.iter().find(|(_, snapshot)| snapshot.token == token && snapshot.region == region);
    if let Some((id, snapshot)) = earlier {
        if snapshot.parameters != parameters {
            return refuse(409, "ConflictException", "the token stands for other parameters");
        }
        return started(id, snapshot);
    }
    if !(1..=65_536).contains(&gib) || !(10..=4320).contains(&body["Timeout"].as_u64().unwrap_or(60)) {
        return refuse(400, "ValidationException", "VolumeSize or Timeout");
    }
    let tags = body["Tags"].as_array().cloned().unwrap_or_default();
    let tags: BTreeMap<_, _> = tags
        .iter()
        .map(|tag| (tag["Key"].as_str().unwrap().to_owned(), tag["Value"].as_str().unwrap().to_owned()))
        .collect();
    let is_long = |(key, value): (&String, &String)| key.chars().count() > 128 || value.chars().count() > 256;
    if tags.len() > 50 || tags.iter().any(is_long) || tags.keys().any(|key| key.starts_with("aws:")) {
        return refuse(400, "ValidationException", "INVALID_TAG");
    }
    let is_encrypted = body["Encrypted"] == true;
    if text("KmsKeyArn").is_some_and(|key| !key.starts_with("arn:aws:kms:") || !key.contains(":key/")) {
        return refuse(400, "ValidationException", "KmsKeyArn");
    }
    let parent = text("ParentSnapshotId");
    if parent.is_some() && !body["Encrypted"].is_null() {
        return refuse(400, "ValidationException", "ParentSnapshotId and Encrypted");
    }
    let id = world.id("snap");
    let file = world.directory.join(&id);
    let mut held = BTreeSet::new();
    match parent.as_ref().map(|parent| world.snapshots.get(parent)) {
        Some(Some(parent))
            if parent.state == State::Completed && parent.region == region && parent.gib <= gib =>
        {
            crate::support::run(Command::new("cp").arg("--sparse=always").arg(&parent.file).arg(&file));
            held.clone_from(&parent.held);
        }
        Some(_) => {
            return refuse(404, "ResourceNotFoundException", "the parent does not exist, or is larger");
        }
        None => drop(File::create(&file).unwrap()),
    }
    File::options().write(true).open(&file).unwrap().set_len(gib << 30).unwrap();
    let snapshot = Snapshot {
        region: region.into(),
        gib,
        parent,
        is_encrypted,
        key: text("KmsKeyArn"),
        tags,
        token,
        parameters,
        state: State::Open,
        put: BTreeMap::new(),
        held,
        file,
        unknown_for: world.unknown_for,
        permissions: BTreeSet::new(),
    };
    let answer = started(&id, &snapshot);
    world.snapshots.insert(id, snapshot);
    answer
}

fn started(id: &str, snapshot: &Snapshot) -> Answer {
    let status = if snapshot.state == State::Completed { "completed" } else { "pending" };
    let value = json!({
        "SnapshotId": id, "OwnerId": "123456789012", "Status": status, "StartTime": 1_700_000_000,
        "VolumeSize": snapshot.gib, "BlockSize": BLOCK,
    });
    json_answer(201, &value)
}

/// Writes a block whose checksum is right.
pub fn write_block(file: &Path, request: &Request, block: u64) -> Answer {
    let file = File::options().write(true).open(file).unwrap();
    file.write_all_at(&request.body, block * BLOCK as u64).unwrap();
    let headers = vec![
        ("x-amz-checksum", request.header("x-amz-checksum").to_owned()),
        ("x-amz-checksum-algorithm", "SHA256".to_owned()),
    ];
    Answer { status: 201, headers, body: Vec::new() }
}

fn complete(snapshot: &mut Snapshot, pending_for: usize, request: &Request) -> Answer {
    let refuse = |status, code, why: &str| refusal("ebs", status, code, why);
    if snapshot.state != State::Open {
        return refuse(409, "ConflictException", "the snapshot is not pending");
    }
    if request.header("x-amz-changedblockscount") != snapshot.put.len().to_string() {
        return refuse(400, "ValidationException", "UNRELATED: the number of changed blocks is another one");
    }
    let all: Vec<u8> = snapshot.put.values().flat_map(|digest| *digest.as_bytes()).collect();
    if request.header("x-amz-checksum") != BASE64.encode(Digest::of(&all).as_bytes())
        || request.header("x-amz-checksum-aggregation-method") != "LINEAR"
        || request.header("x-amz-checksum-algorithm") != "SHA256"
    {
        return refuse(400, "ValidationException", "the checksum of all blocks is another one");
    }
    snapshot.state = if pending_for == 0 { State::Completed } else { State::Working(pending_for) };
    json_answer(202, &json!({"Status": if pending_for == 0 { "completed" } else { "pending" }}))
}

fn list(snapshot: &Snapshot, request: &Request) -> Answer {
    if snapshot.state != State::Completed {
        return refusal("ebs", 400, "ValidationException", "the snapshot is not completed");
    }
    let query = Request::parameters(&request.query);
    let most: usize = query.get("maxResults").map_or(10_000, |most| most.parse().unwrap());
    assert!((100..=10_000).contains(&most), "maxResults={most}");
    let from = query.get("pageToken").map_or(0, |token| token.strip_prefix("page").unwrap().parse().unwrap());
    let blocks: Vec<_> = snapshot.held.iter().skip(from).take(PAGE).collect();
    let listed: Vec<_> = blocks
        .iter()
        .map(|block| json!({"BlockIndex": block, "BlockToken": format!("token{block}")}))
        .collect();
    let mut value = json!({"Blocks": listed, "ExpiryTime": 1_800_000_000, "VolumeSize": snapshot.gib, "BlockSize": BLOCK});
    if from + blocks.len() < snapshot.held.len() {
        value["NextToken"] = format!("page{}", from + blocks.len()).into();
    }
    json_answer(200, &value)
}

fn get(snapshot: &Snapshot, block: u64, request: &Request) -> Answer {
    let query = Request::parameters(&request.query);
    if query.get("blockToken") != Some(&format!("token{block}")) || !snapshot.held.contains(&block) {
        return refusal("ebs", 400, "ValidationException", "INVALID_BLOCK_TOKEN");
    }
    let mut body = vec![0; BLOCK];
    File::open(&snapshot.file).unwrap().read_exact_at(&mut body, block * BLOCK as u64).unwrap();
    let headers = vec![
        ("x-amz-data-length", BLOCK.to_string()),
        ("x-amz-checksum", BASE64.encode(Digest::of(&body).as_bytes())),
        ("x-amz-checksum-algorithm", "SHA256".to_owned()),
    ];
    Answer { status: 200, headers, body }
}
