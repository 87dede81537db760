//! A host that takes its role from a template's user data, and tells that it is well.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::host::{Product, runs_as};
use crate::support::container::Root;
use crate::support::{is_root, made, project, run};
use crate::{Templates, published, python, user_data};

const STACK: &str = "arn:aws:cloudformation:eu-central-1:123456789012:stack/agents/0a1b";
const ENDPOINT: &str = "cloudformation.eu-central-1.amazonaws.com";

fn put(root: &Root, path: &str, text: &str) {
    let path = root.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A host that has the product and no role, with a cloud around it.
fn prepared(product: &Product, user_data: &str) -> Root {
    let root = Root::of("debian-12-cloud");
    let serve = product.serve();
    let mut install = Command::new(made("pkgpanda/pkgpanda"));
    install.arg("install").arg("--product").arg(serve.join("product.json")).arg("--from").arg(&serve);
    run(install.arg("--root").arg(root.path()));
    // What a container has no use for: a network of a cloud, and locales that are not in it.
    put(&root, "etc/cloud/cloud.cfg.d/test.cfg", "network: {config: disabled}\nlocale: C.UTF-8\n");
    put(&root, "var/lib/cloud/seed/nocloud/meta-data", "instance-id: i-1\n");
    put(&root, "var/lib/cloud/seed/nocloud/user-data", user_data);

    put(&root, "root/answers", "500 200");
    put(&root, "etc/hosts", &format!("127.0.0.1 localhost {ENDPOINT}\n"));
    fs::copy(project("tests/templates/cloud.py"), root.at("root/cloud.py")).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=cloud",
        "-addext",
    ]);
    openssl.arg(format!("subjectAltName=DNS:{ENDPOINT}"));
    run(openssl.arg("-keyout").arg(root.at("root/key.pem")).arg("-out").arg(root.at("root/cert.pem")));
    put(
        &root,
        "etc/systemd/system/cloud.service",
        "[Service]\n\
         ExecStartPre=/bin/ip address add 169.254.169.254/32 dev lo\n\
         ExecStart=/usr/bin/python3 /root/cloud.py /root/cert.pem /root/key.pem /root/answers /run/asked.json\n",
    );
    let wants = root.at("etc/systemd/system/basic.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("../cloud.service", wants.join("cloud.service")).unwrap();
    let trust = "[Service]\nEnvironment=SSL_CERT_FILE=/root/cert.pem\n";
    put(&root, "etc/systemd/system/dcos-signal.service.d/test.conf", trust);
    root
}

#[test]
fn a_host_takes_its_role_and_signals_once_it_is_well_as_root() {
    if !is_root("a host, which is a container") {
        return;
    }
    let product = Product::small();
    let template = Templates::of(&published()).read("private-agents.yaml");
    let root = prepared(&product, &user_data(&template, STACK));
    let host = product.boot(&root);
    runs_as(&host, "slave");
    host.until("test -e /var/lib/dcos-signalled");
    let asked: Value = serde_json::from_str(&host.run("cat /run/asked.json")).unwrap();
    // CloudFormation failed once, and was asked again.
    let [first, second] = &asked.as_array().unwrap()[..] else { panic!("{asked}") };
    for request in [first, second] {
        assert_eq!(
            request["body"],
            format!(
                "Action=SignalResource&Version=2010-05-15&StackName={}&LogicalResourceId=Agents&Status=SUCCESS\
                 &UniqueId=i-0123456789abcdef0",
                STACK.replace(':', "%3A").replace('/', "%2F")
            )
        );
        run(python("signature.py").args(["eu-central-1", "secret/+key", &request.to_string()]));
    }
    host.power_off();

    // One that takes another one's place later is told that nobody waits for it, and is content; nothing else is enough.
    fs::remove_file(root.at("var/lib/dcos-signalled")).unwrap();
    put(&root, "root/answers", "400:Throttling 400:ValidationError");
    let host = product.boot(&root);
    host.until("test -e /var/lib/dcos-signalled");
    let asked: Value = serde_json::from_str(&host.run("cat /run/asked.json")).unwrap();
    assert_eq!(asked.as_array().unwrap().len(), 2);
    host.power_off();

    // What was told once is not told again.
    let host = product.boot(&root);
    runs_as(&host, "slave");
    let condition = "systemctl show --value --property=ConditionResult dcos-signal.service";
    assert_eq!(host.run(condition).trim(), "no");
    host.run("test ! -e /run/asked.json");
}
