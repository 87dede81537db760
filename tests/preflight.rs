//! What hosts of a cluster need of their operating system is asked for before an image of it is written: each rule of
//! each profile, by root file systems that are whole but for what one rule is about. The rules are read from the
//! profiles, so that none is without such a case.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

#[path = "preflight/breaking.rs"]
mod breaking;
#[path = "preflight/host.rs"]
mod host;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use bake_image::{Profiles, Requirement};
use breaking::{break_rule, keep};
use host::{Base, Host};
use support::{bake, output, rootfs, text};

/// How a rule that is broken is told, at its end.
const SKIP: &str = "(or skip it: --skip ";

fn rules(profile: &str) -> Vec<Requirement> {
    Profiles::new(&BTreeMap::new()).unwrap().by_name(profile).unwrap().requirements
}

/// A product for which every rule counts.
fn product(base: &Base, rules: &[Requirement]) -> PathBuf {
    let names: BTreeSet<_> = rules.iter().filter_map(|rule| rule.for_packages.first()).cloned().collect();
    let at = base.at("product.tar");
    host::product(&names, &at);
    at
}

/// A host that keeps all rules.
fn whole(base: &Base, rules: &[Requirement]) -> Host {
    let mut host = Host::default();
    for rule in rules {
        keep(rule, base, &mut host);
    }
    host
}

/// A host that breaks all of them.
fn broken(base: &Base, rules: &[Requirement]) -> Host {
    let mut host = whole(base, rules);
    for rule in rules {
        break_rule(rule, base, &mut host);
    }
    host
}

/// The names of the rules that are told to be broken, after a look at how: nothing is written, and each comes with
/// its reason and its advice.
fn told(base: &Base, output: &Output, rules: &[Requirement]) -> Vec<String> {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(text(&output.stdout), "");
    assert!(!base.at("out").exists(), "nothing is written");
    let lines: Vec<_> = said.lines().filter(|line| line.contains(SKIP)).collect();
    let names = lines.iter().map(|line| {
        let name = line.rsplit(SKIP).next().unwrap().trim_end_matches(')');
        let rule = rules.iter().find(|rule| rule.name == name).unwrap();
        let (start, end) = (format!("{name}: "), format!(", but {}: {} {SKIP}{name})", rule.why, rule.fix));
        assert!(line.trim_start().starts_with(&start) && line.ends_with(&end), "{line}");
        name.to_owned()
    });
    names.collect()
}

fn names(rules: &[Requirement]) -> Vec<String> {
    rules.iter().map(|rule| rule.name.clone()).collect()
}

