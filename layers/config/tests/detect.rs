//! The ready scripts, run as hosts run them: with a `curl` that answers as the clouds' metadata services do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // scripts are run

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bake_config::detect;

/// What takes the place of `curl`: it logs its arguments and answers by the path of the URL, which comes last.
const CURL: &str = "#!/bin/bash
printf '%s\\n' \"$*\" >>\"$LOG\"
url=${!#}
path=${url#*://*/}
path=${path%%\\?*}
[[ -e $ANSWERS/${path//\\//_} ]] || { echo '404' >&2; exit 22; }
cat \"$ANSWERS/${path//\\//_}\"
";

struct Service {
    directory: tempfile::TempDir,
}

impl Service {
    fn new(answers: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("bin")).unwrap();
        fs::create_dir(path("answers")).unwrap();
        fs::write(path("bin/curl"), CURL).unwrap();
        fs::set_permissions(path("bin/curl"), fs::Permissions::from_mode(0o755)).unwrap();
        for (answer, text) in answers {
            fs::write(path("answers").join(answer.replace('/', "_")), text).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, name: &str) -> Output {
        let script = self.path("script");
        fs::write(&script, load(name)).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        run(
            &script,
            &[("PATH", path), ("LOG", text(&self.path("log"))), ("ANSWERS", text(&self.path("answers")))],
        )
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn load(name: &str) -> Vec<u8> {
    detect::load(&format!("ready:{name}"), &|_| Err("no file".to_owned())).unwrap()
}

fn run(script: &Path, environment: &[(&str, String)]) -> Output {
    let environment: BTreeMap<_, _> = environment.iter().cloned().collect();
    Command::new("bash").arg(script).env_clear().envs(environment).output().unwrap()
}

const AWS: &str = "latest/meta-data";
const GCE: &str = "computeMetadata/v1/instance";
const AZURE: &str = "metadata/instance";

#[track_caller]
fn prints(name: &str, answers: &[(&str, &str)], expected: &str) -> String {
    let service = Service::new(answers);
    let output = service.run(name);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{expected}\n"), "{name}");
    assert!(output.status.success());
    let log = service.log();
    for line in log.lines() {
        assert!(
            line.contains("--noproxy * ") && line.contains("--max-time 5 ") && line.contains("--retry 5 "),
            "{line}"
        );
    }
    log
}

#[track_caller]
fn fails(name: &str, answers: &[(&str, &str)], expected: &str) {
    let output = Service::new(answers).run(name);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty(), "{name} printed something");
    assert!(told.contains(expected), "{told}");
}

#[test]
fn aws_tells_addresses_by_token() {
    let at = |path: &str| format!("{AWS}/{path}");
    let [local, public, list, none] = ["local-ipv4", "public-ipv4", "", "none"].map(at);
    let token = ("latest/api/token", "secret-token");
    let log = prints("aws", &[token, (&local, "10.0.0.7")], "10.0.0.7");
    let calls: Vec<_> = log.lines().collect();
    assert_eq!(calls.len(), 2);
    assert!(
        calls[0].contains(
            "--request PUT --header X-aws-ec2-metadata-token-ttl-seconds: 60 http://169.254.169.254/"
        )
    );
    assert!(calls[1].contains(
        "--header X-aws-ec2-metadata-token: secret-token http://169.254.169.254/latest/meta-data/local-ipv4"
    ));
    let both =
        [token, (list.as_str(), "local-ipv4\npublic-ipv4"), (&local, "10.0.0.7"), (&public, "203.0.113.7")];
    prints("aws-public", &both, "203.0.113.7");
    let private = [token, (list.as_str(), "local-ipv4\npublic-keys/"), (&local, "10.0.0.7")];
    prints("aws-public", &private, "10.0.0.7");
    fails("aws", &[(&local, "10.0.0.7")], "the metadata service gives no token");
    fails("aws", &[token, (&none, "")], "aws: the metadata service does not tell local-ipv4");
    fails("aws-public", &[token, (&local, "10.0.0.7")], "aws-public: the metadata service does not tell");
    fails("aws", &[token, (&local, "<html>")], "got no IPv4 address but '<html>'");
    fails("aws", &[token, (&local, "10.0.0.256")], "got no IPv4 address but");
    fails("aws", &[token, (&local, "10.0.0.1\n10.0.0.2")], "got no IPv4 address but");
}

#[test]
fn gce_tells_addresses() {
    let at = |path: &str| format!("{GCE}/network-interfaces/0/{path}");
    let [ip, list, external] = ["ip", "access-configs/", "access-configs/0/external-ip"].map(at);
    let log = prints("gce", &[(&ip, "10.0.0.7")], "10.0.0.7");
    assert!(log.contains("--header Metadata-Flavor: Google http://metadata.google.internal/"));
    prints("gce-public", &[(&ip, "10.0.0.7"), (&list, "0/"), (&external, "203.0.113.7")], "203.0.113.7");
    prints("gce-public", &[(&ip, "10.0.0.7"), (&list, "0/"), (&external, "")], "10.0.0.7");
    prints("gce-public", &[(&ip, "10.0.0.7"), (&list, "")], "10.0.0.7");
    fails("gce", &[], "gce: the metadata service does not tell network-interfaces/0/ip");
}

#[test]
fn azure_tells_addresses() {
    let at = |path: &str| format!("{AZURE}/network/interface/0/ipv4/ipAddress/0/{path}");
    let [private, public] = ["privateIpAddress", "publicIpAddress"].map(at);
    let log = prints("azure", &[(&private, "10.0.0.7")], "10.0.0.7");
    assert!(log.contains("--header Metadata: true http://169.254.169.254/metadata/instance/network/"));
    assert!(log.contains("?api-version=2021-02-01&format=text\n"));
    prints("azure-public", &[(&private, "10.0.0.7"), (&public, "203.0.113.7")], "203.0.113.7");
    prints("azure-public", &[(&private, "10.0.0.7"), (&public, "")], "10.0.0.7");
    fails("azure", &[(&private, "")], "azure: got no IPv4 address but ''");
}

#[test]
fn fault_domains_are_told_as_json() {
    let domain = |region: &str, zone: &str| {
        format!(
            "{{\"fault_domain\":{{\"region\":{{\"name\":\"{region}\"}},\"zone\":{{\"name\":\"{zone}\"}}}}}}"
        )
    };
    let aws = [
        ("latest/api/token", "t"),
        ("latest/meta-data/placement/region", "eu-west-1"),
        ("latest/meta-data/placement/availability-zone", "eu-west-1b"),
    ];
    prints("aws-fault-domain", &aws, &domain("eu-west-1", "eu-west-1b"));
    let odd = [aws[0], aws[1], (aws[2].0, "\"}")];
    fails("aws-fault-domain", &odd, "got no name of a zone but '\"}'");

    let gce = [("computeMetadata/v1/instance/zone", "projects/123/zones/europe-west1-b")];
    prints("gce-fault-domain", &gce, &domain("europe-west1", "europe-west1-b"));
    fails("gce-fault-domain", &[(gce[0].0, "zones/nowhere")], "the zone 'nowhere' is in no region");

    let location = ("metadata/instance/compute/location", "westeurope");
    let zone = |text| ("metadata/instance/compute/zone", text);
    prints("azure-fault-domain", &[location, zone("2")], &domain("westeurope", "westeurope-2"));
    let without = [location, zone(""), ("metadata/instance/compute/platformFaultDomain", "1")];
    prints("azure-fault-domain", &without, &domain("westeurope", "westeurope-fd1"));
    fails("azure-fault-domain", &[zone("2")], "the metadata service does not tell compute/location");
}

#[test]
fn interfaces_tell_their_address() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    let path = || [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())];
    fs::write(&script, load("interface/lo")).unwrap();
    let output = run(&script, &path());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "127.0.0.1\n", "{output:?}");
    // An interface that is none, with a name that is a command: it is only a name.
    let touched = directory.path().join("x");
    fs::write(&script, load("interface/$(>x)")).unwrap();
    let output =
        Command::new("bash").arg(&script).env_clear().envs(path()).current_dir(&directory).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the interface '$(>x)' is not there"),
        "{output:?}"
    );
    assert!(!touched.exists());
}

#[test]
fn the_route_tells_its_source() {
    let service = Service::new(&[]);
    let ip = |line: &str| format!("#!/bin/bash\nprintf '%s\\n' \"$*\" >>\"$LOG\"\nprintf '%s\\n' '{line}'\n");
    let write = |text: &str| {
        fs::write(service.path("bin/ip"), text).unwrap();
        fs::set_permissions(service.path("bin/ip"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(&ip("192.0.2.1 via 10.0.0.1 dev eth0 src 10.0.0.7 uid 0 \\    cache"));
    let output = service.run("route");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10.0.0.7\n", "{output:?}");
    assert_eq!(service.log(), "-4 -oneline route get 192.0.2.1\n");
    write("#!/bin/bash\necho 'RTNETLINK answers: Network is unreachable' >&2\nexit 2\n");
    let output = service.run("route");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("route: there is no default route for IPv4"));
}
