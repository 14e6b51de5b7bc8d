//! The loop: run the guest until it exits, do what the exit asks for, again.

use hvt_abi::hypercall::Hypercall;
use hvt_abi::ring::KICK_PORT;
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::arch::{self, Tables};
use crate::devices::Devices;
use crate::ending::Ending;
use crate::exit::Exit;
use crate::hypercall::{self, Outcome};
use crate::kick;
use crate::memory::GuestMemory;

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The guest waits in a poll, whose argument is there.
    Poll(u64),
    /// The daemon has something to say, or is gone.
    Told,
    /// The guest is over.
    Ended(Ending),
}

/// Runs the guest until it polls, ends, or the daemon has something to say.
pub(crate) fn run(
    vcpu: &mut VcpuFd,
    memory: &GuestMemory,
    tables: &Tables,
    devices: &mut Devices,
) -> Turn {
    loop {
        let ending = match next_exit(vcpu) {
            Exit::Hypercall(Hypercall::Poll, argument) => return Turn::Poll(argument),
            Exit::Hypercall(call, argument) => {
                match hypercall::handle(devices, memory, call, argument) {
                    Outcome::Continue | Outcome::Rest => continue,
                    Outcome::End(ending) => ending,
                }
            }
            Exit::Kick => match hypercall::kick(devices, memory) {
                Outcome::Continue | Outcome::Rest => continue,
                Outcome::End(ending) => ending,
            },
            Exit::Interrupted => {
                kick::clear(vcpu);
                if devices.is_told() {
                    return Turn::Told;
                }
                continue;
            }
            Exit::Fault => match arch::crash_report(vcpu, memory, tables) {
                Some(report) => Ending::Crashed(report),
                None => Ending::Violation(no_hypercall(arch::CRASH_PORT)),
            },
            Exit::Forbidden(what) => Ending::Violation(what),
            Exit::Dead(what) => {
                Ending::Crashed(format!("{what}, {}", arch::position(vcpu, tables)))
            }
            Exit::Broken(what) => {
                Ending::Failed(format!("{what}, {}", arch::position(vcpu, tables)))
            }
        };
        return Turn::Ended(ending);
    }
}

/// Lets KVM complete the instruction that the guest has exited with, without running it on: before its registers are read or
/// set (KVM API, section 5, `immediate_exit`).
pub(crate) fn complete(vcpu: &mut VcpuFd) -> Result<(), kvm_ioctls::Error> {
    vcpu.set_kvm_immediate_exit(1);
    let result = vcpu.run().map(|_| ());
    vcpu.set_kvm_immediate_exit(0);
    match result {
        Err(error) if error.errno() == libc::EINTR => Ok(()),
        Err(error) => Err(error),
        // Nothing was left to complete, and nothing was run.
        Ok(()) => Ok(()),
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
    if port == KICK_PORT && argument.is_ok() {
        return Exit::Kick;
    }
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
