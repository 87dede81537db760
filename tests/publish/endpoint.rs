//! AWS as strict as it is: the EBS direct APIs and some calls of EC2 over HTTP, with all that goes wrong there.

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::ebs;
use super::ec2;
use super::wire::{Answer, KEY, Request, SECRET};

/// What happens to a request instead of what should.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// A refusal with a status and a code.
    Refuse(u16, &'static str),
    /// The connection is reset, before anything is done.
    Reset,
    /// It is done, but the answer is lost.
    Lose,
    /// It is not done before it is let go: whoever is killed meanwhile never asked.
    HoldBefore,
    /// It is done, and the answer does not come before it is let go.
    HoldAfter,
    /// The answer comes byte by byte for a while.
    Slow,
    /// The answer breaks off in the middle.
    Cut,
}

/// Requests of an action by their number, from 0, and what happens to them.
struct Rule {
    action: &'static str,
    numbers: std::ops::Range<usize>,
    reaction: Reaction,
}

/// A request, as the tests judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub action: String,
    pub region: String,
    pub block: Option<u64>,
    pub status: u16,
}

/// Everything that the endpoint knows.
#[derive(Default)]
pub struct World {
    pub snapshots: BTreeMap<String, ebs::Snapshot>,
    pub images: BTreeMap<String, ec2::Image>,
    pub log: Vec<Entry>,
    /// How often each block of a snapshot was acknowledged.
    pub acknowledged: BTreeMap<(String, u64), usize>,
    /// How many requests find a new snapshot unknown.
    pub unknown_for: usize,
    /// How many looks find something new pending.
    pub pending_for: usize,
    /// How many blocks may be under way at the same time.
    pub most_at_once: Option<usize>,
    pub under_way: usize,
    pub peak: usize,
    rules: Vec<Rule>,
    counts: BTreeMap<String, usize>,
    holding: usize,
    let_go: bool,
    next_id: u64,
    pub directory: PathBuf,
}

impl World {
    pub fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}-{:017x}", self.next_id)
    }

    /// Requests other than those that only look.
    pub fn changes(&self) -> Vec<&Entry> {
        let looks = ["Describe", "List", "Get"];
        self.log.iter().filter(|entry| !looks.iter().any(|look| entry.action.starts_with(look))).collect()
    }

    pub fn count(&self, action: &str) -> usize {
        self.log.iter().filter(|entry| entry.action == action).count()
    }
}

/// A running endpoint.
pub struct Endpoint {
    world: Arc<(Mutex<World>, Condvar)>,
    pub url: String,
}

impl Endpoint {
    /// Starts one that keeps disks in `directory`.
    pub fn start(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let disks = directory.join("disks");
        std::fs::create_dir_all(&disks).unwrap();
        let world = World { directory: disks, ..World::default() };
        let world = Arc::new((Mutex::new(world), Condvar::new()));
        let shared = Arc::clone(&world);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = Arc::clone(&shared);
                thread::spawn(move || serve(&world, stream));
            }
        });
        Self { world, url }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.0.lock().unwrap()
    }

    /// From now on, these requests of an action, counted from now, meet a reaction.
    pub fn react(&self, action: &'static str, numbers: std::ops::Range<usize>, reaction: Reaction) {
        let mut world = self.world();
        let from = world.counts.get(action).copied().unwrap_or(0);
        let numbers = numbers.start + from..numbers.end.saturating_add(from);
        world.rules.push(Rule { action, numbers, reaction });
    }

    /// Forgets all reactions and the log.
    pub fn calm(&self) {
        let mut world = self.world();
        world.rules.clear();
        world.log.clear();
        world.let_go = true;
        self.world.1.notify_all();
    }

    /// Waits until a request is held.
    pub fn wait_for_hold(&self) {
        let deadline = Duration::from_mins(2);
        let (world, result) =
            self.world.1.wait_timeout_while(self.world(), deadline, |world| world.holding == 0).unwrap();
        drop(world);
        assert!(!result.timed_out(), "nothing was asked that is to be held");
    }

    /// A command of `bake` that takes this for AWS.
    pub fn bake(&self) -> Command {
        let mut command = crate::support::bake();
        command.env("AWS_ENDPOINT_URL", &self.url).env("AWS_ACCESS_KEY_ID", KEY);
        command.env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_EC2_METADATA_DISABLED", "true");
        // No configuration of whoever runs the tests.
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command
    }
}

