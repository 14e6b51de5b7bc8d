//! The monitor: one guest in one process.
//!
//! ```text
//!   daemon --SEQPACKET, descriptors--> protocol
//!                                        |
//!      Shell (VM, vCPU, no image) --Prepare--> PreparedShell (memory, tables), behind its filter --Boot--> RunningVm
//!                                                                                               |  ^
//!        arch: page tables, ring-3 start, exceptions       vcpu: exits --> hypercall --> devices   |
//!                                                                          snapshot: captured, restored, recycled
//! ```
//!
//! This is what a hostile guest attacks, so it is small, has no async runtime, and holds nothing but its KVM
//! descriptors, the guest's port and the socket to the daemon. It trusts the plan, which `images` has checked, and
//! nothing that comes from the guest. Read `docs/ARCHITECTURE.md` first, then the Solo5 `hvt` ABI, version 2.

mod arch;
mod console;
mod control;
mod devices;
mod ending;
mod exit;
mod frames;
pub mod hypercall;
mod kick;
mod load;
pub mod memory;
pub mod probe;
pub mod protocol;
mod ring;
mod running;
mod sandbox;
mod shell;
mod snapshot;
mod vcpu;
pub mod zygote;

pub use control::run;
pub use load::LoadError;
pub use running::{Pause, RunningVm};
pub use shell::{Host, PreparedShell, Shell, ShellError};
pub use snapshot::SnapshotError;
