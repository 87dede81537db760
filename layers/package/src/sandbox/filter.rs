//! The system call filter of a build.
//!
//! It does three things: it hides what differs between machines and users (owners, extended attributes), it
//! keeps set-id bits off the disk, and it closes parts of the kernel that builds do not need and attacks do.
//! Tracing (`strace`, debuggers) stays possible: it reaches the build's own processes only.

use std::collections::BTreeMap;
use std::io;

use nix::libc;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

/// A flag of `unshare` alone: for `clone` these bits are a signal number.
const CLONE_NEWTIME: u64 = 0x80;

/// Types into a terminal; a constant of our own, since its type depends on the C library.
const TIOCSTI: u64 = 0x5412;

/// Pastes into a virtual console.
const TIOCLINUX: u64 = 0x541c;

/// What no name space keeps from a build, so that the filter has to.
#[derive(Clone, Copy, Default)]
pub(super) struct Without {
    /// Sockets that lead to the machine's network, or to anything else but the kernel and local processes.
    pub network: bool,
    /// System V's and POSIX's ways of communication, which are between all users of a machine.
    pub ipc: bool,
}

/// System calls newer than the table of names, with numbers that all architectures share.
mod newer {
    pub(super) const FCHMODAT2: i64 = 452;
    pub(super) const SETXATTRAT: i64 = 463;
    pub(super) const REMOVEXATTRAT: i64 = 466;
    pub(super) const OPEN_TREE_ATTR: i64 = 467;
    pub(super) const FILE_SETATTR: i64 = 469;
}

/// What is done to a set of calls: with any arguments, or when one of the rules matches.
#[derive(Default)]
struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

/// A condition on an argument, given by its index.
type Condition = (u8, SeccompCmpOp, u64);

impl Calls {
    fn always(&mut self, calls: &[i64]) {
        for call in calls {
            self.0.insert(*call, Vec::new());
        }
    }

    /// When all of the conditions hold; other rules of the same call stay.
    fn when(&mut self, call: i64, conditions: &[Condition]) -> io::Result<()> {
        let conditions = conditions.iter().map(|(argument, operator, value)| {
            // The kernel itself takes no more than 32 bits of any argument here.
            SeccompCondition::new(*argument, Dword, operator.clone(), *value)
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>().map_err(broken)?).map_err(broken)?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }

    /// When any of the bits is set in the argument.
    fn when_any(&mut self, call: i64, argument: u8, bits: &[u64], also: &[Condition]) -> io::Result<()> {
        for bit in bits {
            self.when(call, &[also, &[(argument, MaskedEq(*bit), *bit)]].concat())?;
        }
        Ok(())
    }

    fn program(self, action: SeccompAction) -> io::Result<BpfProgram> {
        let architecture = std::env::consts::ARCH.try_into().map_err(broken)?;
        // A call of another architecture (32-bit x86, say) ends the process.
        let filter =
            SeccompFilter::new(self.0, SeccompAction::Allow, action, architecture).map_err(broken)?;
        filter.try_into().map_err(broken)
    }
}

/// The table below is constant, so only an architecture without a filter ends here.
fn broken(error: seccompiler::BackendError) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error)
}

/// The programs to install, all of them.
fn programs(without: Without) -> io::Result<Vec<BpfProgram>> {
    let errno = |number: i32| SeccompAction::Errno(number as u32);
    let mut programs = vec![
        succeeding().program(errno(0))?,
        refused()?.program(errno(libc::EPERM))?,
        unsupported().program(errno(libc::ENOTSUP))?,
        unknown(without).program(errno(libc::ENOSYS))?,
    ];
    if without.network {
        programs.push(local()?.program(errno(libc::EAFNOSUPPORT))?);
    }
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32());
    }
    Ok(programs)
}

/// Everything belongs to the one user there is, and packing says who owns what: a `chown` that root's build in
/// a container would do has nothing to do here.
fn succeeding() -> Calls {
    let mut calls = Calls::default();
    calls.always(&[libc::SYS_fchown, libc::SYS_fchownat]);
    #[cfg(target_arch = "x86_64")]
    calls.always(&[libc::SYS_chown, libc::SYS_lchown]);
    calls
}

