//! The eight hypercalls: how each is made and what it is given.
//!
//! On x86-64 a guest writes the low 32 bits of its argument's guest-physical address to the port
//! [`Hypercall::port`]; on AArch64 it stores them at [`Hypercall::mmio_address`]. The argument is one of the
//! structures below, read and (where a field is marked *out*) written by the host.

use crate::codec::wire_struct;

/// The port of hypercall number 0, which does not exist; call `n` is at `PORT_BASE + n`.
pub const PORT_BASE: u16 = 0x500;

/// The first port that is not a hypercall's.
pub const PORT_END: u16 = PORT_BASE + 9;

/// AArch64: the guest-physical address of hypercall number 0; call `n` is 8 octets times `n` further.
pub const MMIO_BASE: u64 = 0x1_0000_0000;

/// A hypercall's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Hypercall {
    /// Asks for the wall-clock time; argument [`Walltime`].
    Walltime = 1,
    /// Writes to the console; argument [`Puts`].
    Puts = 2,
    /// Sleeps until a device has input or a time has passed; argument [`Poll`].
    Poll = 3,
    /// Writes one block; argument [`BlockWrite`].
    BlockWrite = 4,
    /// Reads one block; argument [`BlockRead`].
    BlockRead = 5,
    /// Sends one Ethernet frame; argument [`NetWrite`].
    NetWrite = 6,
    /// Takes one received Ethernet frame; argument [`NetRead`].
    NetRead = 7,
    /// Ends the guest and never returns; argument [`Halt`].
    Halt = 8,
}

impl Hypercall {
    /// All hypercalls, by ascending number.
    pub const ALL: [Self; 8] = [
        Self::Walltime,
        Self::Puts,
        Self::Poll,
        Self::BlockWrite,
        Self::BlockRead,
        Self::NetWrite,
        Self::NetRead,
        Self::Halt,
    ];

    /// The hypercall of that number, if it exists.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Walltime,
            2 => Self::Puts,
            3 => Self::Poll,
            4 => Self::BlockWrite,
            5 => Self::BlockRead,
            6 => Self::NetWrite,
            7 => Self::NetRead,
            8 => Self::Halt,
            _ => return None,
        })
    }

    /// The hypercall that a write to `port` means, if it means one.
    #[must_use]
    pub const fn from_port(port: u16) -> Option<Self> {
        match port.checked_sub(PORT_BASE) {
            Some(number) => Self::from_number(number),
            None => None,
        }
    }

    /// The call's number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// x86-64: the port that the argument's address is written to.
    #[must_use]
    pub const fn port(self) -> u16 {
        PORT_BASE + self.number()
    }

    /// AArch64: the guest-physical address that the argument's address is stored at.
    #[must_use]
    pub const fn mmio_address(self) -> u64 {
        MMIO_BASE + 8 * self.number() as u64
    }

    /// Octets of the call's argument structure.
    #[must_use]
    pub const fn argument_size(self) -> usize {
        match self {
            Self::Walltime => Walltime::SIZE,
            Self::Puts => Puts::SIZE,
            Self::Poll => Poll::SIZE,
            Self::BlockWrite => BlockWrite::SIZE,
            Self::BlockRead => BlockRead::SIZE,
            Self::NetWrite => NetWrite::SIZE,
            Self::NetRead => NetRead::SIZE,
            Self::Halt => Halt::SIZE,
        }
    }

    /// The call's name in Solo5's words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Walltime => "walltime",
            Self::Puts => "puts",
            Self::Poll => "poll",
            Self::BlockWrite => "block_write",
            Self::BlockRead => "block_read",
            Self::NetWrite => "net_write",
            Self::NetRead => "net_read",
            Self::Halt => "halt",
        }
    }
}

impl core::fmt::Display for Hypercall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the `ret` field of a block or network call may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CallResult {
    /// Done.
    Ok = 0,
    /// Nothing there, or no room, at this moment.
    Again = 1,
    /// A handle, length or offset that this device does not take.
    InvalidArgument = 2,
    /// The host could not do it.
    Unspecified = 3,
}

impl CallResult {
    /// The value of the `ret` field.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The meaning of a `ret` field; an unknown value counts as [`CallResult::Unspecified`].
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Again,
            2 => Self::InvalidArgument,
            _ => Self::Unspecified,
        }
    }
}

/// Octets that a non-zero [`Halt::cookie`] points at.
pub const HALT_COOKIE_SIZE: usize = 512;

