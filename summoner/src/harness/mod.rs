//! A daemon of one's own in a network of one's own: for the demo and the benchmark, which must not touch the
//! machine's interfaces.

pub mod daemon;
pub mod lab;

use synjitsu_device::namespace;

pub use daemon::{Daemon, DaemonSetup};

/// Why there is no place for a daemon.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// No network namespace.
    #[error(transparent)]
    Namespace(#[from] synjitsu_device::DeviceError),
    /// Guests cannot run here.
    #[error(transparent)]
    Kvm(#[from] monitor::probe::ProbeError),
}

/// Says early what is missing on this machine, and moves the process into a network namespace of its own.
///
/// The process must have one thread only: an ordinary user needs a user namespace too (`unshare(2)`).
///
/// # Errors
/// When guests cannot run here, or namespaces are not allowed.
pub fn enter() -> Result<(), PlaceError> {
    monitor::probe::check()?;
    enter_network()
}

/// Moves the process into a network namespace of its own, where nothing is to be booted.
///
/// # Errors
/// As [`enter`]'s, without those about guests.
pub fn enter_network() -> Result<(), PlaceError> {
    if rustix::process::geteuid().is_root() {
        namespace::enter_new()?;
    } else {
        namespace::enter_new_as_user()?;
    }
    Ok(())
}
