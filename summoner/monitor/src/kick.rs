//! How the daemon's word reaches a monitor whose guest runs: the control socket raises a signal, which ends KVM_RUN.
//!
//! The signal may come just before KVM_RUN begins; its handler therefore sets `immediate_exit`, with which KVM_RUN ends
//! before it has begun (KVM API, section 5). One thread suffices so for a guest and for listening to the daemon.
#![expect(unsafe_code, reason = "a signal handler writes into the page that KVM shares")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use kvm_ioctls::VcpuFd;

/// The vCPU's `immediate_exit`. A process has one vCPU.
static IMMEDIATE_EXIT: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

extern "C" fn on_signal(_: libc::c_int) {
    let flag = IMMEDIATE_EXIT.load(Ordering::Relaxed);
    if !flag.is_null() {
        // SAFETY: it points into the page that KVM shares, which stays mapped until the process ends (`listen`); one octet
        // that KVM only reads.
        unsafe { flag.write_volatile(1) };
    }
}

/// From now on the signal ends this vCPU's runs. The vCPU must stay open until the process ends.
pub(crate) fn listen(vcpu: &mut VcpuFd) -> io::Result<()> {
    IMMEDIATE_EXIT.store(&raw mut vcpu.get_kvm_run().immediate_exit, Ordering::Relaxed);
    // SAFETY: all octets zero are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Without SA_RESTART: whatever waits must look at the socket again.
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does nothing but one store, which is safe at any point; `action` is complete.
    let result = unsafe { libc::sigaction(libc::SIGIO, &raw const action, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Clears what the signal has set, before KVM_RUN is called for its work again.
pub(crate) fn clear(vcpu: &mut VcpuFd) {
    vcpu.set_kvm_immediate_exit(0);
}

/// Makes the calling thread the one that the control socket's signals go to.
pub(crate) fn own(control: BorrowedFd<'_>) -> io::Result<()> {
    /// `struct f_owner_ex` and its type for a thread (`asm-generic/fcntl.h`).
    #[repr(C)]
    struct Owner {
        kind: libc::c_int,
        thread: libc::pid_t,
    }
    const F_OWNER_TID: libc::c_int = 0;
    const F_SETOWN_EX: libc::c_int = 15;
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let owner = Owner { kind: F_OWNER_TID, thread };
    // SAFETY: the kernel reads one `f_owner_ex` at the address, as which `Owner` is laid out.
    let result = unsafe { libc::fcntl(control.as_raw_fd(), F_SETOWN_EX, &raw const owner) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Turns the socket's signal on while a guest runs, and off while this process waits for the socket anyway.
pub(crate) fn arm(control: BorrowedFd<'_>, armed: bool) -> io::Result<()> {
    let flags = libc::O_RDWR | if armed { libc::O_ASYNC } else { 0 };
    // SAFETY: no memory is involved; the socket was blocking and stays so.
    let result = unsafe { libc::fcntl(control.as_raw_fd(), libc::F_SETFL, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
