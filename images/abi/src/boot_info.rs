//! The boot information: what a guest learns at its start.
//!
//! The host writes it at [`BOOT_INFO_ADDRESS`] and passes that address in the first argument register. It has
//! grown over time and carries no length of its own; but the manifest and the command line always follow it,
//! so a guest may read a field only if it ends at or before both of these ([`BootInfo::known_size`]).

use crate::codec::wire_struct;

/// Guest-physical address of the boot information.
pub const BOOT_INFO_ADDRESS: u64 = 0x1_0000;

/// Octets that a command line may take at most, its NUL included.
pub const COMMAND_LINE_MAX: usize = 8192;

wire_struct! {
    /// The boot information of ABI version 2, with our additions at its end.
    pub struct BootInfo, 96 octets {
        /// Octets of guest memory; it begins at address 0.
        mem_size: u64 at 0,
        /// First octet after the loaded image, rounded up to a page.
        kernel_end: u64 at 8,
        /// Ticks of the time-stamp counter per second.
        cpu_cycle_freq: u64 at 16,
        /// Guest-physical address of the command line, which ends with a NUL.
        cmdline: u64 at 24,
        /// Guest-physical address of the manifest.
        mft: u64 at 32,
        /// [`Features`] that the host offers.
        host_features: u32 at 40,
        /// [`Features`] that the guest takes; zero when it starts.
        guest_features: u32 at 44,
        /// Guest-physical address of the shared ring, with [`Features::SHARED_RING`].
        net_ring: u64 at 48,
        /// The instance's generation, with [`Features::FRESHNESS`]: never the same in two boots or clones. With
        /// [`Features::RENEWAL`] it may change during a poll.
        generation: u64 at 56,
        /// Random octets that no other boot or clone was given, with [`Features::FRESHNESS`]; four words
        /// without an order among themselves.
        entropy_0: u64 at 64,
        /// Second word of the entropy.
        entropy_1: u64 at 72,
        /// Third word of the entropy.
        entropy_2: u64 at 80,
        /// Fourth word of the entropy.
        entropy_3: u64 at 88,
    }
}

impl BootInfo {
    /// Octets of the oldest form, up to and including `mft`.
    pub const OLDEST_SIZE: usize = 40;

    /// The random octets of [`Features::FRESHNESS`].
    #[must_use]
    pub const fn entropy(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        crate::codec::put(&mut octets, 0, &self.entropy_0.to_le_bytes());
        crate::codec::put(&mut octets, 8, &self.entropy_1.to_le_bytes());
        crate::codec::put(&mut octets, 16, &self.entropy_2.to_le_bytes());
        crate::codec::put(&mut octets, 24, &self.entropy_3.to_le_bytes());
        octets
    }

    /// This boot information with `octets` as the random octets of [`Features::FRESHNESS`].
    #[must_use]
    pub const fn with_entropy(mut self, octets: &[u8; 32]) -> Self {
        use crate::codec::u64::read;
        self.entropy_0 = read(octets, 0);
        self.entropy_1 = read(octets, 8);
        self.entropy_2 = read(octets, 16);
        self.entropy_3 = read(octets, 24);
        self
    }

    /// The features that the host offers.
    #[must_use]
    pub const fn features(&self) -> Features {
        Features(self.host_features)
    }

    /// How many octets of the boot information at `address` the host really wrote, given its two oldest
    /// pointers: never more than [`BootInfo::SIZE`], never fewer than [`BootInfo::OLDEST_SIZE`].
    #[must_use]
    pub const fn known_size(address: u64, cmdline: u64, mft: u64) -> usize {
        let size = min(distance(address, cmdline), distance(address, mft));
        if size < Self::OLDEST_SIZE { Self::OLDEST_SIZE } else { size }
    }
}

