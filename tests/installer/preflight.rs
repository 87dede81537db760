//! What preflight finds, says and changes: nothing.

use serde_json::Value;

use crate::host::{DONE, Product, UNFIT, USAGE, ended, install, is_untouched, serve};
use crate::support::container::{Container, Root};
use crate::support::{is_root, text};

/// The JSON document of a run that ends so.
fn report(host: &Container, arguments: &str, status: i32) -> Value {
    let output = install(host, &format!("--json {arguments}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(report["exit"], status);
    // The document of the test's own reader, and of what people read it with.
    host.run(&format!(
        "bash /root/dcos_install.sh --json {arguments} 2>/dev/null | jq --exit-status .schema"
    ));
    report
}

/// The result of one check.
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

fn failures(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["result"] == "FAIL").inspect(|check| {
        assert!(check["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{check}");
    });
    failed.map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn in_a_container_preflight_finds_what_is_wrong_and_changes_nothing() {
    if !is_root("containers") {
        return;
    }
    let product = Product::configured(&[
        "--set",
        "preflight_commands=[\"tar\", \"no-such-command\"]",
        "--set",
        "preflight_free_space_mb=99999999",
        "--set",
        "preflight_sysctls={\"kernel.ostype\": \"Minix\", \"kernel.no_such\": \"1\", \"kernel.pid_max\": \">=1\"}",
        "--set",
        "preflight_docker=true",
        "--set",
        "preflight_modules=[\"overlay\", \"no_such_module\"]",
    ]);
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    // 5050 is 13BA, 5051 13BB: the kernel's upper case. Closed ports and ports of clients do not count.
    host.run("systemd-run --quiet --unit=port python3 -m http.server --bind 127.0.0.1 5050");
    host.until("ss -lnt | grep -q :5050");
    let report = report(&host, "--preflight-only master", UNFIT);
    let expected = [
        "command-no-such-command",
        "free-space",
        "sysctl-kernel.no_such",
        "sysctl-kernel.ostype",
        "port-5050",
        "docker",
    ];
    assert_eq!(failures(&report), expected, "{report}");
    assert_eq!(report["result"], "unfit");
    assert_eq!(report["cluster_name"], "Installed $(touch /ran) `touch /ran`");
    assert_eq!(report["config_id"], product.config_id());
    assert_eq!(check(&report, "module-no_such_module")["result"], "WARN");
    let port = check(&report, "port-5050")["message"].as_str().unwrap();
    assert_eq!(port, "tcp port 5050 is in use at 127.0.0.1");
    // Agents do not need that port, and a role is optional.
    for (role, port) in [("slave", 0), ("", 0), ("master", 1)] {
        let report = self::report(&host, &format!("-p {role}"), UNFIT);
        assert_eq!(failures(&report).iter().filter(|name| **name == "port-5050").count(), port, "{role}");
    }
    // Installing stops there too, unless it is told not to look.
    let last = ended(&install(&host, "master"), UNFIT);
    assert!(last.starts_with("unfit: preflight found 6"), "{last}");
    is_untouched(&root);
}

#[test]
fn in_a_container_a_port_is_used_by_who_listens_and_by_nobody_else() {
    if !is_root("containers") {
        return;
    }
    let ports = "preflight_ports_master=[5050, 5051, 44255, 64000, 8000, 49151]";
    let product = Product::configured(&["--set", ports]);
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    host.run(
        "systemd-run --quiet --unit=ports python3 -c '
import socket, time
def bound(family, kind, address, port):
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    return made
six = bound(socket.AF_INET6, socket.SOCK_STREAM, \"::\", 44255); six.listen()
udp = bound(socket.AF_INET, socket.SOCK_DGRAM, \"127.0.0.1\", 64000)
# A client of the web server whose own port is one of ours: no reason to refuse.
client = bound(socket.AF_INET, socket.SOCK_STREAM, \"127.0.0.1\", 49151)
client.connect((\"127.0.0.1\", 8000))
time.sleep(600)'",
    );
    host.until("ss -nt state established | grep -q :49151");
    let report = report(&host, "-p master", UNFIT);
    let mut failed = failures(&report);
    failed.sort_unstable();
    assert_eq!(failed, ["port-44255", "port-64000", "port-8000"]);
    assert_eq!(check(&report, "port-64000")["message"], "udp port 64000 is in use at 127.0.0.1");
}

#[test]
fn in_a_container_a_fit_host_passes_and_places_that_cannot_be_written_do_not() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    for role in ["master", "slave", "slave_public", ""] {
        let report = report(&host, &format!("--preflight-only {role}"), DONE);
        assert_eq!((report["result"].as_str(), failures(&report)), (Some("fit"), Vec::new()));
    }
    let cases = [
        ("mount --bind /etc /etc && mount -o remount,bind,ro /etc", "umount /etc", "writable/etc"),
        ("mount --bind /opt /opt && mount -o remount,bind,ro /opt", "umount /opt", "writable/opt"),
        ("mount --bind /opt /opt && mount -o remount,bind,noexec /opt", "umount /opt", "executable"),
        ("systemctl stop 'web-*'", "true", "bootstrap-url"),
        ("mkdir /opt/mesosphere && touch /opt/mesosphere/else", "rm -r /opt/mesosphere", "earlier-install"),
    ];
    for (spoil, mend, name) in cases {
        host.run(spoil);
        let report = report(&host, "--preflight-only slave", UNFIT);
        assert_eq!(failures(&report), [name]);
        assert_eq!(failures(&self::report(&host, "slave", UNFIT)), [name]);
        host.run(mend);
        if name == "bootstrap-url" {
            serve(&host, "");
        }
    }
    // An empty directory is a mount point that waits, and fine.
    host.run("mkdir /opt/mesosphere");
    report(&host, "-p slave", DONE);
    host.run("rmdir /opt/mesosphere");
    is_untouched(&root);
}

#[test]
fn in_a_container_read_only_etc_ends_an_install_that_does_not_look_first_and_nothing_is_half_there() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    host.run("mount --bind /etc /etc && mount -o remount,bind,ro /etc");
    let last = ended(&install(&host, "--disable-preflight slave"), crate::host::FAILED);
    assert!(last.starts_with("failed: unpack: "), "{last}");
    host.run("umount /etc");
    ended(&install(&host, "slave"), DONE);
    crate::host::runs_as(&host, "slave");
    host.power_off();
}

#[test]
fn in_a_container_wrong_usage_is_told() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    for wrong in [
        "",
        "nobody",
        "--no-such-option master",
        "master slave",
        "--root /no/such/place master",
        "--url ftp://x master",
    ] {
        let last = ended(&install(&host, wrong), USAGE);
        assert!(last.starts_with("usage: ") && last.contains("--help"), "{last}");
    }
    ended(&install(&host, "--help"), DONE);
    is_untouched(&root);
}