wire_struct! {
    /// Argument of [`Hypercall::Walltime`].
    pub struct Walltime, 8 octets {
        /// *Out*: nanoseconds since 1970-01-01 00:00 UTC.
        nsecs: u64 at 0,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::Puts`].
    pub struct Puts, 16 octets {
        /// Guest-physical address of the text.
        data: u64 at 0,
        /// Its length in octets.
        len: u64 at 8,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::Poll`].
    pub struct Poll, 24 octets {
        /// The longest time to sleep, in nanoseconds from now.
        timeout_nsecs: u64 at 0,
        /// *Out*: bit `h` is set when the device with handle `h` has input. Bit 0 never means a device; see
        /// [`Features::SHUTDOWN_REQUEST`](crate::boot_info::Features::SHUTDOWN_REQUEST).
        ready_set: u64 at 8,
        /// *Out*: the number of devices that have input.
        ret: i32 at 16,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::BlockWrite`].
    pub struct BlockWrite, 40 octets {
        /// The device's index in the manifest.
        handle: u64 at 0,
        /// Where on the device, in octets; a multiple of the block size.
        offset: u64 at 8,
        /// Guest-physical address of the block.
        data: u64 at 16,
        /// Octets to write; the block size.
        len: u64 at 24,
        /// *Out*: a [`CallResult`].
        ret: i32 at 32,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::BlockRead`].
    pub struct BlockRead, 40 octets {
        /// The device's index in the manifest.
        handle: u64 at 0,
        /// Where on the device, in octets; a multiple of the block size.
        offset: u64 at 8,
        /// Guest-physical address of the buffer.
        data: u64 at 16,
        /// Octets to read, the block size; *out*: octets read.
        len: u64 at 24,
        /// *Out*: a [`CallResult`].
        ret: i32 at 32,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::NetWrite`].
    pub struct NetWrite, 32 octets {
        /// The device's index in the manifest.
        handle: u64 at 0,
        /// Guest-physical address of the frame.
        data: u64 at 8,
        /// Its length in octets, link-layer header included.
        len: u64 at 16,
        /// *Out*: a [`CallResult`].
        ret: i32 at 24,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::NetRead`].
    pub struct NetRead, 32 octets {
        /// The device's index in the manifest.
        handle: u64 at 0,
        /// Guest-physical address of the buffer.
        data: u64 at 8,
        /// The buffer's length in octets; *out*: the frame's.
        len: u64 at 16,
        /// *Out*: a [`CallResult`]; [`CallResult::Again`] when there is no frame.
        ret: i32 at 24,
    }
}

wire_struct! {
    /// Argument of [`Hypercall::Halt`].
    pub struct Halt, 16 octets {
        /// 0, or the guest-physical address of [`HALT_COOKIE_SIZE`] octets for whoever looks at the end.
        cookie: u64 at 0,
        /// 0 when the guest ended as it meant to.
        exit_status: i32 at 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ports_and_addresses_agree() {
        for (index, call) in Hypercall::ALL.into_iter().enumerate() {
            let number = u16::try_from(index + 1).unwrap();
            assert_eq!(call.number(), number);
            assert_eq!(Hypercall::from_number(number), Some(call));
            assert_eq!(Hypercall::from_port(0x500 + number), Some(call));
            assert_eq!(call.port(), 0x500 + number);
            assert_eq!(call.mmio_address(), 0x1_0000_0000 + 8 * u64::from(number));
        }
        for port in [0, 0x4ff, 0x500, 0x509, 0x600, u16::MAX] {
            assert_eq!(Hypercall::from_port(port), None, "{port:#x}");
        }
        assert_eq!(PORT_END, Hypercall::Halt.port() + 1);
    }

    #[test]
    fn arguments_survive_the_way_to_octets_and_back() {
        let poll = Poll { timeout_nsecs: 0x0102_0304_0506_0708, ready_set: 2, ret: -2 };
        let bytes = poll.to_bytes();
        assert_eq!(bytes[0], 0x08, "little-endian");
        assert_eq!(bytes[16..20], [0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(bytes[20..], [0; 4], "padding is zero");
        assert_eq!(Poll::from_bytes(&bytes), poll);

        let read = NetRead { handle: 1, data: u64::MAX, len: 1514, ret: 1 };
        assert_eq!(NetRead::from_bytes(&read.to_bytes()), read);
        let halt = Halt { cookie: 7, exit_status: i32::MIN };
        assert_eq!(Halt::from_bytes(&halt.to_bytes()), halt);
        let block = BlockWrite { handle: 1, offset: 2, data: 3, len: 4, ret: 5 };
        assert_eq!(BlockWrite::from_bytes(&block.to_bytes()), block);
    }

    #[test]
    fn results_are_the_public_codes() {
        for (code, result) in [
            (0, CallResult::Ok),
            (1, CallResult::Again),
            (2, CallResult::InvalidArgument),
            (3, CallResult::Unspecified),
        ] {
            assert_eq!(CallResult::from_code(code), result);
            assert_eq!(result.code(), code);
        }
        assert_eq!(CallResult::from_code(-1), CallResult::Unspecified);
    }
}
