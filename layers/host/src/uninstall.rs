//! The removal of everything that was ever made, by the record, and of nothing else.
//!
//! It is a change of the host like any other: the services stop, and a generation becomes current that says that
//! this is the end. From then on whoever comes, be it the next boot or the same command, goes on: units and files,
//! users, state, then the install root but for what is needed to go on, then what starts it at boot, and the rest of
//! the install root last, with the record as its last file.

mod begin;
mod home;
mod outside;
mod plan;

use std::path::Path;

use bake_tree::TreePath;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::created::{self, CREATED, Record, STATE, is_unrecorded};
use crate::generation::CURRENT;
use crate::host::{HOME, Host, Lock};
use crate::place::{Root, path};
use crate::systemd::TARGET;
use crate::{Failure, setup};

pub use plan::Plan;

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// What was done, in order.
    pub done: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<String>,
}

/// What is to be removed from where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The root of the host.
    pub root: &'a Path,
    /// Whether to stop services.
    pub systemd: bool,
    /// Leave state directories, and the users that own what is in them.
    pub keep_state: bool,
}

/// What a host holds of an installation.
enum Found {
    /// All of one, or one whose removal was committed.
    Host(Box<Host>),
    /// One that nobody can tell the generation of, but what was made for it.
    Headless(Box<Host>),
    /// One that is all but gone.
    Rest,
    /// Nothing.
    Nothing,
}

/// What [`run`] would remove.
///
/// # Errors
/// When nothing is installed, or it cannot be told what was made.
pub fn plan(request: &Request) -> Result<Plan, Failure> {
    let root = Root::open(request.root)?;
    match find(&root, request)? {
        Found::Host(host) => plan::of(&host, request.keep_state),
        Found::Headless(host) => plan::headless(&host, request.keep_state),
        Found::Rest => Ok(Plan::rest()),
        Found::Nothing => Err(nothing(&root)),
    }
}

/// Removes everything, or what an earlier run has left of it.
///
/// # Errors
/// When nothing is installed, or something cannot be removed: the same command goes on from there.
pub fn run(request: &Request, step: &mut dyn FnMut(&str)) -> Result<Removed, Failure> {
    let root = Root::open(request.root)?;
    let mut done = Vec::new();
    let mut say = |what: String| {
        step(&what);
        done.push(what);
    };
    let kept = match find(&root, request)? {
        Found::Nothing => return Err(nothing(&root)),
        Found::Rest => {
            let parent = root.make(&path("opt"))?;
            match rustix::fs::flock(&parent, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    return Err(Failure::new("another run is at work: wait until it has ended"));
                }
                result => result.map_err(Failure::io("locking", root.shown(&path("opt"))))?,
            }
            let record = Record::read(&root, &path(HOME))?;
            home::leave(&root, &parent, &record, &mut say)?
        }
        Found::Headless(host) => {
            let _lock = host.lock(false)?;
            headless(&host, request.keep_state, &mut say)?
        }
        Found::Host(host) => {
            let lock = host.lock(false)?;
            let mut kept = record_again(&host, &mut say)?;
            kept.extend(begin::begin(&host, &lock, request.keep_state, &mut say)?);
            kept.extend(resume(&host, &lock, &mut say)?);
            kept
        }
    };
    Ok(Removed { done, kept })
}

/// Goes on with a removal that was committed, to the end. Says what stays, and why.
///
/// # Errors
/// When something cannot be removed.
pub fn resume(host: &Host, _lock: &Lock, say: &mut dyn FnMut(String)) -> Result<Vec<String>, Failure> {
    let present = host.current()?;
    if !present.generation.removing {
        return Err(Failure::new("nothing is being removed from this host"));
    }
    let root = &host.root;
    let record = Record::read(root, &path(HOME))?;
    setup::withdraw_units(host, &present, say)?;
    let mut kept = outside::remove(root, &record, say)?;
    home::thin(host, &present)?;
    outside::disable(root, &record, say)?;
    host.systemd.reload()?;
    kept.extend(outside::directories(root, &record, say)?);
    let parent = root.make(&path("opt"))?;
    kept.extend(home::leave(root, &parent, &record, say)?);
    Ok(kept)
}

/// Removes what was made for an installation whose current generation is lost or damaged. No generation says that this
/// is the end, so a boot does not go on with it, but the same command does.
fn headless(host: &Host, keep_state: bool, say: &mut dyn FnMut(String)) -> Result<Vec<String>, Failure> {
    let root = &host.root;
    let mut record = Record::read(root, &path(HOME))?;
    let mut kept = begin::keep(root, &mut record, keep_state)?;
    host.systemd.stop([TARGET])?;
    kept.extend(outside::remove(root, &record, say)?);
    outside::disable(root, &record, say)?;
    host.systemd.reload()?;
    kept.extend(outside::directories(root, &record, say)?);
    let parent = root.make(&path("opt"))?;
    kept.extend(home::leave(root, &parent, &record, say)?);
    Ok(kept)
}

/// Writes down again what was made on a host that has lost the record, as far as its generation tells. Says what stays
/// because nobody can tell any more.
fn record_again(host: &Host, say: &mut dyn FnMut(String)) -> Result<Vec<String>, Failure> {
    let present = host.current()?;
    if created::lies_there(&host.root, &path(HOME).join(CREATED.as_bytes()))? || present.generation.removing {
        return Ok(Vec::new());
    }
    say(format!("{CREATED} is missing: only what is as its generation says is removed"));
    created::rebuild(&host.root, &plan::made(&present)?)?;
    let who = "nobody can tell who made it";
    let users = present.generation.users.keys().map(|user| format!("the user {user}: {who}"));
    let state = present.generation.state_directories.keys();
    Ok(users.chain(state.map(|name| format!("/{STATE}/{name}: {who}"))).collect())
}

fn nothing(root: &Root) -> Failure {
    Failure::new(format!("nothing is installed: `{}` is not there", root.shown(&path(HOME))))
}

fn find(root: &Root, request: &Request) -> Result<Found, Failure> {
    let there = |at: &TreePath| created::lies_there(root, at);
    let (home, opt) = (path(HOME), path("opt"));
    if created::physical(root, &home.join(CREATED.as_bytes()))?.split().is_none_or(|(at, _)| at.is_root()) {
        let shown = root.shown(&home);
        return Err(Failure::new(format!("`{shown}` leads to the root itself: expected a directory below")));
    }
    let open = || Host::open(request.root, request.systemd).map(Box::new);
    let is_recorded = there(&home.join(CREATED.as_bytes()))?;
    if there(&home.join(CURRENT.as_bytes()))? {
        let host = open()?;
        let is_fit = host.current().is_ok();
        return Ok(if is_fit || !is_recorded { Found::Host(host) } else { Found::Headless(host) });
    }
    if there(&home.join(home::MOVING))? {
        let shown = root.shown(&home);
        let message =
            format!("an installation in `{shown}` was not finished: `pkgpanda install` goes on with it");
        return Err(Failure::new(message));
    }
    if is_recorded {
        return Ok(Found::Headless(open()?));
    }
    for at in &[opt.join(home::GONE), opt.join(home::STAGE)] {
        if there(at)? {
            return Ok(Found::Rest);
        }
    }
    let parent = root.find(&opt)?;
    let made = parent.map(|parent| is_unrecorded(&parent)).transpose();
    let made = made.map_err(Failure::io("reading", root.shown(&opt)))?;
    Ok(if made == Some(true) { Found::Rest } else { Found::Nothing })
}
