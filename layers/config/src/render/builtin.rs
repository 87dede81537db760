//! The files that are built in.

/// Their list.
pub const FILES: &str = include_str!("../../files.toml");

/// Their templates, by name.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("add_dcos_path.sh", include_str!("../../templates/add_dcos_path.sh")),
    ("check_ip", include_str!("../../templates/check_ip")),
    ("check_time.env", include_str!("../../templates/check_time.env")),
    ("config.pkginfo.json", include_str!("../../templates/config.pkginfo.json")),
    ("dcos-check-config.json", include_str!("../../templates/dcos-check-config.json")),
    ("dcos-version.json", include_str!("../../templates/dcos-version.json")),
    ("detect_fault_domain", include_str!("../../templates/detect_fault_domain")),
    ("detect_ip", include_str!("../../templates/detect_ip")),
    ("detect_ip6", include_str!("../../templates/detect_ip6")),
    ("detect_ip_public", include_str!("../../templates/detect_ip_public")),
    ("dns_config", include_str!("../../templates/dns_config")),
    ("dns_config_master", include_str!("../../templates/dns_config_master")),
    ("dns_search_config", include_str!("../../templates/dns_search_config")),
    ("docker_credentials", include_str!("../../templates/docker_credentials")),
    ("exhibitor-azure.properties", include_str!("../../templates/exhibitor-azure.properties")),
    ("exhibitor-s3.properties", include_str!("../../templates/exhibitor-s3.properties")),
    ("exhibitor_realm", include_str!("../../templates/exhibitor_realm")),
    ("expanded.config.full.json", include_str!("../../templates/expanded.config.full.json")),
    ("expanded.config.json", include_str!("../../templates/expanded.config.json")),
    ("extra_master_addresses", include_str!("../../templates/extra_master_addresses")),
    ("journald.conf", include_str!("../../templates/journald.conf")),
    ("license.txt", include_str!("../../templates/license.txt")),
    ("master_count", include_str!("../../templates/master_count")),
    ("master_list", include_str!("../../templates/master_list")),
    ("metadata.pkginfo.json", include_str!("../../templates/metadata.pkginfo.json")),
    ("profile.sh", include_str!("../../templates/profile.sh")),
    ("proxy.env", include_str!("../../templates/proxy.env")),
    ("repository-url", include_str!("../../templates/repository-url")),
    ("user.config.full.yaml", include_str!("../../templates/user.config.full.yaml")),
    ("user.config.yaml", include_str!("../../templates/user.config.yaml")),
];
