//! Every kind of damage that an audit has to find and a repair has to mend.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use super::ground::{Ground, put};

/// A kind of damage, and how the lines begin that name it.
pub struct Damage {
    pub name: &'static str,
    pub harm: fn(&Ground),
    pub expected: &'static [&'static str],
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn relink(path: &Path, target: &str) {
    fs::remove_file(path).unwrap();
    symlink(target, path).unwrap();
}

fn append(path: &Path, text: &str) {
    let content = fs::read_to_string(path).unwrap() + text;
    fs::write(path, content).unwrap();
}

/// Damage that anybody can do to an own root.
#[rustfmt::skip]
pub fn all() -> Vec<Damage> {
    let mut all = Vec::new();
    let mut add = |name, harm: fn(&Ground), expected| all.push(Damage { name, harm, expected });
    add("content", |ground| put(&ground.hello("share/same"), "THE SAME in two packages\n", 0o600),
        &["content /opt/mesosphere/packages/hello--1/share/same: expected 25 bytes with sha256 "]);
    add("longer", |ground| append(&ground.hello("share/large"), "x"),
        &["content /opt/mesosphere/packages/hello--1/share/large: expected 1600000 bytes with sha256 "]);
    add("mode", |ground| set_mode(&ground.hello("bin/hello"), 0o4755),
        &["mode /opt/mesosphere/packages/hello--1/bin/hello: expected 0755, found 4755"]);
    add("mode of a directory", |ground| set_mode(&ground.hello("share"), 0o777),
        &["mode /opt/mesosphere/packages/hello--1/share: expected 0755, found 0777"]);
    add("mode of a package", |ground| set_mode(&ground.hello(""), 0o700),
        &["mode /opt/mesosphere/packages/hello--1: expected 0755, found 0700"]);
    add("mode of the install root", |ground| set_mode(&ground.home(""), 0o777),
        &["mode /opt/mesosphere: expected 0755, found 0777"]);
    add("file into link", |ground| relink(&ground.hello("share/same"), "/etc/passwd"),
        &["type /opt/mesosphere/packages/hello--1/share/same: expected a file 0600 of 25 bytes with sha256 "]);
    add("file into directory", |ground| {
        fs::remove_file(ground.hello("bin/hello")).unwrap();
        put(&ground.hello("bin/hello/inside"), "x", 0o644);
    }, &["type /opt/mesosphere/packages/hello--1/bin/hello: expected a file 0755 of 10 bytes with sha256 ",
         "extra /opt/mesosphere/packages/hello--1/bin/hello/inside: expected nothing, found a file 0644 of 1 bytes"]);
    add("directory into file", |ground| {
        fs::remove_dir(ground.hello("share/empty")).unwrap();
        put(&ground.hello("share/empty"), "", 0o644);
    }, &["type /opt/mesosphere/packages/hello--1/share/empty: expected a directory 0755, found a file 0644"]);
    add("link", |ground| relink(&ground.hello("share/link"), "other"),
        &["link /opt/mesosphere/packages/hello--1/share/link: expected a link to same, found a link to other"]);
    add("missing file", |ground| fs::remove_file(ground.hello("share/odd \u{fc}\nname")).unwrap(),
        &["missing /opt/mesosphere/packages/hello--1/share/odd \u{fc}\\x0aname: expected a file 0644 of 3 bytes"]);
    add("missing directory", |ground| fs::remove_dir(ground.hello("share/empty")).unwrap(),
        &["missing /opt/mesosphere/packages/hello--1/share/empty: expected a directory 0755, found nothing"]);
    add("missing link", |ground| fs::remove_file(ground.hello("share/link")).unwrap(),
        &["missing /opt/mesosphere/packages/hello--1/share/link: expected a link to same, found nothing"]);
    add("extra file", |ground| put(&ground.hello("bin/more"), "x", 0o755),
        &["extra /opt/mesosphere/packages/hello--1/bin/more: expected nothing, found a file 0755 of 1 bytes"]);
    add("extra empty directory", |ground| fs::create_dir(ground.hello("share/void")).unwrap(),
        &["extra /opt/mesosphere/packages/hello--1/share/void: expected nothing, found a directory 0755"]);
    add("extra tree", |ground| put(&ground.home("packages/hello--1/x/y/z"), "x", 0o644),
        &["extra /opt/mesosphere/packages/hello--1/x:", "extra /opt/mesosphere/packages/hello--1/x/y:",
          "extra /opt/mesosphere/packages/hello--1/x/y/z:"]);
    add("extra at the top", |ground| put(&ground.home("more"), "x", 0o644),
        &["extra /opt/mesosphere/more: expected nothing"]);
    add("no package", |ground| fs::create_dir(ground.home("packages/nonsense")).unwrap(),
        &["extra /opt/mesosphere/packages/nonsense: expected nothing"]);
    add("attribute", |ground| {
        let set = |path: &Path| rustix::fs::setxattr(path, "user.odd", b"x", rustix::fs::XattrFlags::CREATE).unwrap();
        set(&ground.hello("bin/hello"));
        set(&ground.hello("share"));
    }, &["attributes /opt/mesosphere/packages/hello--1/bin/hello: expected no extended attributes, found user.odd",
         "attributes /opt/mesosphere/packages/hello--1/share: expected no extended attributes, found user.odd"]);
    add("list", |ground| append(&ground.hello("contents.json"), " "),
        &["content /opt/mesosphere/packages/hello--1/contents.json:",
          "record /opt/mesosphere/generations/1: expected packages that say what belongs there, found contents.json of hello--1 is damaged"]);
    add("list tampered with its file", |ground| {
        put(&ground.home("packages/other--2/copy"), "THE SAME in two packages\n", 0o644);
        let digest = |text: &str| bake_base::Digest::of(text.as_bytes()).to_string();
        let list = ground.home("packages/other--2/contents.json");
        let text = fs::read_to_string(&list).unwrap();
        let text = text.replace(&digest("the same in two packages\n"), &digest("THE SAME in two packages\n"));
        fs::write(list, text).unwrap();
    }, &["content /opt/mesosphere/packages/other--2/contents.json:", "record /opt/mesosphere/generations/1:"]);
    add("missing list", |ground| fs::remove_file(ground.hello("contents.json")).unwrap(),
        &["missing /opt/mesosphere/packages/hello--1/contents.json:", "record /opt/mesosphere/generations/1:"]);
    add("missing package", |ground| fs::remove_dir_all(ground.hello("")).unwrap(),
        &["missing /opt/mesosphere/packages/hello--1:", "missing /opt/mesosphere/packages/hello--1/contents.json:",
          "record /opt/mesosphere/generations/1: expected packages that say what belongs there, found hello--1 is missing"]);
    add("package info", |ground| put(&ground.home("packages/other--2/pkginfo.json"), "{}", 0o644),
        &["content /opt/mesosphere/packages/other--2/pkginfo.json:", "record /opt/mesosphere/generations/1:"]);
    add("link of the generation", |ground| relink(&ground.home("generations/1/bin/hello"), "/bin/sh"),
        &["link /opt/mesosphere/generations/1/bin/hello: expected a link to /opt/mesosphere/packages/hello--1/bin/hello, found a link to /bin/sh"]);
    add("link of a role", |ground| fs::remove_file(ground.home("generations/1/etc/hello")).unwrap(),
        &["missing /opt/mesosphere/generations/1/etc/hello:"]);
    add("unit", |ground| fs::remove_file(ground.home("generations/1/dcos.target.wants/hello.service")).unwrap(),
        &["missing /opt/mesosphere/generations/1/dcos.target.wants/hello.service:"]);
    add("environment", |ground| append(&ground.home("generations/1/environment"), "LD_PRELOAD=/tmp/x\n"),
        &["content /opt/mesosphere/generations/1/environment:"]);
    add("extra in the generation", |ground| put(&ground.home("generations/1/bin/more"), "x", 0o755),
        &["extra /opt/mesosphere/generations/1/bin/more: expected nothing"]);
    add("missing directory of the generation",
        |ground| fs::remove_dir(ground.home("generations/1/include")).unwrap(),
        &["missing /opt/mesosphere/generations/1/include: expected a directory 0755"]);
    add("record", |ground| append(&ground.home("generations/1/generation.json"), "\n"),
        &["content /opt/mesosphere/generations/1/generation.json:"]);
    add("document of the product", |ground| append(&ground.home("generations/1/product.json"), "\n"),
        &["record /opt/mesosphere/generations/1/product.json: expected bytes with sha256 "]);
    add("document of the product that says nothing",
        |ground| put(&ground.home("generations/1/product.json"), "", 0o644),
        &["record /opt/mesosphere/generations/1/product.json:"]);
    add("missing document of the product",
        |ground| fs::remove_file(ground.home("generations/1/product.json")).unwrap(),
        &["record /opt/mesosphere/generations/1/product.json: expected a file 0644 of bytes with sha256 "]);
    add("document of the product into directory", |ground| {
        fs::remove_file(ground.home("generations/1/product.json")).unwrap();
        fs::create_dir(ground.home("generations/1/product.json")).unwrap();
    }, &["record /opt/mesosphere/generations/1/product.json:"]);
    add("no current", |ground| fs::remove_file(ground.home("current")).unwrap(),
        &["record /opt/mesosphere/current: expected a link to generations/1, found nothing"]);
    add("current to nothing", |ground| relink(&ground.home("current"), "generations/9"),
        &["record /opt/mesosphere/current: expected a link to generations/1, found a link to generations/9"]);
    add("current to elsewhere", |ground| relink(&ground.home("current"), "/etc"),
        &["record /opt/mesosphere/current: expected a link to generations/1, found a link to /etc"]);
    add("current into directory", |ground| {
        fs::remove_file(ground.home("current")).unwrap();
        put(&ground.home("current/bin"), "x", 0o644);
    }, &["record /opt/mesosphere/current: expected a link to generations/1, found a directory 0755",
         "extra /opt/mesosphere/current/bin: expected nothing"]);
    add("link at the top", |ground| relink(&ground.home("bin"), "generations/1/bin"),
        &["link /opt/mesosphere/bin: expected a link to current/bin, found a link to generations/1/bin"]);
    add("leftovers", |ground| {
        put(&ground.home("generations/.2.unfinished/x"), "x", 0o644);
        put(&ground.hello("bin/.pkgpanda.unfinished"), "x", 0o644);
    }, &["leftover /opt/mesosphere/generations/.2.unfinished: expected nothing",
         "leftover /opt/mesosphere/packages/hello--1/bin/.pkgpanda.unfinished: expected nothing"]);
    add("product file", |ground| put(&ground.root().join("etc/hidden"), "seen\n", 0o644),
        &["content /etc/hidden: expected 7 bytes", "mode /etc/hidden: expected 0600, found 0644"]);
    add("missing unit", |ground| fs::remove_file(ground.root().join("etc/systemd/system/dcos.target")).unwrap(),
        &["missing /etc/systemd/system/dcos.target: expected a file 0644"]);
    add("disabled", |ground| {
        let link = "etc/systemd/system/multi-user.target.wants/dcos-setup.service";
        fs::remove_file(ground.root().join(link)).unwrap();
    }, &["missing /etc/systemd/system/multi-user.target.wants/dcos-setup.service: expected a link"]);
    add("another role", |ground| put(&ground.root().join("etc/mesosphere/roles/slave"), "", 0o644),
        &["extra /etc/mesosphere/roles/slave: expected nothing, found a role"]);
    add("missing role", |ground| fs::remove_file(ground.root().join("etc/mesosphere/roles/master")).unwrap(),
        &["missing /etc/mesosphere/roles/master: expected a role of the current generation"]);
    add("roles into file", |ground| {
        fs::remove_dir_all(ground.root().join("etc/mesosphere/roles")).unwrap();
        put(&ground.root().join("etc/mesosphere/roles"), "x", 0o644);
    }, &["type /etc/mesosphere/roles: expected a directory 0755, found a file 0644"]);
    add("roles into link", |ground| {
        fs::rename(ground.root().join("etc/mesosphere/roles"), ground.at("roles")).unwrap();
        symlink("/srv/roles", ground.root().join("etc/mesosphere/roles")).unwrap();
        fs::remove_dir_all(ground.at("roles")).unwrap();
    }, &["type /etc/mesosphere/roles: expected a directory 0755, found a link to /srv/roles"]);
    add("directory above roles into file", |ground| {
        fs::remove_dir_all(ground.root().join("etc/mesosphere")).unwrap();
        put(&ground.root().join("etc/mesosphere"), "x", 0o644);
    }, &["type /etc/mesosphere: expected a directory 0755, found a file 0644",
         "unreadable /etc/mesosphere/setup-flags/repository-url: expected a file 0644 of 15 bytes"]);
    add("open secret", |ground| set_mode(&ground.root().join("etc/secret"), 0o644),
        &["mode /etc/secret: expected 0600, found 0644"]);
    all
}

