//! Whole clusters of the sample tree: hosts find each other whatever the order in which they come.

use crate::host::{DONE, Product, ended, install, nothing_failed, serve};
use crate::support::container::{Bridge, Container, Root};
use crate::support::{full, is_root};

const MASTERS: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
const AGENT: &str = "10.77.0.21";
const STRANGER: &str = "10.77.0.31";

/// The whole sample tree for the first so many masters.
fn cluster(masters: usize) -> Product {
    let detect = "ip -4 -oneline address show dev host0 | { read -r _ _ _ found _; echo \"${found%/*}\"; }";
    Product::of("product/artifacts", &MASTERS[..masters], detect, &[])
}

/// A host that is installed as `role`; what it needs of others may be missing.
fn host<'a>(product: &Product, root: &'a Root, bridge: &Bridge, address: &str, role: &str) -> Container<'a> {
    let host = product.boot_at(root, bridge, address);
    serve(&host, "");
    ended(&install(&host, role), DONE);
    host
}

/// Waits until the journal of a unit has this line.
fn says(host: &Container, unit: &str, line: &str) {
    host.until(&format!("journalctl --boot --unit={unit} --output=cat | grep --fixed-strings '{line}'"));
}

/// The unit runs or is about to, and never had to be started again.
fn runs_steadily(host: &Container, unit: &str) {
    let state = host.run(&format!("systemctl show --property=ActiveState --value {unit}"));
    assert!(["active", "activating"].contains(&state.trim()), "{unit} is {state}\n{}", host.journal());
    let restarts = host.run(&format!("systemctl show --property=NRestarts --value {unit}"));
    assert_eq!(restarts.trim(), "0", "{unit} restarted:\n{}", host.journal());
    nothing_failed(host);
}

/// What a client at `host` is told by the first master's ZooKeeper.
fn srvr(host: &Container) -> String {
    host.run(&format!("exec 3<>/dev/tcp/{}/2181 && printf srvr >&3 && timeout 10 cat <&3", MASTERS[0]))
}

#[test]
fn in_containers_an_agent_waits_for_its_master_and_joins_untouched() {
    if !is_root("containers") {
        return;
    }
    let (product, bridge) = (cluster(1), Bridge::new());
    let roots = [Root::debian(), Root::debian(), Root::debian()];
    let agent = host(&product, &roots[0], &bridge, AGENT, "slave");
    says(&agent, "dcos-join-slave", "dcos-join: waiting: ");
    runs_steadily(&agent, "dcos-join-slave.service");

    // A master by its role, but nobody's: it says so and waits, and is none.
    let stranger = host(&product, &roots[1], &bridge, STRANGER, "master");
    let line = format!("zookeeper: waiting: this host, {STRANGER}, is not among the masters: {}", MASTERS[0]);
    says(&stranger, "dcos-zookeeper", &line);
    nothing_failed(&stranger);

    let master = host(&product, &roots[2], &bridge, MASTERS[0], "master");
    says(&master, "dcos-zookeeper", "zookeeper: imok");
    says(&master, "dcos-join-master", &format!("dcos-join: joined as master at {}", MASTERS[0]));
    says(&agent, "dcos-join-slave", &format!("dcos-join: joined as slave at {AGENT}"));
    assert!(srvr(&agent).contains("Mode: standalone"), "{}", srvr(&agent));
    agent.run("/opt/mesosphere/active/dcos-join/check/dcos-join.sh");
    for (host, unit) in
        [(&agent, "dcos-join-slave"), (&master, "dcos-zookeeper"), (&stranger, "dcos-zookeeper")]
    {
        runs_steadily(host, &format!("{unit}.service"));
    }
}

#[test]
fn in_containers_three_masters_become_an_ensemble_in_any_order() {
    if !full() || !is_root("containers") {
        return;
    }
    let (product, bridge) = (cluster(3), Bridge::new());
    let roots = [Root::debian(), Root::debian(), Root::debian(), Root::debian()];
    let last = host(&product, &roots[0], &bridge, MASTERS[2], "master");
    let agent = host(&product, &roots[1], &bridge, AGENT, "slave_public");
    says(&last, "dcos-zookeeper", "zookeeper: waiting for the other masters");
    says(&agent, "dcos-join-slave_public", "dcos-join: waiting: ");
    // Two of three are enough.
    let first = host(&product, &roots[2], &bridge, MASTERS[0], "master");
    says(&agent, "dcos-join-slave_public", &format!("dcos-join: joined as slave_public at {AGENT}"));
    let second = host(&product, &roots[3], &bridge, MASTERS[1], "master");
    for (host, address) in [(&first, MASTERS[0]), (&second, MASTERS[1]), (&last, MASTERS[2])] {
        says(host, "dcos-join-master", &format!("dcos-join: joined as master at {address}"));
        runs_steadily(host, "dcos-zookeeper.service");
        host.until("exec 3<>/dev/tcp/127.0.0.1/2181 && printf srvr >&3 && timeout 10 cat <&3 | grep -E 'Mode: (leader|follower)'");
    }
    // One goes for good: the agent stays, or comes back by itself.
    first.power_off();
    agent.until("/opt/mesosphere/active/dcos-join/check/dcos-join.sh");
    runs_steadily(&agent, "dcos-join-slave_public.service");
    for host in [agent, second, last] {
        host.power_off();
    }
}