/// The whole of one profile.
fn each_rule_is_shown(base: &Base) {
    let rules = rules(base.profile);
    assert!(!rules.is_empty());
    let product = product(base, &rules);
    let whole = whole(base, &rules);
    let output = whole.bake(base, &product, &["--plan"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{}: {said}", base.profile);
    assert!(!said.contains("is not checked"), "{}: {said}", base.profile);
    for rule in &rules {
        let mut host = whole.clone();
        break_rule(rule, base, &mut host);
        let output = host.bake(base, &product, &[]);
        assert!(!output.status.success(), "{} of {} is not told", rule.name, base.profile);
        assert_eq!(told(base, &output, &rules), [rule.name.as_str()], "{}", text(&output.stderr));
    }
    let broken = broken(base, &rules);
    let output = broken.bake(base, &product, &[]);
    assert_eq!(told(base, &output, &rules), names(&rules), "all at once: {}", text(&output.stderr));
}

#[test]
fn each_rule_for_debian_is_told_with_its_advice_before_anything_is_written() {
    each_rule_is_shown(&Base::tar("debian", "debian-12"));
}

#[test]
fn each_rule_for_ubuntu_is_told_with_its_advice_before_anything_is_written() {
    each_rule_is_shown(&Base::tar("ubuntu", "debian-12-grub"));
}

#[test]
fn each_rule_for_rhel_is_told_with_its_advice_before_anything_is_written() {
    each_rule_is_shown(&Base::tar("rhel", "debian-12-selinux"));
}

#[test]
fn each_rule_for_fedora_coreos_is_told_with_its_advice_before_anything_is_written() {
    each_rule_is_shown(&Base::container("fedora-coreos"));
}

#[test]
fn each_rule_for_flatcar_is_told_with_its_advice_before_anything_is_written() {
    each_rule_is_shown(&Base::disk("flatcar"));
}

#[test]
fn every_profile_s_rules_are_shown_here() {
    let profiles = fs::read_dir(support::project("profiles")).unwrap();
    let found: BTreeSet<_> =
        profiles.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let shown = ["debian.toml", "fedora-coreos.toml", "flatcar.toml", "rhel.toml", "ubuntu.toml"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), shown);
}

/// A specification for one image, with more lines.
fn spec(base: &Base, host: &Host, product: &Path, more: &str) -> PathBuf {
    let (rootfs, overlay) = host.write(base);
    let at = base.at("bake.toml");
    let text = format!(
        "format-revision = 1\n[[image]]\nname = 'host'\nprofile = '{}'\nrootfs = '{}'\noverlays = ['{}']\n\
         product = '{}'\n{more}\n",
        base.profile,
        rootfs.display(),
        overlay.display(),
        product.display()
    );
    fs::write(&at, text).unwrap();
    at
}

#[test]
fn what_is_skipped_by_name_is_not_told_and_the_plan_tells_the_rest() {
    let base = Base::tar("debian", "debian-12");
    let rules = rules("debian");
    let product = product(&base, &rules);
    let broken = broken(&base, &rules);
    let (last, others) = rules.split_last().unwrap();
    let others = names(others);
    let last = [last.name.as_str()];

    let skipped = others.join(",");
    assert_eq!(told(&base, &broken.bake(&base, &product, &["--skip", &skipped]), &rules), last);
    let plan = broken.bake(&base, &product, &["--plan", "--json", "--skip", &skipped]);
    assert_eq!(told(&base, &plan, &rules), last);

    let file = spec(&base, &broken, &product, &format!("skip = {others:?}"));
    let of_file = |arguments: &[&str]| {
        let mut command = bake();
        command.args(["image", "--no-cache", "--spec"]).arg(&file).arg("--out").arg(base.at("out"));
        output(command.args(arguments))
    };
    assert_eq!(told(&base, &of_file(&[]), &rules), last);
    // As with other lists, the flag takes the place of the file's.
    let (first, rest) = rules.split_first().unwrap();
    assert_eq!(told(&base, &of_file(&["--skip", &first.name]), &rules), names(rest));

    // A small product asks for less: nothing of it is what the rules are for.
    let mut host = Host::default();
    break_rule(rules.iter().find(|rule| rule.name == "earlier-host").unwrap(), &base, &mut host);
    let small = support::small_product();
    let output = host.bake(&base, &small, &["--plan"]);
    assert_eq!(told(&base, &output, &rules), ["earlier-host"], "{}", text(&output.stderr));
    let output = host.bake(&base, &small, &["--plan", "--skip", "earlier-host"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_name_that_no_rule_has_is_refused_with_those_that_rules_have() {
    let base = Base::tar("debian", "debian-12");
    let rules = rules("debian");
    let product = product(&base, &rules);
    let host = whole(&base, &rules);
    let known = format!("known are {}", names(&rules).join(", "));
    let output = host.bake(&base, &product, &["--skip", "clocks"]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && !base.at("out").exists(), "{said}");
    assert!(
        said.contains("no requirement of the profile is called `clocks`") && said.contains(&known),
        "{said}"
    );

    // A product or none: it is a mistake.
    let mut command = bake();
    command.args(["image", "--no-cache", "--skip", "clocks", "--rootfs"]).arg(rootfs("debian-12"));
    let output = support::output(command.arg("--out").arg(base.at("out")));
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(&known) && !base.at("out").exists(), "{said}");

    let mut command = bake();
    command.args(["image", "--no-cache", "--spec"]).arg(spec(&base, &host, &product, "skip = ['clocks']"));
    let output = support::output(command.arg("--out").arg(base.at("out")));
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(&known) && !base.at("out").exists(), "{said}");
}

#[test]
fn a_mount_of_the_policy_is_judged_by_its_type() {
    let base = Base::tar("debian", "debian-12");
    let rules = rules("debian");
    let product = product(&base, &rules);
    let host = whole(&base, &rules);
    let with = |kind: &str| {
        let mount = format!("[mounts.'/var/lib/docker']\nsource = 'LABEL=docker'\ntype = '{kind}'");
        let mut command = bake();
        command.args(["image", "--no-cache", "--plan", "--spec"]).arg(spec(&base, &host, &product, &mount));
        output(command.arg("--out").arg(base.at("out")))
    };
    assert_eq!(told(&base, &with("btrfs"), &rules), ["docker-store"]);
    let xfs = with("xfs");
    let said = text(&xfs.stdout) + &text(&xfs.stderr);
    assert!(xfs.status.success(), "{said}");
    assert!(said.contains("docker-store is not checked") && said.contains("`ftype=1`"), "{said}");
}