/// Damage that takes root.
#[rustfmt::skip]
pub fn as_root() -> Vec<Damage> {
    let mut all = Vec::new();
    let mut add = |name, harm: fn(&Ground), expected| all.push(Damage { name, harm, expected });
    add("owner", |ground| chown(ground.hello("share/same"), Some(7), Some(8)).unwrap(),
        &["owner /opt/mesosphere/packages/hello--1/share/same: expected 0:0, found 7:8"]);
    add("owner of a directory", |ground| chown(ground.hello("share"), None, Some(8)).unwrap(),
        &["owner /opt/mesosphere/packages/hello--1/share: expected 0:0, found 0:8"]);
    add("owner of a link", |ground| {
        std::os::unix::fs::lchown(ground.hello("share/link"), Some(7), None).unwrap();
    }, &["owner /opt/mesosphere/packages/hello--1/share/link: expected 0:0, found 7:0"]);
    add("owner of a secret", |ground| chown(ground.root().join("etc/secret"), Some(7), None).unwrap(),
        &["owner /etc/secret: expected 0:0, found 7:0"]);
    add("device", |ground| {
        let made = Command::new("mknod").arg(ground.hello("share/null")).args(["c", "1", "3"]).status();
        assert!(made.unwrap().success());
    }, &["extra /opt/mesosphere/packages/hello--1/share/null: expected nothing, found a character device 0644"]);
    all
}
