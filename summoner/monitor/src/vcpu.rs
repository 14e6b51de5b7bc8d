//! The loop: run the guest until it exits, do what the exit asks for, again.

use hvt_abi::hypercall::Hypercall;
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::arch::{self, Tables};
use crate::devices::Devices;
use crate::ending::Ending;
use crate::exit::Exit;
use crate::hypercall::{self, Outcome};
use crate::memory::GuestMemory;

/// Runs the guest to its end.
pub(crate) fn run(
    vcpu: &mut VcpuFd,
    memory: &GuestMemory,
    tables: &Tables,
    devices: &mut Devices,
) -> Ending {
    loop {
        match next_exit(vcpu) {
            Exit::Hypercall(call, argument) => {
                match hypercall::handle(devices, memory, call, argument) {
                    Outcome::Continue => {}
                    Outcome::End(ending) => return ending,
                }
            }
            Exit::Fault => {
                return match arch::crash_report(vcpu, memory, tables) {
                    Some(report) => Ending::Crashed(report),
                    None => Ending::Violation(no_hypercall(arch::CRASH_PORT)),
                };
            }
            Exit::Interrupted => {}
            Exit::Forbidden(what) => return Ending::Violation(what),
            Exit::Dead(what) => {
                return Ending::Crashed(format!("{what}, {}", arch::position(vcpu, tables)));
            }
            Exit::Broken(what) => {
                return Ending::Failed(format!("{what}, {}", arch::position(vcpu, tables)));
            }
        }
    }
}

/// Runs the guest until its next exit, in our own words.
fn next_exit(vcpu: &mut VcpuFd) -> Exit {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) => return Exit::from_error(error),
    };
    match exit {
        VcpuExit::IoOut(port, data) => port_write(port, data),
        VcpuExit::IoIn(port, _) => {
            Exit::Forbidden(format!("it read from port {port:#x}; there is nothing to read from"))
        }
        VcpuExit::MmioRead(address, _) => {
            Exit::Forbidden(format!("it read from {address:#x}, where no memory is"))
        }
        VcpuExit::MmioWrite(address, _) => {
            Exit::Forbidden(format!("it wrote to {address:#x}, where no memory is"))
        }
        VcpuExit::Hlt => Exit::Dead("its processor halted after a fault".to_owned()),
        VcpuExit::Shutdown => {
            Exit::Dead("a fault could not be delivered (triple fault)".to_owned())
        }
        VcpuExit::InternalError => {
            Exit::Broken("KVM could not go on with the guest (internal error)".to_owned())
        }
        VcpuExit::FailEntry(reason, _) => {
            Exit::Broken(format!("KVM could not enter the guest (reason {reason:#x})"))
        }
        VcpuExit::Intr => Exit::Interrupted,
        other => Exit::Broken(format!("an exit that cannot be: {other:?}")),
    }
}

fn port_write(port: u16, data: &[u8]) -> Exit {
    if port == arch::CRASH_PORT {
        return Exit::Fault;
    }
    let argument: Result<[u8; 4], _> = data.try_into();
    match (Hypercall::from_port(port), argument) {
        (Some(call), Ok(argument)) => {
            Exit::Hypercall(call, u64::from(u32::from_le_bytes(argument)))
        }
        (Some(call), Err(_)) => Exit::Forbidden(format!(
            "it made the hypercall {call} with {} octets instead of 4",
            data.len()
        )),
        (None, _) => Exit::Forbidden(no_hypercall(port)),
    }
}

fn no_hypercall(port: u16) -> String {
    format!("it wrote to port {port:#x}, which is no hypercall")
}
