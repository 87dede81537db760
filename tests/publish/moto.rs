//! What others take for AWS: moto's server, which knows how answers look, but not how strict they are.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Baked, bake, made, run, scratch};
use crate::{REGION, same_bytes, tiny_image};

/// Writes a snapshot's blocks to a file with AWS's own client for Python.
const READ: &str = "
import sys, boto3
url, region, snapshot, path = sys.argv[1:]
ebs = boto3.client('ebs', endpoint_url=url, region_name=region)
with open(path, 'r+b') as file:
    for block in ebs.list_snapshot_blocks(SnapshotId=snapshot)['Blocks']:
        index = block['BlockIndex']
        answer = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=block['BlockToken'])
        file.seek(index * 524288)
        file.write(answer['BlockData'].read())
";

/// A running server.
struct Moto {
    child: Child,
    url: String,
}

impl Moto {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &free.port().to_string()]);
        command.env("PYTHONPATH", made("tools/python")).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Self { child: command.spawn().unwrap(), url: format!("http://{free}") };
        let deadline = Instant::now() + Duration::from_mins(2);
        while TcpStream::connect(free).is_err() {
            assert!(Instant::now() < deadline, "moto does not start: `ci/python-tools` brings it");
            thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    fn bake(&self) -> Command {
        let mut command = bake();
        command.env("AWS_ENDPOINT_URL", &self.url).env("AWS_ACCESS_KEY_ID", "any");
        command.env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command
    }

    fn publish(&self, image: &Baked, arguments: &[&str]) -> Value {
        let mut command = self.bake();
        command
            .args(["publish", "ami", "--json", "--region", REGION, "--image"])
            .arg(image.raw())
            .args(arguments);
        serde_json::from_str(&run(&mut command)).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn moto_takes_the_image_once_and_gives_it_back() {
    let (moto, scratch) = (Moto::start(), scratch());
    let image = tiny_image(scratch.path(), "one", b"one\n");
    let arguments = ["--tag", "team=platform"];
    let published = moto.publish(&image, &arguments);
    assert!(published["blocks-put"].as_u64().unwrap() > 30);
    let again = moto.publish(&image, &arguments);
    assert_eq!((&again["blocks-put"], &again["done"]), (&Value::from(0), &Value::Array(Vec::new())));
    assert_eq!(again["regions"], published["regions"]);
    // moto registers a snapshot of its own making, so what was uploaded is read by its id, and by others' client.
    let id = |published: &Value| {
        let done = published["done"][0].as_str().unwrap();
        done.strip_prefix(&format!("{REGION}: snapshot ")).unwrap().to_owned()
    };
    let onto = scratch.path().join("back.raw");
    let size = image.manifest["disk"]["size"].as_u64().unwrap();
    std::fs::File::create(&onto).unwrap().set_len(size).unwrap();
    let mut read = Command::new("python3");
    read.args(["-c", READ, &moto.url, REGION, &id(&published)]).arg(&onto);
    run(read
        .env("PYTHONPATH", made("tools/python"))
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any"));
    same_bytes(&onto, &image.raw());
    // A delta is told by the parent's tags; that the rest comes from the parent is nothing that moto does.
    let next = tiny_image(scratch.path(), "two", b"two\n");
    let delta = moto.publish(&next, &["--parent", &id(&published)]);
    assert!((1..=40).contains(&delta["blocks-put"].as_u64().unwrap()), "{delta}");
}

#[test]
fn what_moto_took_can_be_launched_in_every_region() {
    let (moto, scratch) = (Moto::start(), scratch());
    let image = tiny_image(scratch.path(), "one", b"one\n");
    let file = scratch.path().join("published.json");
    let published =
        moto.publish(&image, &["--published", file.to_str().unwrap(), "--root-device", "/dev/sda1"]);
    let mut templates = bake();
    templates
        .args(["publish", "templates", "--quiet", "--published"])
        .arg(&file)
        .arg("--out")
        .arg(scratch.path());
    run(&mut templates);
    let images = std::fs::read_to_string(scratch.path().join("images.tf")).unwrap();
    for expected in [REGION, published["regions"][0]["image"].as_str().unwrap(), image.digest(), "/dev/sda1"]
    {
        assert!(images.contains(&format!("\"{expected}\"")), "{expected}: {images}");
    }
}