fn serve(world: &(Mutex<World>, Condvar), stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    stream.set_nodelay(true).unwrap();
    while let Some(request) = Request::read(&mut reader) {
        if handle(world, &request, &mut stream).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Whether whoever asked has been killed meanwhile, so that nobody would hear the answer.
fn is_gone(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Answers one request; an error ends the connection.
fn handle(
    shared: &(Mutex<World>, Condvar),
    request: &Request,
    stream: &mut TcpStream,
) -> std::io::Result<()> {
    let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let (mutex, bell) = shared;
    if let Some(block) = request.path.strip_prefix("/plain/") {
        return plain(mutex, request, block.parse().unwrap()).write(stream);
    }
    let (region, service) = match request.signed_for() {
        Ok(signed) => signed,
        Err(why) if request.method == "POST" && request.path == "/" => {
            return refusal("ec2", 403, "SignatureDoesNotMatch", &why).write(stream);
        }
        Err(why) => return refusal("ebs", 403, "InvalidSignatureException", &why).write(stream),
    };
    let form = if service == "ec2" { String::from_utf8_lossy(&request.body) } else { "".into() };
    let form = Request::parameters(&form);
    let call = ebs::Call::of(request);
    let action = if service == "ec2" { form["Action"].clone() } else { call.action().to_owned() };
    let block = call.block();
    let mut world = mutex.lock().unwrap();
    // With the rules at hand: what is asked before `calm` meets them, and what is read afterwards is nobody's.
    if is_gone(stream) {
        return Err(lost());
    }
    let number = *world.counts.entry(action.clone()).and_modify(|count| *count += 1).or_insert(1) - 1;
    let rule = world.rules.iter().find(|rule| rule.action == action && rule.numbers.contains(&number));
    let reaction = rule.map(|rule| rule.reaction.clone());
    let entry = |status| Entry { action: action.clone(), region: region.clone(), block, status };
    let hold = |mut world: MutexGuard<'_, World>| {
        world.holding += 1;
        world.let_go = false;
        bell.notify_all();
        let mut world = bell.wait_while(world, |world| !world.let_go).unwrap();
        world.holding -= 1;
    };
    match reaction {
        Some(Reaction::Refuse(status, code)) => {
            world.log.push(entry(status));
            drop(world);
            return refusal(&service, status, code, "as the test wants it").write(stream);
        }
        Some(Reaction::Reset) => {
            world.log.push(entry(0));
            return Err(lost());
        }
        Some(Reaction::HoldBefore) => {
            world.log.push(entry(0));
            hold(world);
            return Err(lost());
        }
        _ => {}
    }
    let is_block = action == "PutSnapshotBlock";
    if is_block {
        world.under_way += 1;
        world.peak = world.peak.max(world.under_way);
        if world.most_at_once.is_some_and(|most| world.under_way > most) {
            world.under_way -= 1;
            world.log.push(entry(400));
            drop(world);
            return refusal(&service, 400, "RequestThrottledException", "slower").write(stream);
        }
    }
    let answer = if service == "ec2" {
        ec2::answer(&mut world, &region, &form)
    } else if is_block && call.is_fit(&world, request) {
        // Blocks are written without the lock, as at the same time as each other as they come.
        let file = call.file(&world);
        drop(world);
        let answer = ebs::write_block(&file, request, block.unwrap());
        world = mutex.lock().unwrap();
        call.put(&mut world, request);
        answer
    } else {
        call.answer(&mut world, &region, request)
    };
    world.log.push(entry(answer.status));
    if is_block {
        world.under_way -= 1;
    }
    match reaction {
        Some(Reaction::Lose) => return Err(lost()),
        Some(Reaction::HoldAfter) => {
            hold(world);
            return Err(lost());
        }
        Some(Reaction::Slow) => {
            drop(world);
            let mut whole = Vec::new();
            answer.write(&mut whole)?;
            for byte in whole.iter().take(40) {
                stream.write_all(&[*byte])?;
                thread::sleep(Duration::from_millis(10));
            }
            stream.write_all(&whole[40.min(whole.len())..])?;
        }
        Some(Reaction::Cut) => {
            drop(world);
            let mut whole = Vec::new();
            answer.write(&mut whole)?;
            stream.write_all(&whole[..whole.len() - answer.body.len() / 2 - 1])?;
            return Err(lost());
        }
        _ => {
            if is_block && answer.status == 201 {
                *world.acknowledged.entry((call.snapshot().into(), block.unwrap())).or_default() += 1;
            }
            drop(world);
            answer.write(stream)?;
        }
    }
    Ok(())
}

/// A block without an API around it: what the endpoint can do at most, for comparison.
fn plain(world: &Mutex<World>, request: &Request, block: u64) -> Answer {
    assert_eq!(request.header("x-digest"), request.digest.to_string());
    let file = world.lock().unwrap().directory.join("plain");
    ebs::write_block(&file, request, block)
}

/// A refusal as the service writes it.
pub fn refusal(service: &str, status: u16, code: &str, message: &str) -> Answer {
    let id = "0123-request";
    if service == "ec2" {
        let body = format!(
            "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
             </Errors><RequestID>{id}</RequestID></Response>"
        );
        return Answer { status, headers: vec![("content-type", "text/xml".into())], body: body.into() };
    }
    let headers = vec![
        ("content-type", "application/json".into()),
        ("x-amzn-errortype", code.to_owned()),
        ("x-amzn-requestid", id.to_owned()),
    ];
    Answer { status, headers, body: serde_json::json!({"Message": message}).to_string().into() }
}
