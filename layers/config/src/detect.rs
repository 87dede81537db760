//! Scripts that find a host's addresses and its fault domain.
//!
//! They are taken as they are, checked for what can be checked without running them, and run only on hosts.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The largest script that is taken.
const LARGEST: usize = 64 * 1024;

/// The ready scripts by name.
const READY: &[(&str, &str)] = &[
    ("aws", include_str!("../detect/aws")),
    ("aws-fault-domain", include_str!("../detect/aws-fault-domain")),
    ("aws-public", include_str!("../detect/aws-public")),
    ("azure", include_str!("../detect/azure")),
    ("azure-fault-domain", include_str!("../detect/azure-fault-domain")),
    ("azure-public", include_str!("../detect/azure-public")),
    ("gce", include_str!("../detect/gce")),
    ("gce-fault-domain", include_str!("../detect/gce-fault-domain")),
    ("gce-public", include_str!("../detect/gce-public")),
    ("interface/NAME", include_str!("../detect/interface")),
    ("route", include_str!("../detect/route")),
];
/// The longest name that Linux lets an interface have.
const LONGEST_INTERFACE: usize = 15;
/// What stands for the interface in its script.
const INTERFACE: &str = "interface=lo\n";

/// The names of the ready scripts, as `ready:NAME` takes them.
pub fn ready() -> Vec<&'static str> {
    READY.iter().map(|(name, _)| *name).collect()
}

/// The script that `path` names: `ready:NAME` for one that is shipped, or a file that `reader` reads.
pub fn load(path: &str, reader: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    let bytes = match path.strip_prefix("ready:") {
        Some(name) => shipped(name)?.into_bytes(),
        None => reader(path)?,
    };
    if bytes.len() > LARGEST {
        return Err(format!("`{path}` has {} bytes; a script may have {LARGEST}", bytes.len()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        format!("`{path}` is not UTF-8 in line {line}")
    })?;
    if text.contains('\0') {
        return Err(format!("`{path}` has a NUL byte; expected a script"));
    }
    if !text.starts_with("#!/") {
        return Err(format!(
            "`{path}` does not begin with `#!` and an interpreter, such as `#!/usr/bin/env bash`"
        ));
    }
    if text.lines().next().is_some_and(|first| first.ends_with('\r')) || text.contains("\r\n") {
        return Err(format!("`{path}` has lines that end as on Windows; save it with plain line feeds"));
    }
    Ok(bytes)
}

fn shipped(name: &str) -> Result<String, String> {
    if let Some(interface) = name.strip_prefix("interface/") {
        let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        if interface.is_empty()
            || interface.len() > LONGEST_INTERFACE
            || interface.starts_with(['-', '.'])
            || interface.contains(odd)
        {
            return Err(format!("`ready:{name}` names no network interface; expected one such as `eth0`"));
        }
        let (_, script) = READY[READY.len() - 2];
        return Ok(script.replacen(INTERFACE, &format!("interface={}\n", quote(interface)), 1));
    }
    let found = READY.iter().find(|(ready, _)| *ready == name);
    found.map(|(_, script)| (*script).to_owned()).ok_or_else(|| {
        let all: Vec<_> = ready().iter().map(|name| format!("ready:{name}")).collect();
        format!("`ready:{name}` is not shipped; there are {}", all.join(", "))
    })
}

/// A word of bash that means exactly this text.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether bash can read a script; it does not run it. Scripts for other interpreters are not read.
#[expect(clippy::disallowed_methods, reason = "bash judges a script, and runs nothing of it")]
pub fn check_syntax(script: &[u8]) -> Result<(), String> {
    if !is_shell(script) {
        return Ok(());
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "cannot be checked: there is no `bash` in /usr/local/bin, /usr/bin or /bin; install it".to_owned()
        }
        _ => format!("cannot be checked by bash: {error}"),
    };
    let bash = ["/usr/local/bin/bash", "/usr/bin/bash", "/bin/bash"];
    let bash = bash.into_iter().find(|bash| std::path::Path::new(bash).is_file()).unwrap_or("/bin/bash");
    let mut child = Command::new(bash)
        .args(["--norc", "--noprofile", "-n", "-s"])
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Bash stops reading where it stops understanding: a pipe that breaks is no failure of its own. A script is
    // no larger than what a pipe holds, so nothing waits for what bash writes.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(script));
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> =
        said.lines().map(|line| line.trim_start_matches(bash).trim_start_matches(": ")).collect();
    let first = said.first().copied().unwrap_or("it gave no reason");
    Err(format!("is no script that bash understands: {}", first.escape_debug()))
}

