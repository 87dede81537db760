//! Mesos: isolators, hooks and logs.

use serde_json::{Value, json};

use super::generic::named;
use super::{Named, View};

/// What every container is isolated by.
const ISOLATORS: &[&str] = &[
    "cgroups/all",
    "disk/du",
    "network/cni",
    "filesystem/linux",
    "docker/runtime",
    "docker/volume",
    "volume/sandbox_path",
    "volume/secret",
    "posix/rlimits",
    "namespaces/pid",
    "linux/capabilities",
    "com_mesosphere_MetricsIsolatorModule",
];

pub(super) const NAMED: &[Named] = &[
    named("mesos_isolation", &["enable_gpu_isolation", "mesos_seccomp_enabled"], isolation),
    named("mesos_hooks", &["dcos_remove_dockercfg_enable"], |view| {
        let remover = view.flag("dcos_remove_dockercfg_enable");
        Ok(json!(if remover { "com_mesosphere_dcos_RemoverHook" } else { "" }))
    }),
    named("use_mesos_hooks", &["mesos_hooks"], |view| Ok(json!(!view.text("mesos_hooks").is_empty()))),
    named("fair_sharing_excluded_resource_names", &["gpus_are_scarce"], |view| {
        Ok(json!(if view.flag("gpus_are_scarce") { "gpus" } else { "" }))
    }),
    named("mesos_log_retention_count", &["mesos_log_retention_mb"], retention),
    named("mesos_log_directory_max_files", &["mesos_log_retention_count"], |view| {
        Ok(json!(25 + view.number("mesos_log_retention_count")))
    }),
];

#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn isolation(view: &View) -> Result<Value, String> {
    let mut isolators = ISOLATORS.to_vec();
    if view.flag("enable_gpu_isolation") {
        isolators.extend(["cgroups/devices", "gpu/nvidia"]);
    }
    if view.flag("mesos_seccomp_enabled") {
        isolators.push("linux/seccomp");
    }
    Ok(json!(isolators.join(",")))
}

/// Half a gigabyte is for the file that is written; a rotated one is compressed to a tenth of its 256 MB.
fn retention(view: &View) -> Result<Value, String> {
    let megabytes = view.number("mesos_log_retention_mb");
    let rotations =
        megabytes.checked_sub(512).and_then(|rest| rest.checked_mul(10)).map(|tenths| tenths / 256);
    rotations.map(|rotations| json!(1 + rotations)).ok_or_else(|| format!("{megabytes} MB are too many"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::support::{calculate, fails};

    #[test]
    fn isolators_follow_switches() {
        let base = "cgroups/all,disk/du,network/cni,filesystem/linux,docker/runtime,docker/volume,\
                    volume/sandbox_path,volume/secret,posix/rlimits,namespaces/pid,linux/capabilities,\
                    com_mesosphere_MetricsIsolatorModule";
        for (gpu, seccomp, more) in [
            (false, false, ""),
            (true, false, ",cgroups/devices,gpu/nvidia"),
            (false, true, ",linux/seccomp"),
            (true, true, ",cgroups/devices,gpu/nvidia,linux/seccomp"),
        ] {
            let values = json!({"enable_gpu_isolation": gpu, "mesos_seccomp_enabled": seccomp});
            assert_eq!(calculate("mesos_isolation", values), json!(format!("{base}{more}")));
        }
    }

    #[test]
    fn logs_keep_to_their_budget() {
        for (megabytes, rotations) in [(1024, 21), (1025, 21), (4000, 137), (10_000, 371)] {
            let count = calculate("mesos_log_retention_count", json!({"mesos_log_retention_mb": megabytes}));
            assert_eq!(count, json!(rotations), "{megabytes}");
        }
        let files = calculate("mesos_log_directory_max_files", json!({"mesos_log_retention_count": 137}));
        assert_eq!(files, json!(162));
        let message = fails("mesos_log_retention_count", json!({"mesos_log_retention_mb": i64::MAX}));
        assert!(message.ends_with("are too many"), "{message}");
    }

    #[test]
    fn hooks_and_sharing() {
        let hook = calculate("mesos_hooks", json!({"dcos_remove_dockercfg_enable": true}));
        assert_eq!(hook, json!("com_mesosphere_dcos_RemoverHook"));
        assert_eq!(calculate("mesos_hooks", json!({"dcos_remove_dockercfg_enable": false})), json!(""));
        assert_eq!(calculate("use_mesos_hooks", json!({"mesos_hooks": hook})), json!(true));
        assert_eq!(calculate("use_mesos_hooks", json!({"mesos_hooks": ""})), json!(false));
        let name = "fair_sharing_excluded_resource_names";
        assert_eq!(calculate(name, json!({"gpus_are_scarce": true})), json!("gpus"));
        assert_eq!(calculate(name, json!({"gpus_are_scarce": false})), json!(""));
    }
}
