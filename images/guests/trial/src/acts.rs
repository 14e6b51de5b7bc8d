//! All acts in one table.

use alloc::string::String;

use unikernel::Guest;

use crate::{faults, floods, hostile, network, plain};

/// Something that the guest can be told to do.
pub(crate) struct Act {
    /// Its name on the command line; what follows `=` is its value.
    pub(crate) name: &'static str,
    /// What the guest does.
    pub(crate) does: &'static str,
    /// What should come of it.
    pub(crate) comes: &'static str,
    /// Does it.
    pub(crate) run: Run,
}

/// An act's code: gets the value, and returns what went otherwise than it should, if it returns.
pub(crate) type Run = fn(&'static Guest, &str) -> Result<(), String>;

/// The act of that name.
pub(crate) fn find(name: &str) -> Option<&'static Act> {
    ALL.iter().find(|act| act.name == name)
}

const fn act(name: &'static str, does: &'static str, comes: &'static str, run: Run) -> Act {
    Act { name, does, comes, run }
}

/// Every act.
#[rustfmt::skip]
pub(crate) const ALL: &[Act] = &[
    // What an honest guest does.
    act("halt", "halts with the status given", "halted with that status", plain::halt),
    act("halt-cookie", "halts with 512 octets of cookie", "halted with status 0", plain::halt_cookie),
    act("puts", "writes the value to the console", "the text in the log", plain::puts),
    act("facts", "prints what it was told at its start", "lines in the log", plain::facts),
    act("sse", "computes in floating point", "the right result", plain::sse),
    act("memory", "fills the heap and checks it", "every octet as written", plain::memory),
    act("stack", "uses 200 KiB of stack", "every octet as written", plain::stack),
    act("walltime", "reads the wall clock twice", "after 2020 and not backwards", plain::walltime),
    act("poll", "sleeps for the milliseconds given", "at least that long", plain::poll),
    act("poll-once", "polls with no time at all", "returns", plain::poll_once),
    act("wait", "sleeps until asked to shut down", "goes on when asked", plain::wait),
    act("deaf", "sleeps for ever, whatever is asked", "ends only when destroyed", plain::deaf),
    act("spin", "computes for ever", "ends only when destroyed", plain::spin),
    act("panic", "panics", "the message in the log, status 101", plain::panic),
    act("remember", "answers each request with its generation, a random number, and a count that it keeps", "status 0 when asked", network::remember),
    // Servers that make it hard for their clients.
    act("slow-listen", "answers RST for the milliseconds given, then serves", "status 0 when asked", network::slow_listen),
    act("silent", "takes no frame for the milliseconds given, then serves", "status 0 when asked", network::silent),
    act("crash-after", "serves, and crashes after the milliseconds given", "invalid opcode", network::crash_after),
    act("crash-on-request", "serves, and crashes on the first request", "invalid opcode", network::crash_on_request),
    // Exceptions.
    act("divide", "divides by zero", "divide error (#DE)", faults::divide),
    act("breakpoint", "executes INT3", "breakpoint (#BP)", faults::breakpoint),
    act("undefined", "executes an undefined instruction", "invalid opcode (#UD)", faults::undefined),
    act("interrupt", "executes INT 0x80", "general protection (#GP) or invalid opcode (#UD)", faults::interrupt),
    act("privileged", "executes the instruction given: hlt, cli, rdmsr, wrmsr, mov-cr3, lidt, invd", "general protection (#GP)", faults::privileged),
    act("system-call", "executes SYSCALL", "invalid opcode (#UD), or a page fault at 0x0", faults::system_call),
    act("hypervisor-call", "executes VMCALL", "general protection (#GP) or invalid opcode (#UD)", faults::hypervisor_call),
    act("port-read", "reads a keyboard's port", "general protection (#GP)", faults::port_read),
    act("port-write", "writes to a serial port", "general protection (#GP)", faults::port_write),
    act("misaligned-sse", "moves 16 octets at an odd address", "general protection (#GP)", faults::misaligned_sse),
    act("non-canonical", "reads at an address that cannot exist", "general protection (#GP)", faults::non_canonical),
    act("read-null", "reads at address 0", "page fault at 0x0", faults::read_null),
    act("write-null", "writes at address 0", "page fault at 0x0", faults::write_null),
    act("jump-null", "jumps to address 0", "page fault at 0x0", faults::jump_null),
    act("read-tables", "reads the page tables", "page fault at 0x2000", faults::read_tables),
    act("read-outside", "reads past the end of memory", "page fault there", faults::read_outside),
    act("write-code", "writes to its own code", "page fault in the code", faults::write_code),
    act("write-constant", "writes to a constant", "page fault there", faults::write_constant),
    act("write-boot-info", "writes to the boot information", "page fault at 0x10000", faults::write_boot_info),
    act("execute-data", "jumps into its data", "page fault there", faults::execute_data),
    act("execute-heap", "jumps into its heap", "page fault there", faults::execute_heap),
    act("execute-stack", "jumps into its stack", "page fault there", faults::execute_stack),
    act("execute-boot-info", "jumps into the boot information", "page fault at 0x10000", faults::execute_boot_info),
    act("stack-overflow", "recurses without end", "page fault in the guard below the stack", faults::stack_overflow),
    // Attacks on the monitor.
    act("call-unknown", "makes the hypercall of the number given", "refused", hostile::call_unknown),
    act("call-wide", "writes 8 and 16 bits to a hypercall's port, and reads it", "refused", hostile::call_wide),
    act("argument-outside", "each call's argument past the end of memory; the value is a call's number", "refused", hostile::argument_outside),
    act("argument-straddles", "each call's argument across the end of memory; likewise", "refused", hostile::argument_straddles),
    act("argument-last", "each call's argument in the last octet that 32 bits name; likewise", "refused", hostile::argument_last),
    act("argument-in-tables", "asks for the time to be written over the page tables", "refused", hostile::argument_in_tables),
    act("argument-in-code", "asks for the time to be written over its code", "refused", hostile::argument_in_code),
    act("argument-misaligned", "asks for the time at an odd address", "the time there", hostile::argument_misaligned),
    act("argument-overlaps", "prints an argument by itself, and reads a frame into one", "goes on", hostile::argument_overlaps),
    act("puts-outside", "prints memory that does not exist", "refused", hostile::puts_outside),
    act("puts-huge", "prints 2^64 - 1 octets", "refused", hostile::puts_huge),
    act("puts-wraps", "prints across the end of the address space", "refused", hostile::puts_wraps),
    act("puts-tables", "prints the page tables", "refused", hostile::puts_tables),
    act("puts-nothing", "prints 0 octets at a bad address", "goes on, or refused", hostile::puts_nothing),
    act("net-write-size", "sends a frame of that many octets of heap", "not sent if 0 or too long; goes on", hostile::net_write_size),
    act("net-write-outside", "sends memory that does not exist", "refused", hostile::net_write_outside),
    act("net-write-tables", "sends the page tables", "refused", hostile::net_write_tables),
    act("net-read-outside", "receives to where no memory is", "refused", hostile::net_read_outside),
    act("net-read-tables", "receives over the page tables", "refused", hostile::net_read_tables),
    act("net-read-code", "receives over its code", "refused", hostile::net_read_code),
    act("net-read-boot-info", "receives over the boot information", "refused", hostile::net_read_boot_info),
    act("net-read-huge", "receives up to 2^64 - 1 octets", "refused", hostile::net_read_huge),
    act("net-read-short", "receives up to 1 octet", "goes on", hostile::net_read_short),
    act("net-handle", "sends and receives with the handle given", "result 2; goes on", hostile::net_handle),
    act("block", "reads and writes a block device that is not there", "result 2; goes on", hostile::block),
    act("kick", "has its ring served", "goes on, or refused if there is none", hostile::kick),
    act("ring-index", "says it has submitted the number of frames given, and polls", "refused if more than 1024", hostile::ring_index),
    act("ring-operation", "submits the operation given, over its code, and polls", "refused", hostile::ring_operation),
    act("halt-cookie-outside", "halts with a cookie where no memory is", "refused", hostile::halt_cookie_outside),
    // Floods.
    act("flood-console", "writes that many lines to the console", "goes on", floods::console),
    act("flood-net", "sends that many frames to everybody", "goes on", floods::net),
    act("flood-heap", "allocates until there is nothing left", "a panic, status 101", floods::heap),
];