/// Whether the first line names a shell that bash can judge.
fn is_shell(script: &[u8]) -> bool {
    let first = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let words =
        first.trim_start_matches("#!").split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let mut programs = words.filter(|word| *word != "env" && !word.starts_with('-'));
    matches!(programs.next(), Some("sh" | "bash" | "dash"))
}

#[cfg(test)]
mod tests {
    use super::{check_syntax, load, ready};

    fn read(text: &'static [u8]) -> Result<Vec<u8>, String> {
        load("genconf/ip-detect", &|_| Ok(text.to_vec()))
    }

    #[test]
    fn a_script_is_taken_as_it_is() {
        assert_eq!(read(b"#!/bin/sh\necho \xc3\xa9\n").unwrap(), b"#!/bin/sh\necho \xc3\xa9\n");
    }

    #[test]
    fn what_is_no_script_is_refused() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "`genconf/ip-detect` does not begin with `#!`"),
            (b"echo 192.0.2.1\n", "`genconf/ip-detect` does not begin with `#!`"),
            (b"\xef\xbb\xbf#!/bin/sh\n", "`genconf/ip-detect` does not begin with `#!`"),
            (b"#!/bin/sh\n\xff\n", "`genconf/ip-detect` is not UTF-8 in line 2"),
            (b"#!/bin/sh\n\0", "`genconf/ip-detect` has a NUL byte"),
            (b"#!/bin/sh\r\necho\r\n", "`genconf/ip-detect` has lines that end as on Windows"),
        ];
        for (text, expected) in cases {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
        let large = [b"#!/bin/sh\n".to_vec(), vec![b'#'; 64 * 1024]].concat();
        let message = load("x", &|_| Ok(large.clone())).unwrap_err();
        assert_eq!(message, "`x` has 65546 bytes; a script may have 65536");
        assert_eq!(load("x", &|_| Err("is gone".to_owned())).unwrap_err(), "is gone");
    }

    #[test]
    fn ready_ones_are_shipped() {
        for name in ready() {
            let name = name.replace("NAME", "eth0");
            let script = load(&format!("ready:{name}"), &|_| Err("no file".to_owned())).unwrap();
            check_syntax(&script).unwrap();
        }
        let message = load("ready:ec2", &|_| Err("no file".to_owned())).unwrap_err();
        assert!(message.starts_with("`ready:ec2` is not shipped; there are ready:aws, "), "{message}");
    }

    #[test]
    fn an_interface_is_quoted() {
        let text = |name: &str| {
            let script = load(&format!("ready:interface/{name}"), &|_| Err(String::new()))?;
            Ok::<_, String>(String::from_utf8(script).unwrap())
        };
        assert!(text("eth0").unwrap().contains("\ninterface='eth0'\n"));
        assert!(text("a'$(id)").unwrap().contains("\ninterface='a'\\''$(id)'\n"));
        for odd in ["", "a/b", "a b", "-x", ".", "a\nb", "0123456789abcdef"] {
            let message = text(odd).unwrap_err();
            assert!(message.contains("names no network interface"), "{message}");
        }
    }

    #[test]
    fn bash_reads_but_does_not_run() {
        check_syntax(b"#!/bin/sh\nexit 3\n").unwrap();
        check_syntax(b"#!/usr/bin/env -S bash -e\nkill $$\n").unwrap();
        let message = check_syntax(b"#!/bin/bash\nif true; then\n").unwrap_err();
        assert!(message.starts_with("is no script that bash understands: line 3:"), "{message}");
        let message = check_syntax(b"#!/bin/bash\necho $(\n").unwrap_err();
        assert!(message.contains("unexpected"), "{message}");
        check_syntax(b"#!/usr/bin/python3\nif True:\n    pass\n").unwrap();
    }
}
