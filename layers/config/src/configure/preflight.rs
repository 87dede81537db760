//! What a host must be like, as parameters say it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Effective;
use crate::installer::Preflight;

/// The preflight of a configuration.
pub(super) fn preflight(effective: &Effective) -> Preflight {
    let texts = |name: &str| -> Vec<String> {
        let list = effective.get(name).and_then(Value::as_array);
        list.into_iter().flatten().map(text).collect()
    };
    let ports = |name: &str| -> Vec<u16> {
        let list = effective.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|port| u16::try_from(port.as_u64()?).ok()).collect()
    };
    let agents = ports("preflight_ports_agent");
    let sysctls = effective.get("preflight_sysctls").and_then(Value::as_object);
    Preflight {
        docker: effective.get("preflight_docker").and_then(Value::as_bool).unwrap_or(true),
        commands: texts("preflight_commands"),
        ports: BTreeMap::from([
            ("master".to_owned(), ports("preflight_ports_master")),
            ("slave".to_owned(), agents.clone()),
            ("slave_public".to_owned(), agents),
        ]),
        free_space_mb: effective.get("preflight_free_space_mb").and_then(Value::as_u64).unwrap_or(0),
        sysctls: sysctls.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect(),
        modules: texts("preflight_modules"),
        work_directories: effective.get("mesos_agent_work_dir").map(text).into_iter().collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
