//! Whether this machine can run guests, and if not, what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

use kvm_ioctls::{Cap, Kvm};

const DEVICE: &str = "/dev/kvm";
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
    let kvm = open()?;
    let found = kvm.get_api_version();
    if found != API_VERSION {
        return Err(ProbeError::Version { found });
    }
    for (capability, what) in
        [(Cap::UserMemory, "KVM_CAP_USER_MEMORY"), (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID")]
    {
        if !kvm.check_extension(capability) {
            return Err(ProbeError::Capability { what });
        }
    }
    Ok(KvmInfo { api_version: found })
}

/// Opens the device.
pub(crate) fn open() -> Result<Kvm, ProbeError> {
    Kvm::new().map_err(|error| {
        let source = io::Error::from(error);
        match source.kind() {
            io::ErrorKind::NotFound if !Path::new(DEVICE).exists() => ProbeError::Missing,
            io::ErrorKind::PermissionDenied => ProbeError::Permission(source),
            _ => ProbeError::Open(source),
        }
    })
}
