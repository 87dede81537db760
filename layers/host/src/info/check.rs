//! The rules of `pkginfo.json` that concern one package alone.

use super::{InfoProblem, PkgInfo};
use crate::unit;

/// Variables that an install root gives itself.
const RESERVED: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// Variables that bash refuses to change: reading `environment.export` would fail half-way.
const READ_ONLY: [&str; 6] = ["BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"];

impl PkgInfo {
    /// Everything about it that no host accepts, whoever else is there; sorted by key.
    pub fn check(&self) -> Vec<InfoProblem> {
        self.check_with(self.username.is_some())
    }

    /// Like [`PkgInfo::check`], when a user was given but had no valid name.
    pub(super) fn check_with(&self, has_user: bool) -> Vec<InfoProblem> {
        let mut problems = Vec::new();
        for (name, value) in &self.environment {
            let key = format!("environment.{}", shown(name));
            if let Some(message) = variable(name) {
                problems.push(InfoProblem::new(&key, message));
            }
            if let Some(message) = text(value) {
                problems.push(InfoProblem::new(key, message));
            }
        }
        if self.group.is_some() && !has_user {
            let message = "is given without `username`: add the user whose group it is, or leave it out";
            problems.push(InfoProblem::new("group", message));
        }
        for (service, settings) in &self.sysctl {
            let key = format!("sysctl.{}", shown(service));
            if !unit::is_name(&format!("{service}.service")) {
                let message = "is no service: expected the name of a unit without `.service`";
                problems.push(InfoProblem::new(&key, message));
            }
            for (name, value) in settings {
                let key = format!("{key}.{}", shown(name));
                if !is_setting(name) {
                    let message = "is no kernel setting: expected a key such as net.ipv4.ip_forward";
                    problems.push(InfoProblem::new(&key, message));
                }
                if let Some(message) = text(value) {
                    problems.push(InfoProblem::new(key, message));
                }
            }
        }
        problems.sort();
        problems
    }
}

/// Hostile text as a part of a key in a message: printable, and short.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What is wrong with the name of a variable.
fn variable(name: &str) -> Option<&'static str> {
    if RESERVED.contains(&name) {
        return Some("is set by the install root itself, like LD_LIBRARY_PATH and PATH: choose another name");
    }
    if READ_ONLY.contains(&name) {
        return Some("cannot be set in bash: choose another name");
    }
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let fine = word && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit());
    (!fine).then_some("is no name of a variable: expected letters, digits and `_`, beginning with no digit")
}

/// What is wrong with a value. systemd drops an assignment with any control character but a tab.
fn text(value: &str) -> Option<String> {
    let control = value.chars().find(|c| c.is_ascii_control() && *c != '\t')?;
    Some(format!(
        "has the control character U+{:04X} in its value: expected one line of text",
        control as u32
    ))
}

/// Whether `sysctl -w` takes it for a key and for nothing else, such as an option or a path out of `/proc/sys`.
fn is_setting(key: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@:".contains(&byte);
    key.bytes().all(fine)
        && key.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !key.ends_with(['.', '/'])
        && !["..", "//", "./", "/."].iter().any(|gap| key.contains(gap))
}
