//! Why a vCPU came back, in our own words: small enough to see that nothing is forgotten.

use hvt_abi::hypercall::Hypercall;

/// Why a vCPU came back.
#[derive(Debug)]
pub(crate) enum Exit {
    /// The guest asks for something; its argument is at this address.
    Hypercall(Hypercall, u64),
    /// The guest asks for its ring to be served.
    Kick,
    /// An exception's stub reports.
    Fault,
    /// A signal; nothing happened.
    Interrupted,
    /// The guest did what the ABI does not allow.
    Forbidden(String),
    /// The guest's processor cannot go on.
    Dead(String),
    /// KVM cannot go on.
    Broken(String),
}

impl Exit {
    /// What a failed KVM_RUN means.
    pub(crate) fn from_error(error: kvm_ioctls::Error) -> Self {
        match error.errno() {
            libc::EINTR | libc::EAGAIN => Self::Interrupted,
            _ => Self::Broken(format!("KVM_RUN failed: {error}")),
        }
    }
}
