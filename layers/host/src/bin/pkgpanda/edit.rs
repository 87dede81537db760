//! `pkgpanda edit`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_host::edit::{self, Draft, Edited, Target};
use bake_host::host::Host;
use bake_host::overrides::LOCAL;
use bake_host::{Failure, overrides};
use clap::Args;
use serde_json::json;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pkgpanda edit bin/tool                              opens it in $VISUAL, $EDITOR or vi, if this is a terminal
  pkgpanda edit /opt/mesosphere/etc/app.conf --from new.conf --keep site
  pkgpanda edit dcos-net.service --no-editor          makes a copy to change, and says where it is; once that is
                                                      changed, `pkgpanda setup` gives it to systemd
  pkgpanda edit --list
  pkgpanda edit --drop bin/tool                       the file is again that of the package

The package store stays as it is: `pkgpanda rollback` undoes an edit, `audit` tells of it, and `repair` undoes those
that have no name.")]
pub(crate) struct EditArgs {
    /// The file: below /opt/mesosphere, by whatever links; or a unit in /run/systemd/system, or its name
    #[arg(value_name = "PATH", required_unless_present = "list")]
    path: Option<OsString>,
    /// Name the override, such as site: `repair` keeps what has a name
    #[arg(long, value_name = "NAME", value_parser = name)]
    keep: Option<String>,
    /// Take what is in this file; `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "no_editor")]
    from: Option<PathBuf>,
    /// Open no editor: the copy holds what the file holds now
    #[arg(long)]
    no_editor: bool,
    /// List what has been changed
    #[arg(long, conflicts_with_all = ["path", "keep", "from", "no_editor", "drop"])]
    list: bool,
    /// Undo the edit: the file is again that of the package
    #[arg(long, conflicts_with_all = ["keep", "from", "no_editor"])]
    drop: bool,
}

fn name(text: &str) -> Result<String, String> {
    let expected = || format!("expected {}", overrides::NAME);
    overrides::is_name(text).then(|| text.to_owned()).ok_or_else(expected)
}

pub(crate) fn edit(global: &Global, args: &EditArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let Some(path) = args.path.as_ref().filter(|_| !args.list) else { return list(global, &host) };
    let say = &mut |step: String| global.say(&step);
    let find = || Target::find(&host, &host.current()?, path);
    if args.drop {
        let lock = host.lock(false)?;
        let edited = edit::drop(&host, &lock, &find()?, say)?;
        return done(global, &edited);
    }
    let keep = args.keep.as_deref();
    let edited = match &args.from {
        Some(from) => {
            let mut content = open(from)?;
            let lock = host.lock(false)?;
            edit::edit(&host, &lock, &find()?, keep, Some(&mut content), say)?
        }
        None if args.no_editor || global.json || !io::stdin().is_terminal() => {
            let lock = host.lock(false)?;
            edit::edit(&host, &lock, &find()?, keep, None, say)?
        }
        None => match by_hand(&host, &find()?, keep, say)? {
            Some(edited) => edited,
            None => return print("nothing is changed"),
        },
    };
    done(global, &edited)
}

/// Has the operator change a draft, while others may change the host.
fn by_hand(
    host: &Host,
    target: &Target,
    keep: Option<&str>,
    say: &mut dyn FnMut(String),
) -> Result<Option<Edited>, Failure> {
    let draft = Draft::new(host, target, keep.unwrap_or(LOCAL))?;
    let edited = run_editor(draft.path()).and_then(|()| draft.changed());
    let content = match edited {
        Ok(Some(content)) => Some(content),
        Ok(None) if keep.is_none() => None,
        Ok(None) => {
            let lock = host.lock(false)?;
            draft.discard()?;
            return edit::edit(host, &lock, target, keep, None, say).map(Some);
        }
        Err(failure) => {
            // The first failure is the one to tell.
            let _ = draft.discard();
            return Err(failure);
        }
    };
    let Some(mut content) = content else {
        draft.discard()?;
        return Ok(None);
    };
    let kept = |why: &str| Failure::new(format!("{why}; what you wrote is in `{}`", draft.path().display()));
    let lock = host.lock(false).map_err(|failure| kept(&failure.to_string()))?;
    if draft.is_behind(host, target)? {
        return Err(kept("the file has been changed by somebody else meanwhile: begin again"));
    }
    let edited = edit::edit(host, &lock, target, keep, Some(&mut content), say);
    let edited = edited.map_err(|failure| kept(&failure.to_string()))?;
    draft.discard()?;
    Ok(Some(edited))
}

/// Runs the operator's editor, which may have arguments, as other programs do.
#[expect(clippy::disallowed_methods, reason = "which editor an operator has is for them to say")]
fn run_editor(draft: &Path) -> Result<(), Failure> {
    let script = r#"eval "${VISUAL:-${EDITOR:-vi}}" '"$1"'"#;
    let status = Command::new("sh").args(["-c", script, "edit"]).arg(draft).status();
    let status = status.map_err(|error| Failure::new(format!("running an editor failed: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("the editor ended with {status}: nothing is changed")))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let failed = |error| Failure::new(format!("opening `{}` failed: {error}", path.display()));
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::new(format!("`{}` is no regular file", path.display())));
    }
    if metadata.len() > edit::LIMIT {
        let message = format!("`{}` has more than {} bytes", path.display(), edit::LIMIT);
        return Err(Failure::new(message));
    }
    Ok(Box::new(File::open(path).map_err(failed)?))
}

fn list(global: &Global, host: &Host) -> Result<(), Failure> {
    let listed = edit::list(&host.current()?);
    if global.json {
        return print_json(&json!({ "overrides": listed }));
    }
    listed.iter().try_for_each(|it| print(&format!("{} {} {}", it.name, it.package, it.path)))
}

fn done(global: &Global, edited: &Edited) -> Result<(), Failure> {
    if global.json {
        return print_json(edited);
    }
    edited.notes.iter().try_for_each(|note| print(&format!("note: {note}")))?;
    let Edited { package, path, copy, restart, .. } = edited;
    match &edited.name {
        Some(name) => print(&format!("override `{name}` of `{path}` of `{package}`: {copy}"))?,
        None => print(&format!("`{path}` of `{package}` is what the package has"))?,
    }
    if restart.is_empty() {
        return Ok(());
    }
    // systemd reads units from /run, where setup puts them: a copy that is changed from now on counts after that.
    let setup = if edited.unit && edited.name.is_some() { "pkgpanda setup && " } else { "" };
    let restart = restart.join(" ");
    print(&format!("to have it used by what is running: {setup}systemctl restart {restart}"))
}