/// How far `pointer` lies above `address`, at most [`BootInfo::SIZE`]; that also when it lies below.
const fn distance(address: u64, pointer: u64) -> usize {
    match pointer.checked_sub(address) {
        #[expect(clippy::cast_possible_truncation, reason = "smaller than SIZE")]
        Some(distance) if distance < BootInfo::SIZE as u64 => distance as usize,
        _ => BootInfo::SIZE,
    }
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// Feature bits of the boot information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Features(pub u32);

impl Features {
    /// Shared-ring network input and output.
    pub const SHARED_RING: Self = Self(1 << 0);
    /// Our addition: `generation` and the entropy are filled in.
    pub const FRESHNESS: Self = Self(1 << 16);
    /// Our addition: a [`Poll`](crate::hypercall::Poll) may return with bit 0 of its `ready_set` set, once,
    /// when the host asks the guest to shut down.
    pub const SHUTDOWN_REQUEST: Self = Self(1 << 17);
    /// Our addition, with [`Features::SHARED_RING`]: before it waits, every
    /// [`Poll`](crate::hypercall::Poll) carries out what is submitted in the ring, and before it returns it
    /// completes the reads in the ring for which there are frames; so a guest need not kick before a poll, and
    /// reads may be submitted ahead. See [`ring`](crate::ring).
    pub const POLL_SERVES_RING: Self = Self(1 << 18);
    /// Our addition, with [`Features::FRESHNESS`]: `generation` and the entropy may have changed when a
    /// [`Poll`](crate::hypercall::Poll) returns, because the guest is a clone of the one that called, or was
    /// resumed. A guest that takes this looks at `generation` after each poll and, when it is another, begins
    /// anew with everything that must never be the same twice.
    pub const RENEWAL: Self = Self(1 << 19);

    /// Every feature that has a name, with the name.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::SHARED_RING, "shared-ring"),
        (Self::FRESHNESS, "freshness"),
        (Self::SHUTDOWN_REQUEST, "shutdown-request"),
        (Self::POLL_SERVES_RING, "poll-serves-ring"),
        (Self::RENEWAL, "renewal"),
    ];

    /// Whether every bit of `other` is set in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl core::fmt::Display for Features {
    /// Writes the names, and what has none as one number: `shared-ring, 0x80000000`; `none` when there is no bit.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (mut rest, mut separator) = (*self, "");
        for (feature, name) in Self::NAMED {
            if self.contains(feature) {
                write!(f, "{separator}{name}")?;
                rest.0 &= !feature.0;
                separator = ", ";
            }
        }
        match (rest.0, separator) {
            (0, "") => f.write_str("none"),
            (0, _) => Ok(()),
            (unknown, separator) => write!(f, "{separator}{unknown:#x}"),
        }
    }
}

/// The bit of [`Poll::ready_set`](crate::hypercall::Poll::ready_set) that asks for the guest's end.
pub const SHUTDOWN_REQUEST_BIT: u64 = 1 << 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_way_to_octets_and_back() {
        let entropy: [u8; 32] = core::array::from_fn(|index| u8::try_from(index).unwrap());
        let info = BootInfo {
            mem_size: 8 << 20,
            kernel_end: 0x40_1000,
            cpu_cycle_freq: 2_000_000_000,
            cmdline: 0x1_0100,
            mft: 0x1_0060,
            host_features: Features::FRESHNESS.union(Features::SHUTDOWN_REQUEST).0,
            generation: 42,
            ..BootInfo::default()
        }
        .with_entropy(&entropy);
        let bytes = info.to_bytes();
        assert_eq!(bytes[64..96], entropy, "in the order given");
        assert_eq!(BootInfo::from_bytes(&bytes), info);
        assert_eq!(info.entropy(), entropy);
        assert!(info.features().contains(Features::FRESHNESS));
        assert!(!info.features().contains(Features::SHARED_RING));
    }

    #[test]
    fn features_have_names() {
        extern crate alloc;
        use alloc::string::ToString;
        assert_eq!(Features::default().to_string(), "none");
        let some = Features::SHARED_RING.union(Features::RENEWAL);
        assert_eq!(some.to_string(), "shared-ring, renewal");
        assert_eq!(some.union(Features(1 << 31)).to_string(), "shared-ring, renewal, 0x80000000");
        assert_eq!(Features(6).to_string(), "0x6");
    }

    #[test]
    fn the_pointers_tell_how_much_of_it_there_is() {
        let at = BOOT_INFO_ADDRESS;
        // An old host: the manifest follows the first five fields.
        assert_eq!(BootInfo::known_size(at, at + 0x200, at + 40), 40);
        // A host of today: it follows `net_ring`.
        assert_eq!(BootInfo::known_size(at, at + 0x200, at + 56), 56);
        assert_eq!(BootInfo::known_size(at, at + 56, at + 0x200), 56);
        // Ours.
        assert_eq!(BootInfo::known_size(at, at + 0x200, at + 96), 96);
        // Pointers that say nothing, or nonsense.
        assert_eq!(BootInfo::known_size(at, 0, u64::MAX), 96);
        assert_eq!(BootInfo::known_size(at, at, at + 1), 40);
    }
}
