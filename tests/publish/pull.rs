//! A published disk comes onto files and devices block by block.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::{bake, is_root, output, run};
use crate::{REGION, Stage, failed, same_bytes, tiny_image};

/// A web server over a directory that does ranges, and fails when it is told to.
struct Web {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Ranges that were asked for.
    asked: Vec<String>,
    /// Answer so many requests for ranges with a failure first.
    fail: usize,
    /// After so many ranges, answer none.
    stop_after: Option<usize>,
    /// After so many ranges, send other bytes than there are.
    lie_after: Option<usize>,
}

impl Web {
    fn start(directory: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (directory, state) = (directory.clone(), Arc::clone(&shared));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while answer(&directory, &state, &mut reader, &mut &stream).is_some() {}
                });
            }
        });
        Self { url, state }
    }
}

fn answer(
    directory: &Path,
    state: &Mutex<State>,
    reader: &mut impl BufRead,
    stream: &mut impl Write,
) -> Option<()> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let Ok(file) = File::open(directory.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n").ok();
    };
    let len = file.metadata().unwrap().len();
    let range = headers.get("range").map(|range| {
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap())
    });
    let (status, (from, to)) = range.map_or((200, (0, len - 1)), |range| (206, range));
    let mut bytes = vec![0; (to - from + 1) as usize];
    file.read_exact_at(&mut bytes, from).unwrap();
    if status == 206 {
        let mut state = state.lock().unwrap();
        if state.stop_after.is_some_and(|most| state.asked.len() >= most) {
            drop(state);
            loop {
                thread::park();
            }
        }
        if state.fail > 0 {
            state.fail -= 1;
            return stream.write_all(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n").ok();
        }
        state.asked.push(format!("{from}-{to}"));
        if state.lie_after.is_some_and(|most| state.asked.len() > most) {
            bytes[0] ^= 1;
        }
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{to}/{len}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes)).ok()
}

fn pull(web: &Web, onto: &Path) -> Command {
    let mut command = bake();
    command.args(["pull", "--json", &format!("{}/manifest.json", web.url), "--onto"]).arg(onto);
    command
}

fn fetched(command: &mut Command) -> u64 {
    let done: Value = serde_json::from_str(&run(command)).unwrap();
    done["fetched"].as_u64().unwrap()
}

#[test]
fn only_blocks_that_differ_are_fetched_and_a_second_time_none() {
    let stage = Stage::new();
    let onto = stage.scratch.path().join("pulled.raw");
    let first = fetched(&mut pull(&Web::start(stage.image.directory.clone()), &onto));
    same_bytes(&onto, &stage.image.raw());
    let next = tiny_image(stage.scratch.path(), "two", b"two\n");
    let web = Web::start(next.directory.clone());
    let second = fetched(&mut pull(&web, &onto));
    same_bytes(&onto, &next.raw());
    eprintln!("{first} blocks fetched at first, {second} after a change");
    assert!(first > 30 && (1..=12).contains(&second), "{first} {second}");
    web.state.lock().unwrap().asked.clear();
    assert_eq!(fetched(&mut pull(&web, &onto)), 0);
    assert!(web.state.lock().unwrap().asked.is_empty() && !onto.with_extension("raw.part").exists());
}

#[test]
fn a_server_that_fails_for_a_while_is_asked_again() {
    let stage = Stage::new();
    let web = Web::start(stage.image.directory.clone());
    web.state.lock().unwrap().fail = 3;
    let onto = stage.scratch.path().join("pulled.raw");
    fetched(&mut pull(&web, &onto));
    same_bytes(&onto, &stage.image.raw());
}

