//! Both downloaders, and servers that break connections.

use std::fs;

use crate::host::{DONE, PAYLOAD, Product, ended, install, is_installed, is_untouched, runs_as, serve};
use crate::support::container::{Container, Root};
use crate::support::is_root;

/// A Debian that has only this downloader.
fn with(downloader: &str) -> Root {
    let root = Root::debian();
    if downloader == "wget" {
        fs::remove_file(root.at("usr/bin/curl")).unwrap();
        root.bring("wget");
    }
    root
}

/// How often the server was asked for a path.
fn asked(host: &Container, path: &str) -> usize {
    host.run("cat /run/web.log").lines().filter(|line| line.starts_with(&format!("/{path} "))).count()
}

#[test]
fn in_containers_connections_that_break_are_gone_on_with_by_curl_and_by_wget() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let program = product.document()["pkgpanda"].clone();
    let (path, size) = (program["path"].as_str().unwrap(), program["size"].as_u64().unwrap());
    for downloader in ["curl", "wget"] {
        let root = with(downloader);
        let host = product.boot(&root);
        assert!(!host.output("command -v curl && command -v wget").status.success());
        serve(&host, &format!("cut={}", size / 3 + 1));
        ended(&install(&host, "slave"), DONE);
        assert!(asked(&host, path) >= 3, "{downloader}: {}", host.run("cat /run/web.log"));
        is_installed(&root, &product);
        runs_as(&host, "slave");
    }
}

#[test]
fn in_a_container_wget_is_as_good_as_curl() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let path = product.bootstrap();
    let file = product.serve().join(&path);
    let root = with("wget");
    let host = product.boot(&root);
    serve(&host, "no-ranges");
    let kept = fs::read(&file).unwrap();
    for (what, bytes) in [
        ("missing", None),
        ("other", Some(vec![0; kept.len()])),
        ("longer", Some([&kept[..], b"x"].concat())),
    ] {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let last = ended(&install(&host, "-d slave"), PAYLOAD);
        assert!(last.contains(&path), "{what}: {last}");
        host.run("rm -r /opt/.dcos-install");
        is_untouched(&root);
    }
    fs::write(&file, &kept).unwrap();
    // A half from an earlier run, and a server that knows no ranges.
    host.run(&format!(
        "part=/opt/.dcos-install/{path}.part; mkdir -p ${{part%/*}} && head -c {} /srv/product/serve/{path} >$part",
        kept.len() / 2
    ));
    ended(&install(&host, "slave"), DONE);
    is_installed(&root, &product);
    runs_as(&host, "slave");
}

#[test]
fn in_a_container_a_script_that_came_in_part_leaves_no_trace() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let said = host.run(
        "cd /root; lines=$(wc -l <dcos_install.sh)
         for ((n = 1; n < lines; n++)); do head -n $n dcos_install.sh | bash -s master 2>/dev/null; done
         size=$(stat -c %s dcos_install.sh)
         for ((n = size - 40; n < size - 1; n++)); do head -c $n dcos_install.sh | bash -s master 2>/dev/null; done
         echo $lines",
    );
    // Nothing but the count: no word of the script was run.
    assert!(said.trim().parse::<u32>().unwrap() > 500, "{said}");
    is_untouched(&root);
}
