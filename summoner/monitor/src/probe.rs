//! Whether this machine can run guests, and if not, what to do about it.

use std::ffi::CStr;
use std::fmt;
use std::io;

use kvm_ioctls::{Cap, Kvm};

use crate::shell::{Host, Shell, ShellError};

const DEVICE: &CStr = c"/dev/kvm";
/// The only version there has been since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// The hypervisor that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvmInfo {
    /// KVM's API version.
    pub api_version: i32,
}

impl fmt::Display for KvmInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KVM API {}", self.api_version)
    }
}

/// Why this machine cannot run guests.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No device.
    #[error(
        "there is no /dev/kvm: guests need KVM. Turn on virtualisation in the firmware, load the module \
         (modprobe kvm_intel, or kvm_amd), or, in a virtual machine, let its host pass virtualisation on"
    )]
    Missing,
    /// No permission.
    #[error(
        "/dev/kvm may not be opened by this user: add the user to the group `kvm` (usermod -aG kvm USER, and log in again), or run as root"
    )]
    Permission(#[source] io::Error),
    /// Some other failure.
    #[error(
        "/dev/kvm cannot be opened; is the machine's virtualisation in use by another hypervisor?"
    )]
    Open(#[source] io::Error),
    /// Something else has that name.
    #[error(
        "/dev/kvm is no KVM device; load the module again (modprobe -r, then modprobe, kvm_intel or kvm_amd)"
    )]
    NotKvm,
    /// A KVM that we do not know.
    #[error(
        "/dev/kvm speaks version {found} of its interface, not {API_VERSION}; use a current kernel"
    )]
    Version {
        /// What it speaks.
        found: i32,
    },
    /// A KVM without what we need.
    #[error("this KVM lacks {what}; use a current kernel")]
    Capability {
        /// What it lacks.
        what: &'static str,
    },
}

/// Looks whether guests can run here.
///
/// # Errors
/// When they cannot; the message says plainly what to do.
pub fn check() -> Result<KvmInfo, ProbeError> {
    check_device(DEVICE)
}

fn check_device(device: &CStr) -> Result<KvmInfo, ProbeError> {
    let kvm = open_device(device)?;
    let found = kvm.get_api_version();
    match found {
        API_VERSION => {}
        // The call failed: nobody knows it.
        ..0 => return Err(ProbeError::NotKvm),
        _ => return Err(ProbeError::Version { found }),
    }
    for (capability, what) in [
        (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
        (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
        (Cap::GetTscKhz, "KVM_CAP_GET_TSC_KHZ"),
    ] {
        if !kvm.check_extension(capability) {
            return Err(ProbeError::Capability { what });
        }
    }
    Ok(KvmInfo { api_version: found })
}

/// Ticks per second of the time-stamp counter that guests see.
///
/// # Errors
/// When there is no KVM, or it does not tell.
pub fn cycle_frequency() -> Result<u64, ShellError> {
    Shell::new(&Host::open()?).map(|shell| shell.cycles())
}

/// Opens the device.
pub(crate) fn open() -> Result<Kvm, ProbeError> {
    open_device(DEVICE)
}

fn open_device(device: &CStr) -> Result<Kvm, ProbeError> {
    Kvm::new_with_path(device).map_err(|error| {
        let source = io::Error::from(error);
        match source.raw_os_error() {
            // A device file without its module behind it says the second or third.
            Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => ProbeError::Missing,
            Some(libc::EACCES | libc::EPERM) => ProbeError::Permission(source),
            _ => ProbeError::Open(source),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_plainly() {
        let missing = check_device(c"/dev/there-is-no-such-device").unwrap_err();
        assert!(matches!(missing, ProbeError::Missing), "{missing:?}");
        assert!(missing.to_string().contains("modprobe kvm_intel"), "{missing}");
        let other = check_device(c"/dev/null").unwrap_err();
        assert!(matches!(other, ProbeError::NotKvm), "{other:?}");
    }
}
