//! Network namespaces: a network of one's own, for the demo and the tests.

use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::{DeviceError, netlink};

/// Moves the calling thread, and what it starts from now on, into a new network namespace with its loopback up.
///
/// The namespace is gone when nothing runs in it any more.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`.
pub fn enter_new() -> Result<(), DeviceError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| DeviceError::Namespace(error.into()))?;
    netlink::loopback_up()
}

/// As [`enter_new`], for an ordinary user: in a new user namespace too, in which the user is root.
///
/// The process must have one thread only (`unshare(2)`).
///
/// # Errors
/// Where user namespaces are not allowed.
pub fn enter_new_as_user() -> Result<(), DeviceError> {
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| DeviceError::UserNamespace(error.into()))?;
    let write = |file: &'static str, text: String| {
        fs::write(file, text).map_err(|source: io::Error| DeviceError::UserMap { file, source })
    };
    // Before the groups can be mapped, it must be impossible to drop any (user_namespaces(7)).
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))?;
    netlink::loopback_up()
}

/// A network namespace beside the calling thread's own: it exists as long as this value, or a device, socket or
/// thread in it.
#[derive(Debug)]
pub struct Namespace(fs::File);

impl Namespace {
    /// Makes one, with its loopback up. The calling thread stays where it is.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`.
    pub fn new() -> Result<Self, DeviceError> {
        elsewhere(|| {
            enter_new()?;
            fs::File::open("/proc/thread-self/ns/net").map(Self).map_err(DeviceError::Namespace)
        })
    }

    /// Does something in it, in a thread of its own; so are threads that are started there. What it returns can be
    /// used anywhere: a socket or device stays in the namespace in which it was made.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// If `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, DeviceError> {
        elsewhere(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)
                .map_err(|error| DeviceError::EnterNamespace(error.into()))?;
            Ok(work())
        })
    }
}

/// Does something in another thread, whose namespace is changed in place of the caller's.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| resume_unwind(panic)))
}
