//! What PID 1 takes away from itself before it starts a build, which inherits what is left.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, CpuSet, Gid, Uid};

use super::spec::Limits;

/// What root needs of its powers to build: writing to its own read-only files (module caches are full of them).
/// They count only for files of the mapped user.
pub(super) const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);

/// The kernel's highest capability by a wide margin; it refuses those that it does not have.
const LAST_CAPABILITY: u32 = 63;

/// Becomes a user and group, with no other groups.
pub(super) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Makes sure that no program ever has other capabilities than `kept`. This needs one of them.
pub(super) fn bound_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for bit in 0..=LAST_CAPABILITY {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Has exactly `kept` from now on, whatever the user id is, and so have the programs it starts.
pub(super) fn reduce_capabilities(kept: CapabilitySet) -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in kept {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Sets the limits; one that is already lower stays.
pub(super) fn limit(limits: &Limits) -> io::Result<()> {
    const STACK: u64 = 8 << 20;
    let hard = [
        (Resource::Nproc, Some(limits.processes)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Fsize, Some(limits.file_size)),
        (Resource::As, limits.memory),
        (Resource::Core, Some(0)),
    ];
    for (resource, limit) in hard {
        let Some(limit) = limit else { continue };
        let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // Programs see this one: it decides where their memory lies and how deep they may recurse.
    let maximum = getrlimit(Resource::Stack).maximum;
    let stack = maximum.map_or(STACK, |maximum| maximum.min(STACK));
    Ok(setrlimit(Resource::Stack, Rlimit { current: Some(stack), maximum })?)
}

/// Runs on the first `count` of the processors that it may run on.
pub(super) fn use_processors(count: usize) -> io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let mut chosen = CpuSet::new();
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(count.max(1)) {
        chosen.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &chosen)?)
}

/// Ends when the process that started it ends. A change of user undoes this.
pub(super) fn end_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Keeps this process and what comes of it away from the abstract Unix sockets of everybody else, which belong to
/// a network rather than to a file system.
pub(super) fn leave_sockets_alone() -> Result<(), landlock::RulesetError> {
    use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.scope(Scope::AbstractUnixSocket)?.create()?.restrict_self().map(|_| ())
}

/// What is to be said when [`leave_sockets_alone`] fails.
pub(super) fn reachable_sockets(error: &landlock::RulesetError) -> String {
    format!("the kernel scopes no sockets ({error}): builds reach the machine's abstract Unix sockets")
}

/// Keeps other processes of the same user from looking into this one or changing it.
pub(super) fn lock_up() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Undoes `nohup` and the like: a signal that is ignored stays so in programs that are started, but one that has
/// a handler does not.
pub(super) fn restore_signals() -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        if !signal_hook::consts::FORBIDDEN.contains(&signal) && signal != signal_hook::consts::SIGPIPE {
            // The C library keeps two signals for itself, which cannot be ignored by anybody else.
            let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
        }
    }
    Ok(())
}
