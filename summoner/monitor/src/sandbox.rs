//! What a monitor gives up before it lets a guest run.
#![expect(unsafe_code, reason = "descriptors are closed by their numbers")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Why the sandbox cannot be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot give up {what}")]
    GiveUp { what: &'static str, source: io::Error },
    #[error("cannot make the system call filter")]
    Filter(#[from] seccompiler::BackendError),
    #[error("cannot install the system call filter; does the kernel have seccomp?")]
    Install(#[from] seccompiler::Error),
}

/// Closes what the process was started with, but for the standard streams and `kept`. To be called first of all.
///
/// Whatever starts the daemon may leave descriptors open that are nobody's business in here.
pub(crate) fn close_descriptors(kept: BorrowedFd<'_>) -> Result<(), SandboxError> {
    const FIRST: RawFd = libc::STDERR_FILENO + 1;
    let kept = kept.as_raw_fd();
    let below = (kept > FIRST).then_some((FIRST, kept - 1));
    let above = (kept.max(FIRST - 1) + 1, RawFd::MAX);
    for (first, last) in below.into_iter().chain([above]) {
        // SAFETY: no memory is involved. Nobody in this process owns the descriptors: it has only just begun, and the
        // one that was given to it is kept.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if result != 0 {
            let source = io::Error::last_os_error();
            return Err(SandboxError::GiveUp { what: "inherited descriptors", source });
        }
    }
    Ok(())
}

/// Gives up every privilege for good: capabilities, and the way to get others. Before any other thread exists.
pub(crate) fn drop_privileges() -> Result<(), SandboxError> {
    let failed =
        |what| move |error: rustix::io::Errno| SandboxError::GiveUp { what, source: error.into() };
    rustix::thread::set_no_new_privs(true).map_err(failed("the right to new privileges"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(failed("all capabilities"))?;
    // No other process of the user may look into a guest's memory, and none of it goes into a core file.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("core files"))
}

/// The filter, made ahead: from its installation on, any other system call ends the process.
pub(crate) fn filter() -> Result<BpfProgram, SandboxError> {
    const MMAP_PROT: u8 = 2;
    const IOCTL_REQUEST: u8 = 1;
    const FCNTL_COMMAND: u8 = 1;
    const F_GETFD: u64 = 1;
    const F_SETFL: u64 = 4;
    // The first look at a clock finds out where the kernel has put its fast way to tell the time, by calls that the filter
    // closes.
    let _ = crate::devices::monotonic();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // The vCPU, what a report of its faults needs, and its state for snapshots.
    let requests =
        [KVM_RUN, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_GET_XSAVE, KVM_SET_XSAVE];
    let request = |value| is(IOCTL_REQUEST, SeccompCmpOp::Eq, value);
    let ioctls = requests.into_iter().map(request).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, ioctls);
    // The allocator's memory; never memory that code can run from.
    let not_executable = SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.cast_unsigned()));
    rules.insert(libc::SYS_mmap, vec![is(MMAP_PROT, not_executable.clone(), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![is(MMAP_PROT, not_executable, 0)?]);
    // The library looks whether a descriptor is still open before it closes it; the control socket's signal is turned on
    // and off.
    let commands = [F_GETFD, F_SETFL].map(|command| is(FCNTL_COMMAND, SeccompCmpOp::Eq, command));
    rules.insert(libc::SYS_fcntl, commands.into_iter().collect::<Result<_, _>>()?);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

fn is(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

/// Installs the filter in every thread.
pub(crate) fn install(filter: &BpfProgram) -> Result<(), SandboxError> {
    Ok(seccompiler::apply_filter_all_threads(filter)?)
}

/// The numbers of the ioctls of a vCPU (`linux/kvm.h`).
const KVM_RUN: u64 = 0xae80;
const KVM_GET_REGS: u64 = 0x8090_ae81;
const KVM_SET_REGS: u64 = 0x4090_ae82;
const KVM_GET_SREGS: u64 = 0x8138_ae83;
const KVM_GET_XSAVE: u64 = 0x9000_aea4;
const KVM_SET_XSAVE: u64 = 0x5000_aea5;

/// What needs no look at its arguments: frames and reports, waiting, the clocks, memory that is asked for and given back,
/// pages to and from the files of snapshots, and the end.
const ALLOWED: [i64; 30] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_sigaltstack,
    libc::SYS_write,
];

#[cfg(test)]
mod tests;
