//! Which packages may be active together, and what they bring but files.

use super::*;

#[test]
fn one_version_of_a_component_is_active() {
    let packages =
        [files("a--2", &["bin/x"]), files("a--1", &["bin/x"]), info("b--1", json!({"requires": ["a"]}))];
    assert_eq!(
        refusal(&packages, &[]),
        "`a--1` and `a--2` are the same component: expected one version of `a`"
    );
}

#[test]
fn what_is_required_has_to_be_there_in_its_variant() {
    let packages = [
        info(
            "a--1",
            json!({"requires": ["b", "c", {"name": "d", "variant": "small"}, {"name": "e", "variant": "x"}]}),
        ),
        info("b--1", json!({"variant": "debug"})),
        info("d--1", json!({})),
        info("e--1", json!({"variant": "x"})),
    ];
    assert_eq!(
        refusal(&packages, &[]),
        "`a--1` requires `c`, which is not among the packages: add it\n\
         `a--1` requires `b`, but `b--1` is variant `debug`\n\
         `a--1` requires variant `small` of `d`, but `d--1` is variant `<default>`"
    );
}

#[test]
fn a_variable_is_defined_by_one_package() {
    let packages = [
        info("b--1", json!({"environment": {"HOME_OF_X": "1"}})),
        info("a--1", json!({"environment": {"HOME_OF_X": "1"}})),
    ];
    assert_eq!(
        refusal(&packages, &[]),
        "environment variable `HOME_OF_X` is defined by both `a--1` and `b--1`: rename one of them"
    );
}

#[test]
fn what_is_wrong_with_one_package_is_found_in_a_set_too() {
    let mut made_by_hand = info("a--1", json!({}));
    made_by_hand.info.environment.insert("PATH".to_owned(), "x".to_owned());
    made_by_hand.info.group = Some("docker".parse().unwrap());
    assert_eq!(
        refusal(&[made_by_hand], &[]),
        "`a--1`: pkginfo.json: `environment.PATH`: is set by the install root itself, like LD_LIBRARY_PATH and \
         PATH: choose another name\n\
         `a--1`: pkginfo.json: `group`: is given without `username`: add the user whose group it is, or leave \
         it out"
    );
}

#[test]
fn a_kernel_setting_has_one_value_whatever_its_type_and_service() {
    let with = |id: &str, service: &str, settings: Value| {
        let unit = format!("share/{service}.service");
        package(id, json!({"sysctl": {service: settings}}), &[&unit])
    };
    let a = with("a--1", "a", json!({"net.ipv4.ip_forward": 1, "vm.x": "1", "net.conf.eth0/1.y": "2"}));
    let same = with("b--1", "b", json!({"net.ipv4.ip_forward": "1"}));
    let root = resolve(&[same, a.clone()], &[]);
    assert_eq!(
        root.entries(ROOT)[&place("etc/dcos-service-configuration.json")],
        Entry::File(
            br#"{
  "sysctl": {
    "a": {
      "net.conf.eth0/1.y": "2",
      "net.ipv4.ip_forward": "1",
      "vm.x": "1"
    },
    "b": {
      "net.ipv4.ip_forward": "1"
    }
  }
}
"#
            .to_vec()
        )
    );
    let other = with("c--1", "c", json!({"net/ipv4/ip_forward": "0", "vm.x": 1, "net/conf/eth0.1/y": 3}));
    assert_eq!(
        refusal(&[other, a], &[]),
        "kernel setting `net.conf.eth0/1.y` is `2` for `a` of `a--1`, and `3` for `c` of `c--1`: expected one value\n\
         kernel setting `net.ipv4.ip_forward` is `1` for `a` of `a--1`, and `0` for `c` of `c--1`: expected one value"
    );
}

#[test]
fn kernel_settings_need_the_service_that_makes_them() {
    let settings = json!({"sysctl": {"a": {"vm.x": 1}, "b": {"vm.y": 1}}});
    assert_eq!(
        refusal(&[package("a--1", settings, &["dcos.target.wants_master/a.service", "b.service/"])], &[]),
        "`a--1` has `sysctl` for the service `b`, but no file `b.service`"
    );
}

#[test]
fn users_and_state_directories_are_told() {
    let packages = [
        info("b--1", json!({"username": "dcos_x", "state_directory": true})),
        info("c--1", json!({"username": "dcos_x", "group": "docker"})),
        info("d--1", json!({"username": "dcos_y", "state_directory": true})),
        info("e--1", json!({"state_directory": true})),
    ];
    let root = resolve(&packages, &[]);
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    assert_eq!(
        text(&root.users),
        r#"{UserName("dcos_x"): Some(GroupName("docker")), UserName("dcos_y"): None}"#
    );
    let owners = root
        .state_directories
        .iter()
        .map(|(name, user)| (name.as_str(), user.as_ref().map(UserName::as_str)));
    let expected = [("b", Some("dcos_x")), ("d", Some("dcos_y")), ("e", None)];
    assert!(owners.eq(expected));
    let other = info("f--1", json!({"username": "dcos_x", "group": "video"}));
    assert_eq!(
        refusal(&[&packages[..], &[other]].concat(), &[]),
        "user `dcos_x` is to have group `docker` for `c--1` and group `video` for `f--1`: expected one group"
    );
}

#[test]
fn build_information_is_kept_by_name() {
    let mut a = info("a--1", json!({}));
    a.buildinfo = Some(json!({"name": "a", "build_ids": {"x": 1}}));
    let root = resolve(&[info("b--1", json!({})), a], &[]);
    let expected = "{\n  \"a\": {\n    \"build_ids\": {\n      \"x\": 1\n    },\n    \"name\": \"a\"\n  },\n  \"b\": null\n}\n";
    assert_eq!(
        root.entries(ROOT)[&place("active.buildinfo.full.json")],
        Entry::File(expected.as_bytes().to_vec())
    );
}

#[test]
fn a_package_can_be_judged_alone_as_soon_as_it_is_built() {
    let fine = package("a--1", json!({"requires": ["b"]}), &["bin/x", "bin_master/y"]);
    assert_eq!(fine.check(), Ok(()));
    let wrong = files("a--1", &["dcos.target.wants_master/dcos-download.service"]);
    assert_eq!(
        wrong.check().unwrap_err().to_string(),
        "`a--1`: `dcos.target.wants_master/dcos-download.service` has a name that the installation keeps for \
         itself: rename it"
    );
}
