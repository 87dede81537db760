//! Runs that were killed, anywhere, and the same command again.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::host::{DONE, Product, ended, install, is_installed, runs_as, serve};
use crate::support::container::{Container, Root};
use crate::support::{full, is_root};

fn start(host: &Container, arguments: &str) -> Child {
    let mut command = host.command(&format!("exec bash /root/dcos_install.sh {arguments}"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a run with everything that it started.
fn kill(mut run: Child) {
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", run.id())]).status();
    run.wait().unwrap();
}

/// Lets a run go on until it has said `lines` lines. Whether it was still at work then.
fn kill_after(run: Child, lines: usize) -> Option<String> {
    let mut run = run;
    let mut said = BufReader::new(run.stdout.take().unwrap()).lines().map_while(Result::ok);
    let last = said.by_ref().take(lines).last();
    let more = run.try_wait().unwrap().is_none();
    kill(run);
    last.filter(|_| more)
}

/// What a host keeps of one attempt goes before the next.
fn forget(host: &Container) {
    host.run(
        "systemctl stop dcos.target dcos-setup 'dcos-*' 2>/dev/null; rm -rf /opt/mesosphere /opt/.dcos-install \
         /opt/.mesosphere* /etc/mesosphere /etc/systemd/system/dcos* /etc/systemd/system/*/dcos* \
         /run/systemd/system/dcos* /run/sysusers.d/dcos.conf /run/tmpfiles.d/dcos.conf /var/lib/dcos; \
         userdel dcos_hello; systemctl daemon-reload; systemctl reset-failed",
    );
}

#[test]
fn in_a_container_a_run_killed_after_any_line_is_finished_by_the_next() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let mut killed = Vec::new();
    // Checks say a line each and change nothing: without them.
    for lines in 1.. {
        let Some(last) = kill_after(start(&host, "--disable-preflight slave"), lines) else { break };
        killed.push(last);
        ended(&install(&host, "slave"), DONE);
        is_installed(&root, &product);
        runs_as(&host, "slave");
        forget(&host);
    }
    let steps: Vec<_> = killed.iter().filter_map(|line| line.strip_prefix("== ")).collect();
    for step in ["fetch", "verify", "unpack", "start"] {
        assert!(steps.contains(&step), "never killed in {step}: {killed:#?}");
    }
    host.power_off();
}

#[test]
fn in_a_container_a_run_killed_at_any_time_is_finished_by_the_next() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    let step = if full() { 15 } else { 90 };
    let mut kills = 0;
    for delay in (0..3000).step_by(step) {
        let mut run = start(&host, "--disable-preflight master");
        std::thread::sleep(Duration::from_millis(delay));
        if run.try_wait().unwrap().is_some() {
            break;
        }
        kill(run);
        kills += 1;
        ended(&install(&host, "master"), DONE);
        is_installed(&root, &product);
        runs_as(&host, "master");
        forget(&host);
    }
    assert!(kills > 2, "only {kills} runs were killed");
    host.power_off();
}

#[test]
fn in_a_container_kills_upon_kills_come_to_an_end() {
    if !is_root("containers") {
        return;
    }
    let product = Product::small();
    let root = Root::debian();
    let host = product.boot(&root);
    serve(&host, "");
    // Only the script is killed: what it started may still be at work when the next one begins.
    for delay in [50, 100, 150, 200, 250, 300] {
        let mut run = start(&host, "-d slave_public");
        std::thread::sleep(Duration::from_millis(delay));
        run.kill().unwrap();
        let mut rest = String::new();
        run.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        run.wait().unwrap();
    }
    // The last one may have finished.
    let output = install(&host, "slave_public");
    assert_eq!(output.status.code(), Some(DONE), "{output:?}");
    is_installed(&root, &product);
    runs_as(&host, "slave_public");
    host.power_off();
}
