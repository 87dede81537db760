//! The sandbox in which build scripts run: a root file system, directories and a command go in, an exit status
//! and a log come out. It needs no root, no daemon and no set-id helper.
//!
//! Whatever a script could see of the machine could end up in its output, and whatever it could change could
//! end up in somebody else's. So it gets namespaces of its own (user, mount, PID, IPC, UTS, network, cgroup), a
//! read-only root, an empty environment, few capabilities, a system call filter and limits.
//!
//! Namespaces are entered between `fork` and `exec`, which safe Rust cannot do. Hence `bake` executes itself:
//!
//! ```text
//! bake ([`run`]: log, time-out, free space)          ordinary or root, many threads
//!  └─ bake __sandbox ([`enter`], `broker`)           makes the namespaces, outlives the build
//!      └─ bake __sandbox init (`init`)               PID 1: composes the root, confines itself, reaps
//!          └─ the build script
//! ```
//!
//! Each stage talks to the one above it through a socket that is its standard input. The end of any stage ends
//! those below it: the kernel kills a PID namespace with its PID 1, PID 1 goes when the broker goes
//! (`PR_SET_PDEATHSIG`, and its socket ends), and the broker goes when `bake` goes.
//!
//! Who the build is, seen from outside: an ordinary user's build is that user, mapped to uid 0 by the one mapping
//! that needs no privilege. Root's build is uid 65534, because the kernel limits the number of processes of
//! everybody but root, and because an escape should find nobody. Root makes all other namespaces and mounts
//! first and the user namespace last, so they are out of the build's reach for good, and hands writable
//! directories over to 65534 while the build runs. Why 65534: it is the one unprivileged id that every
//! container maps, and by convention it owns nothing.
//!
//! Root in an ordinary container may make no name spaces. Then a weaker sandbox takes the place of this one, with a
//! chroot and a user id of the build's own, and says what it lacks: see `chroot`.

mod broker;
mod channel;
mod chroot;
mod compose;
mod confine;
mod filter;
mod init;
mod loopback;
mod owner;
mod probe;
mod run;
mod shuffle;
mod spec;

pub use broker::enter;
pub use chroot::may_build_in_chroot;
pub use owner::{BUILD_ID, builds_as_nobody, hand_over};
pub use probe::{Finding, probe};
pub use run::{Outcome, SandboxError, run};
pub use spec::{Limits, Mount, Spec};

/// The hidden subcommand by which `bake` becomes a stage of the sandbox.
pub const SUBCOMMAND: &str = "__sandbox";