#[test]
fn a_killed_pull_leaves_the_old_file_and_goes_on_where_it_was() {
    let stage = Stage::new();
    let web = Web::start(stage.image.directory.clone());
    let onto = stage.scratch.path().join("pulled.raw");
    fs::write(&onto, "old").unwrap();
    web.state.lock().unwrap().stop_after = Some(4);
    let mut command = pull(&web, &onto);
    let mut child = command.args(["--jobs", "1"]).stdout(Stdio::null()).spawn().unwrap();
    while web.state.lock().unwrap().asked.len() < 4 {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    thread::sleep(std::time::Duration::from_millis(200));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(&onto).unwrap(), "old");
    let before = {
        let mut state = web.state.lock().unwrap();
        state.stop_after = None;
        std::mem::take(&mut state.asked)
    };
    fetched(&mut pull(&web, &onto));
    same_bytes(&onto, &stage.image.raw());
    let state = web.state.lock().unwrap();
    let again = before[..3].iter().filter(|range| state.asked.contains(range)).count();
    assert_eq!(again, 0, "{before:?} {:?}", state.asked);
}

#[test]
fn bytes_that_are_not_the_manifests_are_refused_and_the_file_stays() {
    let stage = Stage::new();
    let web = Web::start(stage.image.directory.clone());
    let onto = stage.scratch.path().join("pulled.raw");
    let part = stage.scratch.path().join("pulled.raw.part");
    fs::write(&onto, "old").unwrap();
    // What was fetched stays, and where it is is told; nothing of nothing does.
    for (after, stays) in [(0, false), (3, true)] {
        web.state.lock().unwrap().lie_after = Some(after);
        web.state.lock().unwrap().asked.clear();
        let said = failed(&output(pull(&web, &onto).args(["--jobs", "1"])), 1);
        assert!(said.contains("are not what its manifest says"), "{said}");
        assert_eq!((said.contains(&part.display().to_string()), part.exists()), (stays, stays), "{said}");
        assert_eq!(fs::read_to_string(&onto).unwrap(), "old");
    }
    let said =
        failed(&output(bake().args(["pull", &format!("{}/nothing.json", web.url), "--onto"]).arg(&onto)), 1);
    assert!(said.contains("status 404"), "{said}");
}

#[test]
fn an_ami_is_pulled_by_its_blocks() {
    let stage = Stage::new();
    let published = stage.publish(&[]);
    let ami = format!("ami:{REGION}/{}", published["regions"][0]["image"].as_str().unwrap());
    let onto = stage.scratch.path().join("pulled.raw");
    let mut command = stage.endpoint.bake();
    command.args(["pull", &ami, "--onto"]).arg(&onto);
    assert!(failed(&output(&mut command), 2).contains("--manifest"));
    run(command.arg("--manifest").arg(stage.image.directory.join("manifest.json")));
    same_bytes(&onto, &stage.image.raw());
}

/// A loop device of a file, as long as it is used.
struct Loop(String);

impl Loop {
    fn of(file: &Path) -> Self {
        Self(
            run(Command::new("losetup").args(["--find", "--show", "--partscan"]).arg(file)).trim().to_owned(),
        )
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_becomes_the_disk_unless_it_is_in_use_or_too_small() {
    if !is_root("loop devices") {
        return;
    }
    let stage = Stage::new();
    let web = Web::start(stage.image.directory.clone());
    let file = stage.scratch.path().join("device");
    fs::write(&file, "").unwrap();
    File::options().write(true).open(&file).unwrap().set_len(1 << 20).unwrap();
    let small = Loop::of(&file);
    let said = failed(&output(&mut pull(&web, Path::new(&small.0))), 1);
    assert!(said.contains("nothing was written"), "{said}");
    drop(small);
    let size = stage.image.manifest["disk"]["size"].as_u64().unwrap();
    File::options().write(true).open(&file).unwrap().set_len(size).unwrap();
    run(Command::new("mkfs.ext4").arg("-q").arg(&file));
    let device = Loop::of(&file);
    let place = stage.scratch.path().join("mounted");
    fs::create_dir(&place).unwrap();
    run(Command::new("mount").arg(&device.0).arg(&place));
    let said = output(&mut pull(&web, Path::new(&device.0)));
    run(Command::new("umount").arg(&place));
    let said = failed(&said, 1);
    assert!(said.contains("it is mounted at") && said.contains("nothing was written"), "{said}");
    fetched(&mut pull(&web, Path::new(&device.0)));
    drop(device);
    same_bytes(&file, &stage.image.raw());
    let device = Loop::of(&file);
    assert_eq!(fetched(&mut pull(&web, Path::new(&device.0))), 0);
}
