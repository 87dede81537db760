//! Every parameter of the reference: that it is known, with which default, and what it takes and refuses.

use std::collections::BTreeSet;

use bake_config::{Parameter, Place, Table, Who, yaml};
use serde_json::Value;

const PARAMETERS: &str = include_str!("section15/parameters.txt");
const RULES: &str = include_str!("section15/rules.txt");

/// Names that are not in the reference but in the table.
const OWN: &[&str] = &[
    "preflight_commands",
    "preflight_docker",
    "preflight_free_space_mb",
    "preflight_modules",
    "preflight_ports_agent",
    "preflight_ports_master",
    "preflight_sysctls",
];

fn rows(text: &str, columns: usize) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.splitn(columns, " | ").collect()).collect()
}

fn written(parameter: &Parameter, text: &str) -> Result<Value, String> {
    let node = yaml::scalar(text, &Place::file("test")).map_err(|problems| problems.to_string())?;
    parameter.check(&node).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_parameter_is_known_with_its_default() {
    let table = Table::builtin().unwrap();
    let mut names: BTreeSet<&str> = OWN.iter().copied().collect();
    for row in rows(PARAMETERS, 3) {
        let [name, who, default] = row[..] else { panic!("{row:?}") };
        let known = table.parameters.get(name).unwrap_or_else(|| panic!("`{name}` is not known"));
        let expected = match who {
            "operator" | "required" | "secret" => Who::Operator,
            "internal" => Who::Internal,
            "calculated" => Who::Calculated,
            other => panic!("{other}"),
        };
        assert_eq!(known.who, expected, "{name}");
        assert_eq!(known.required, who == "required", "{name}");
        // What holds everything holds secrets.
        assert_eq!(known.secret, who == "secret" || name.ends_with("_full"), "{name}");
        match default {
            "-" | "environment" => assert_eq!((&known.default, &known.rule), (&None, &None), "{name}"),
            // From others by a rule, or given by what is configured; such a thing has no default of its own.
            "calculated" => assert_eq!(known.default, None, "{name}"),
            json => assert_eq!(known.default, Some(serde_json::from_str(json).unwrap()), "{name}"),
        }
        assert!(names.insert(name), "{name} is there twice");
    }
    let table: Vec<_> = table.parameters.keys().map(String::as_str).collect();
    assert_eq!(table, names.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_parameter_that_is_set_takes_what_it_should_and_refuses_the_rest() {
    let table = Table::builtin().unwrap();
    let mut tested = vec![];
    let mut wrong = vec![];
    for row in rows(RULES, 4) {
        let [name, good, bad, message] = row[..] else { panic!("{row:?}") };
        let parameter = &table.parameters[name];
        for good in good.split(" ; ") {
            match written(parameter, good) {
                // The one form of a value is itself a way to write it.
                Ok(value) => assert_eq!(written(parameter, &value.to_string()), Ok(value), "{name}: {good}"),
                Err(said) => wrong.push(format!("{name} refuses {good}: {said}")),
            }
        }
        match written(parameter, bad) {
            Ok(value) => wrong.push(format!("{name} takes {bad} as {value}")),
            Err(said) if said.contains(message) => {}
            Err(said) => wrong.push(format!("{name} refuses {bad} for another reason: {said}")),
        }
        tested.push(name);
    }
    assert_eq!(wrong, Vec::<String>::new());
    let of_operator =
        |parameter: &&Parameter| parameter.who == Who::Operator && !OWN.contains(&&*parameter.name);
    let untested: Vec<_> = table
        .parameters
        .values()
        .filter(of_operator)
        .filter(|parameter| !tested.contains(&&*parameter.name))
        .map(|parameter| &parameter.name)
        .collect();
    assert_eq!(untested, Vec::<&String>::new());
}

#[test]
fn names_of_older_installers_are_retired() {
    let table = Table::builtin().unwrap();
    let retired: Vec<_> = table.retired.keys().map(String::as_str).collect();
    let expected = "agent_list aws_template_storage_access_key_id aws_template_storage_bucket \
                    aws_template_storage_bucket_path aws_template_storage_bucket_path_autocreate \
                    aws_template_storage_region_name aws_template_storage_secret_access_key \
                    aws_template_upload extra_ssh_options os_type process_timeout public_agent_list roles \
                    ssh_key_path ssh_parallelism ssh_port ssh_user";
    assert_eq!(retired.join(" "), expected);
}