/// `EPERM`, as for somebody without the right.
fn refused() -> io::Result<Calls> {
    let mut calls = Calls::default();
    calls.always(&[
        // Mounts and name spaces.
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_open_tree,
        newer::OPEN_TREE_ATTR,
        libc::SYS_move_mount,
        libc::SYS_mount_setattr,
        libc::SYS_setns,
        libc::SYS_open_by_handle_at,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        // Keys: keyrings are per user, not per name space.
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        // The kernel itself.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_kexec_load,
        #[cfg(not(all(target_arch = "aarch64", target_env = "musl")))] // missing in the table of names
        libc::SYS_kexec_file_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_syslog,
        libc::SYS_acct,
        libc::SYS_reboot,
    ]);

    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ]
    .map(|flag| flag as u64);
    calls.when_any(libc::SYS_unshare, 0, &namespaces, &[])?;
    calls.when_any(libc::SYS_unshare, 0, &[CLONE_NEWTIME], &[])?;
    calls.when_any(libc::SYS_clone, 0, &namespaces, &[])?;

    // Set-id bits, wherever a mode is given; `openat2` and `clone3` hide theirs behind pointers: see `unknown`.
    let set_id = [u64::from(libc::S_ISUID), u64::from(libc::S_ISGID)];
    let kind = MaskedEq(libc::S_IFMT.into());
    let devices = [libc::S_IFCHR, libc::S_IFBLK].map(u64::from);
    let modes = [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (newer::FCHMODAT2, 2),
        (libc::SYS_mkdirat, 2),
        (libc::SYS_mknodat, 2),
    ];
    let opens = [(libc::SYS_openat, 2)];
    let mknods = [(libc::SYS_mknodat, 2)];
    #[cfg(target_arch = "x86_64")]
    let (modes, opens, mknods) = {
        let old = [(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mkdir, 1), (libc::SYS_mknod, 1)];
        (
            [&modes[..], &old].concat(),
            [&opens[..], &[(libc::SYS_open, 1)]].concat(),
            [&mknods[..], &[(libc::SYS_mknod, 1)]].concat(),
        )
    };
    for (call, mode) in modes {
        calls.when_any(call, mode, &set_id, &[])?;
    }
    for (call, flags) in opens {
        // Without one of these the mode is whatever was in the register.
        for creating in [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY].map(|flag| flag as u64) {
            calls.when_any(call, flags + 1, &set_id, &[(flags, MaskedEq(creating), creating)])?;
        }
    }
    for (call, mode) in mknods {
        for device in devices {
            calls.when(call, &[(mode, kind.clone(), device)])?;
        }
    }

    // Other personalities change addresses and what `uname` says; asking for the present one is fine.
    calls.when(libc::SYS_personality, &[(0, Ne, 0), (0, Ne, 0xffff_ffff)])?;
    // Typing into somebody's terminal.
    for request in [TIOCSTI, TIOCLINUX] {
        calls.when(libc::SYS_ioctl, &[(1, Eq, request)])?;
    }
    Ok(calls)
}

/// `ENOTSUP`, as of a file system without them: output then does not depend on the machine's file system.
fn unsupported() -> Calls {
    let mut calls = Calls::default();
    calls.always(&[
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        newer::SETXATTRAT,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
        newer::REMOVEXATTRAT,
        newer::FILE_SETATTR,
    ]);
    calls
}

/// `ENOSYS`, as of an older kernel: callers fall back to calls whose arguments can be judged.
fn unknown(without: Without) -> Calls {
    let mut calls = Calls::default();
    if without.ipc {
        calls.always(&[
            libc::SYS_shmget,
            libc::SYS_shmat,
            libc::SYS_shmctl,
            libc::SYS_semget,
            libc::SYS_semop,
            libc::SYS_semtimedop,
            libc::SYS_semctl,
            libc::SYS_msgget,
            libc::SYS_msgsnd,
            libc::SYS_msgrcv,
            libc::SYS_msgctl,
            libc::SYS_mq_open,
            libc::SYS_mq_unlink,
        ]);
    }
    calls.always(&[
        libc::SYS_clone3,
        libc::SYS_openat2,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ]);
    calls
}

/// `EAFNOSUPPORT`, as of a kernel without network.
fn local() -> io::Result<Calls> {
    let mut calls = Calls::default();
    let families = [libc::AF_UNIX, libc::AF_NETLINK].map(|family| (0, Ne, family as u64));
    calls.when(libc::SYS_socket, &families)?;
    Ok(calls)
}

/// `ENOSYS` for calls of the x32 ABI, which have the same architecture and numbers of their own.
fn without_x32() -> BpfProgram {
    const X32_SYSCALL_BIT: u32 = 0x4000_0000;
    let instruction = |code: u32, jt, jf, k| seccompiler::sock_filter { code: code as u16, jt, jf, k };
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // seccomp_data.nr
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_SYSCALL_BIT),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Confines this thread and what comes of it, for good.
pub(super) fn install(without: Without) -> io::Result<()> {
    for program in programs(without)? {
        seccompiler::apply_filter(&program)
            .map_err(|error| io::Error::other(format!("the kernel takes no filter: {error}")))?;
    }
    Ok(())
}
