//! Network namespaces: a network of one's own, for the demo and the tests.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};

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
