//! Payloads that are not what they should be are told apart from everything else, and never used.

use std::fs;
use std::path::Path;

use crate::host::{
    DONE, FAILED, PAYLOAD, Product, UNFIT, ended, install, is_installed, is_untouched, runs_as, serve,
};
use crate::support::container::Root;
use crate::support::{is_root, text};

/// Changes one byte in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn in_a_container_served_files_that_are_wrong_are_refused_until_they_are_right() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let other = Product::configured(&["--set", "cluster_name=Another"]);
    let document = product.document();
    let program = document["pkgpanda"]["path"].as_str().unwrap().to_owned();
    let packages = document["packages"].as_object().unwrap();
    let packages: Vec<_> = packages.values().map(|blob| blob["path"].as_str().unwrap().to_owned()).collect();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");

    let mut wrong = vec![product.bootstrap(), program, format!("products/{}.json", product.config_id())];
    wrong.extend(packages.iter().cloned());
    for path in &wrong {
        let file = product.serve().join(path);
        let kept = fs::read(&file).unwrap();
        let cases: [(&str, &dyn Fn()); 4] = [
            ("corrupt", &|| damage(&file)),
            ("truncated", &|| fs::write(&file, &kept[..kept.len() / 2]).unwrap()),
            ("longer", &|| fs::write(&file, [&kept[..], b"more"].concat()).unwrap()),
            ("missing", &|| fs::remove_file(&file).unwrap()),
        ];
        for (what, spoil) in cases {
            spoil();
            // What came whole and right is not fetched again.
            host.run("rm -rf /opt/.dcos-install");
            let output = install(&host, "--disable-preflight slave");
            let said = text(&output.stdout);
            let last = ended(&output, PAYLOAD);
            assert!(last.starts_with("failed: ") && last.contains(path.as_str()), "{what} {path}: {said}");
            assert!(!root.at("opt/mesosphere").exists(), "{what} {path}");
            fs::write(&file, &kept).unwrap();
        }
    }

    // Swapped: each is a good file, but not that one.
    let [one, two] = [&packages[0], &packages[1]].map(|path| product.serve().join(path));
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    fs::write(&one, &second).unwrap();
    fs::write(&two, &first).unwrap();
    host.run("rm -rf /opt/.dcos-install");
    ended(&install(&host, "-d slave"), PAYLOAD);
    fs::write(&one, &first).unwrap();
    fs::write(&two, &second).unwrap();

    // A serve directory of another configuration is found out before anything begins.
    let kept = product.serve().with_file_name("kept");
    fs::rename(product.serve().join("products"), &kept).unwrap();
    let document = fs::read_dir(other.serve().join("products")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir(product.serve().join("products")).unwrap();
    fs::copy(document, product.serve().join(format!("products/{}.json", product.config_id()))).unwrap();
    let output = install(&host, "slave");
    let said = text(&output.stdout);
    ended(&output, UNFIT);
    assert!(said.contains("FAIL  bootstrap-url"), "{said}");
    fs::remove_dir_all(product.serve().join("products")).unwrap();
    fs::rename(kept, product.serve().join("products")).unwrap();

    // What was wrong is right now: the same command goes through.
    ended(&install(&host, "slave"), DONE);
    is_installed(&root, &product);
    runs_as(&host, "slave");
    host.power_off();
}

#[test]
fn in_a_container_a_single_file_that_is_wrong_touches_nothing() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    let whole = fs::read(product.single()).unwrap();
    let mark = b"\n#EOF#\n";
    let payload = whole.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        ("its first byte", flipped(payload)),
        ("a byte in the middle", flipped(payload + (whole.len() - payload) / 2)),
        ("its last byte", flipped(whole.len() - 1)),
        ("all but the last byte", whole[..whole.len() - 1].to_vec()),
        ("half", whole[..payload + (whole.len() - payload) / 2].to_vec()),
        ("no payload", whole[..payload].to_vec()),
        ("more", [&whole[..], b"x"].concat()),
    ];
    let file = product.single().with_file_name("wrong");
    for (what, bytes) in cases {
        fs::write(&file, bytes).unwrap();
        for options in ["slave", "-d slave", "-p slave"] {
            let output = host.output(&format!("bash /srv/product/wrong {options}"));
            let last = ended(&output, PAYLOAD);
            assert!(last.contains("copy it again"), "{what}: {last}");
        }
    }
    // Through a pipe there is no file to take the payload from.
    let last = ended(&host.output("cat /srv/product/single | bash -s -- slave"), PAYLOAD);
    assert!(last.contains("save it"), "{last}");
    is_untouched(&root);
}

#[test]
fn in_a_container_downloads_go_on_where_they_broke_with_servers_of_all_kinds() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let path = product.bootstrap();
    let size = fs::metadata(product.serve().join(&path)).unwrap().len();
    let root = Root::debian();
    let host = product.boot(&root);
    // Half of it is there, from a run that was killed.
    let half = size / 2;
    let part = format!("/opt/.dcos-install/{path}.part");
    let leave_half =
        format!("mkdir -p $(dirname {part}) && head -c {half} /srv/product/serve/{path} >{part}");
    for options in ["", "no-ranges"] {
        serve(&host, options);
        host.run(&leave_half);
        host.run("mount --bind /etc /etc && mount -o remount,bind,ro /etc && rm /run/web.log");
        let last = ended(&install(&host, "-d slave"), FAILED);
        assert!(last.contains("unpack"), "{last}");
        let log = host.run("cat /run/web.log");
        assert!(log.contains(&format!("/{path} {}\n", if options.is_empty() { half } else { 0 })), "{log}");
        // All is there by now: nothing is asked for again.
        host.run("rm /run/web.log");
        ended(&install(&host, "-d slave"), FAILED);
        assert_eq!(host.run("test -e /run/web.log || echo none").trim(), "none");
        host.run("umount /etc && rm -rf /opt/.dcos-install && systemctl stop 'web-*'");
    }
    // Half of another file: found out when it is whole, and fetched once more.
    serve(&host, "");
    host.run(&format!("mkdir -p $(dirname {part}) && head -c {half} /dev/zero >{part}"));
    ended(&install(&host, "-d slave"), DONE);
    is_installed(&root, &product);
    runs_as(&host, "slave");
    host.power_off();
}
