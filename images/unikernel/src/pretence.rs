//! A guest in an ordinary process, for tests: hypercalls go to a function, the boot information is made up.
#![expect(unsafe_code, reason = "stands in for the host")]

extern crate std;

use alloc::boxed::Box;
use core::cell::RefCell;

use hvt_abi::boot_info::BootInfo;
use hvt_abi::hypercall::Hypercall;
use hvt_abi::manifest::{ENTRY_SIZE, Entry};
use std::thread_local;

use crate::boot::Guest;

/// What carries out a hypercall: gets its argument structure's address.
pub type Host = Box<dyn FnMut(Hypercall, *mut u8)>;

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// From now on, `host` carries out this thread's hypercalls.
pub fn install(host: Host) {
    HOST.with(|slot| *slot.borrow_mut() = Some(host));
}

/// Makes a hypercall.
///
/// # Safety
/// As a real one: `argument` must point to the structure of that call, and what is in it must be valid.
///
/// # Panics
/// When no host is installed: an ordinary process has none.
pub(crate) unsafe fn hypercall(call: Hypercall, argument: *mut u8) {
    HOST.with(|slot| {
        let mut slot = slot.borrow_mut();
        let host = slot.as_mut().expect("a test that makes hypercalls has installed a host");
        host(call, argument);
    });
}

/// A guest that was told what lies at `boot_info`, which may change there.
///
/// # Safety
/// The boot information must stay there. Where it says that there is a ring, there must be one, and no other guest
/// have it.
#[must_use]
pub unsafe fn guest(
    boot_info: *const BootInfo,
    command_line: &'static str,
    devices: &[Entry],
) -> &'static Guest {
    let manifest: Box<[[u8; ENTRY_SIZE]]> = devices.iter().map(Entry::to_bytes).collect();
    let address = boot_info.expose_provenance() as u64;
    // SAFETY: the caller's promise.
    let now = unsafe { boot_info.read() };
    Box::leak(Box::new(Guest::pretend(address, now, command_line, Box::leak(manifest))))
}
