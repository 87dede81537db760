//! Git as a child process that nothing but its arguments influences.
//!
//! No configuration of the system or the user, no hooks, no prompts, no submodules, no protocols that run
//! commands. What is left of the surroundings: where programs are, and how SSH proves who asks.

#![expect(clippy::disallowed_methods, reason = "git is run, and finds SSH's key in the user's environment")]

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::FetchOptions;
use super::error::FetchProblem;

/// How much of what git said last is repeated.
const SHOWN: usize = 2000;

/// What of the surroundings git sees.
const ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "SSH_AUTH_SOCK"];

/// Settings that hold for every command, whatever a repository's own configuration says.
const SETTINGS: [&str; 18] = [
    "advice.detachedHead=false",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.excludesFile=/dev/null",
    "core.fileMode=true",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.logAllRefUpdates=false",
    "core.symlinks=true",
    "credential.helper=",
    // A pack comes whole or not at all; loose objects of a killed fetch could be a commit without its files.
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "http.lowSpeedLimit=1",
    "maintenance.auto=false",
    // Asking for a commit by its id needs nobody's permission in this one.
    "protocol.version=2",
    "submodule.recurse=false",
    "transfer.fsckObjects=false",
];

/// How git is run.
pub(super) struct Git<'a>(pub &'a FetchOptions);

impl Git<'_> {
    /// Runs git in `directory` and gives what it printed.
    pub fn run<A: AsRef<OsStr>>(&self, directory: &Path, arguments: &[A]) -> Result<String, FetchProblem> {
        let output = self.output(directory, arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(FetchProblem::Git {
            command: arguments[0].as_ref().to_string_lossy().into_owned(),
            message: said(&output),
        })
    }

    /// Runs git in `directory` to learn whether something is so.
    pub fn test<A: AsRef<OsStr>>(&self, directory: &Path, arguments: &[A]) -> Result<bool, FetchProblem> {
        Ok(self.output(directory, arguments)?.status.success())
    }

    fn output<A: AsRef<OsStr>>(&self, directory: &Path, arguments: &[A]) -> Result<Output, FetchProblem> {
        let options = self.0;
        let mut command = Command::new(&options.git);
        command.env_clear().stdin(Stdio::null());
        for name in ENVIRONMENT {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        command.arg("-C").arg(directory);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("http.lowSpeedTime={}", options.stall_timeout.as_secs().max(1)));
        command.arg("-c").arg(format!("http.userAgent={}", options.user_agent));
        if let Some(proxy) = &options.proxy {
            command
                .arg("-c")
                .arg(format!("http.proxy={}", proxy.url))
                .env("no_proxy", proxy.except.join(","));
        }
        if let Some(path) = &options.certificates {
            let mut setting = std::ffi::OsString::from("http.sslCAInfo=");
            setting.push(path);
            command.arg("-c").arg(setting);
        }
        match command.args(arguments).output() {
            Ok(output) => Ok(output),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FetchProblem::NoGit { program: options.git.display().to_string() })
            }
            Err(error) => Err(FetchProblem::io("running", &options.git)(error)),
        }
    }
}

/// The end of what git complained about.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    if text.is_empty() {
        return output.status.to_string();
    }
    let start = text.char_indices().rev().take(SHOWN).last().map_or(0, |(at, _)| at);
    text[start..].to_owned()
}
