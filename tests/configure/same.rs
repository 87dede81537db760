//! The same input gives the same bytes, and every byte of input another id.

use std::fs;
use std::process::Command;

use crate::ground::{Ground, listing};
use crate::support::{bake, is_root, made, output, project, run, scratch, text};

#[test]
fn two_users_zones_directories_and_umasks_make_identical_serve_directories() {
    let one = Ground::new();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(bake().get_program());
    command.args(one.command(&[]).get_args()).current_dir(one.at("")).env("TZ", "UTC");
    run(&mut command);
    let expected = listing(&one.at("serve"));
    assert!(expected.len() > 20, "{expected:#?}");
    assert_eq!(expected["dcos_install.sh"].split(' ').next(), Some("100755"));
    assert_eq!(expected["packages"], "40755 ");

    let place = scratch();
    let root = is_root("a serve directory made by nobody");
    for (from, to) in [
        (made("product/small-artifacts"), "some where/artifacts"),
        (project("tests/genconf"), "some where/genconf"),
        (bake().get_program().into(), "some where/bake"),
    ] {
        let to = place.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run(Command::new("cp").arg("-r").arg(from).arg(to));
    }
    let mut command = Command::new(if root { "setpriv" } else { "env" });
    if root {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(place.path()));
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let reads = output(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "ls"])
                .arg(place.path()),
        );
        if !reads.status.success() {
            eprintln!("SKIPPED for want of a way for nobody into the project: {}", text(&reads.stderr));
            return;
        }
    }
    command.args(["taskset", "--cpu-list", "0", "sh", "-c", "umask 002; exec \"$@\"", "sh", "./bake"]);
    command.args(["configure", "--artifacts=artifacts"]);
    command
        .current_dir(place.path().join("some where"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("SOURCE_DATE_EPOCH", "1")]);
    run(&mut command);
    assert_eq!(listing(&place.path().join("some where/serve")), expected);
}

#[test]
fn every_input_enters_the_id_but_comments_and_order_do_not() {
    let ground = Ground::new();
    let id = ground.id(&[]);
    assert_eq!(ground.id(&["--set", "cluster_name=sample"]), id);
    let mut ids = vec![id.clone()];
    for set in [
        "cluster_name=other",
        "bootstrap_url=http://192.0.2.10:8081",
        "resolvers=[192.0.2.2]",
        "preflight_docker=false",
        "preflight_free_space_mb=1",
    ] {
        ids.push(ground.id(&["--set", set]));
    }
    let config = fs::read_to_string(ground.at("genconf/config.yaml")).unwrap();
    let mut lines: Vec<_> = config.lines().filter(|line| !line.starts_with('#')).collect();
    lines.reverse();
    fs::write(ground.at("genconf/config.yaml"), lines.join("\n") + "\n# another comment\n").unwrap();
    assert_eq!(ground.id(&[]), id);

    let script = ground.at("genconf/ip-detect");
    let before = fs::read(&script).unwrap();
    fs::write(&script, [&before[..], b"\n"].concat()).unwrap();
    ids.push(ground.id(&[]));
    fs::write(&script, &before).unwrap();

    fs::create_dir(ground.at("genconf/check_bins")).unwrap();
    fs::write(ground.at("genconf/check_bins/mine"), "#!/bin/sh\n").unwrap();
    ids.push(ground.id(&[]));
    fs::write(ground.at("genconf/check_bins/mine"), "#!/bin/sh\n\n").unwrap();
    ids.push(ground.id(&[]));
    fs::rename(ground.at("genconf/check_bins/mine"), ground.at("genconf/check_bins/other")).unwrap();
    ids.push(ground.id(&[]));
    fs::remove_dir_all(ground.at("genconf/check_bins")).unwrap();

    ids.push(ground.id(&["--set", "exhibitor_admin_password=one"]));
    ids.push(ground.id(&["--set", "exhibitor_admin_password=two"]));

    let mut program = fs::read(made("pkgpanda/pkgpanda")).unwrap();
    program.push(0);
    let mut command = bake();
    command.current_dir(ground.at("")).args(["configure", "--json", "--artifacts"]);
    let value = run(command.arg(ground.artifacts_with(&program)));
    let value: serde_json::Value = serde_json::from_str(&value).unwrap();
    ids.push(value["config_id"].as_str().unwrap().to_owned());

    fs::create_dir_all(ground.at("more/templates")).unwrap();
    fs::write(ground.at("more/files.toml"), "[\"etc/mine\"]\ntemplate = \"mine\"\nsyntax = \"conf\"\n")
        .unwrap();
    fs::write(ground.at("more/templates/mine"), "1\n").unwrap();
    ids.push(ground.id(&["--extend", "more"]));
    fs::write(ground.at("more/templates/mine"), "2\n").unwrap();
    ids.push(ground.id(&["--extend", "more"]));

    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:#?}");
}
