//! Killed at any moment, what was served before still is, and the next run finishes.

use std::fs;
use std::thread::sleep;
use std::time::Instant;

use crate::ground::{Ground, listing};

#[test]
fn a_killed_run_leaves_what_was_served_and_the_next_one_finishes() {
    let ground = Ground::new();
    let old = ground.id(&[]);
    let started = Instant::now();
    let other = Ground::new();
    let new = other.id(&["--set", "cluster_name=other"]);
    let whole = started.elapsed();
    let script = |id: &str| fs::read_to_string(ground.at("serve/dcos_install.sh")).unwrap().contains(id);
    for step in 0..20_u32 {
        let mut command = ground.command(&["--set", "cluster_name=other", "--prune"]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        sleep(whole * step / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let current = if script(&old) { &old } else { &new };
        assert!(script(current));
        // Whatever the script wants is there as it wants it.
        let product = fs::read(ground.at(&format!("serve/products/{current}.json"))).unwrap();
        let product: serde_json::Value = serde_json::from_slice(&product).unwrap();
        let blobs = product["packages"].as_object().unwrap().values();
        for blob in blobs.chain([&product["bootstrap"]["file"], &product["pkgpanda"]]) {
            let bytes = fs::read(ground.at("serve").join(blob["path"].as_str().unwrap())).unwrap();
            assert_eq!(bake_base::Digest::of(&bytes).to_string(), blob["sha256"].as_str().unwrap());
        }
        if step % 3 == 2 {
            ground.run(&["--prune"]);
            assert!(script(&old));
        }
    }
    ground.run(&["--set", "cluster_name=other", "--prune"]);
    assert_eq!(listing(&ground.at("serve")), listing(&other.at("serve")));
}
