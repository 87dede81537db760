//! A cluster, launched from the templates at a stand-in for AWS over HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::run;
use crate::{IMAGES, Templates, published, python, user_data};

/// What there is after all stacks were made.
pub struct Cluster {
    found: Value,
}

/// Launches masters, private and public agents.
pub fn cluster(templates: &Templates, masters: usize) -> Cluster {
    let mut launch = python("launch.py");
    launch.arg(templates.directory()).arg("eu-central-1").arg(masters.to_string());
    Cluster { found: serde_json::from_str(&run(&mut launch)).unwrap() }
}

impl Cluster {
    fn list(&self, name: &str) -> &[Value] {
        self.found[name].as_array().unwrap()
    }

    fn instances(&self, stack: &str) -> Vec<&Value> {
        self.list("instances").iter().filter(|instance| instance["stack"] == stack).collect()
    }

    /// Who lets whom in: group, source, protocol and port.
    pub fn rules(&self) -> BTreeSet<(String, String, String, i64)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let rule = |rule: &Value| {
            assert_eq!(rule[3], rule[4], "one port, or all of them");
            (text(&rule[0]), text(&rule[1]), text(&rule[2]), rule[3].as_i64().unwrap())
        };
        self.list("rules").iter().filter(|rule| rule[0] != "default VPC security group").map(rule).collect()
    }
}

#[test]
fn a_cluster_comes_up_as_the_templates_say() {
    let templates = Templates::of(&published());
    let cluster = cluster(&templates, 3);
    for (name, stack) in cluster.found["stacks"].as_object().unwrap() {
        assert_eq!(stack["status"], "CREATE_COMPLETE", "{name}");
    }
    for (stack, file, hosts, group) in [
        ("masters", "masters-3.yaml", 3, "masters"),
        ("private", "private-agents.yaml", 2, "private agents"),
        ("public", "public-agents.yaml", 2, "public agents"),
    ] {
        let instances = cluster.instances(stack);
        assert_eq!(instances.len(), hosts, "{stack}");
        let id = cluster.found["stacks"][stack]["id"].as_str().unwrap();
        for instance in instances {
            assert_eq!(instance["image"], IMAGES[2].1);
            assert_eq!(instance["type"], "m5.xlarge");
            assert_eq!(instance["groups"], json!([group]));
            assert_eq!(instance["tags"]["bake:disk"], "5a".repeat(32));
            assert_eq!(instance["user_data"], user_data(&templates.read(file), id));
        }
    }
    let addresses: Vec<_> = cluster.instances("masters").iter().map(|master| &master["address"]).collect();
    assert_eq!(addresses, ["10.0.0.10", "10.0.1.11", "10.0.2.12"]);
}

#[test]
fn machines_are_launched_with_secure_defaults() {
    let cluster = cluster(&Templates::of(&published()), 1);
    // The stand-in keeps what templates say of metadata and volumes, and gives its instances nothing of it.
    assert_eq!(cluster.list("templates").len(), 3);
    for template in cluster.list("templates") {
        let metadata = &template["MetadataOptions"];
        assert_eq!(metadata["HttpTokens"], "required");
        assert_eq!(metadata["HttpPutResponseHopLimit"], 1);
        let [volume] = &template["BlockDeviceMappings"].as_array().unwrap()[..] else { panic!("one volume") };
        assert_eq!(volume["DeviceName"], "/dev/xvda");
        assert_eq!(
            (&volume["Ebs"]["Encrypted"], &volume["Ebs"]["VolumeType"]),
            (&json!(true), &json!("gp3"))
        );
        assert_eq!(template.get("KeyName"), None);
        let kinds: Vec<_> = template["TagSpecifications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tags| &tags["ResourceType"])
            .collect();
        assert_eq!(kinds, ["instance", "volume"]);
    }
    // From everywhere, there is a way to the services on public agents, and none to anything else.
    let open: Vec<_> = cluster.rules().into_iter().filter(|rule| rule.1 == "0.0.0.0/0").collect();
    let services =
        |port| ("load balancer of the public agents".into(), "0.0.0.0/0".into(), String::from("tcp"), port);
    assert_eq!(open, [services(80), services(443)]);
    // What an instance may ask of AWS: to tell its own stack that it is well.
    for (stack, policies) in cluster.found["policies"].as_object().unwrap() {
        let statement = json!([{
            "Effect": "Allow", "Action": "cloudformation:SignalResource",
            "Resource": cluster.found["stacks"][stack]["id"],
        }]);
        assert_eq!(policies, &json!([statement]), "{stack}");
    }
    assert_eq!(cluster.found["policies"].as_object().unwrap().len(), 3);
}

#[test]
fn masters_have_an_internal_load_balancer_and_public_agents_one_that_clients_reach() {
    let cluster = cluster(&Templates::of(&published()), 1);
    let schemes: BTreeSet<_> = cluster
        .list("balancers")
        .iter()
        .map(|balancer| (balancer["Type"].as_str().unwrap(), balancer["Scheme"].as_str().unwrap()))
        .collect();
    assert_eq!(schemes, BTreeSet::from([("network", "internal"), ("network", "internet-facing")]));
    let targets: BTreeSet<_> = cluster
        .list("targets")
        .iter()
        .map(|group| (group["Port"].as_u64().unwrap(), group["HealthCheckPort"].as_str().unwrap()))
        .collect();
    let of_masters = [80, 443, 2181, 5050, 8080, 8181].map(|port| (port, "traffic-port"));
    let of_agents = [80, 443].map(|port| (port, "5051"));
    assert_eq!(targets, of_masters.into_iter().chain(of_agents).collect());
    let health: Vec<_> = cluster
        .list("groups")
        .iter()
        .map(|group| {
            (group["HealthCheckType"].as_str().unwrap(), group["TargetGroupARNs"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(health, [("EC2", 0), ("ELB", 2)]);
}
