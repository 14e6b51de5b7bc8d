//! What a snapshot was made from, as one number.

use std::fmt;

/// Separates these hashes from all others (BLAKE3, section 2.3: the context of a derived key).
const CONTEXT: &str = "summoner snapshot key, format 1";

/// Everything that a guest's state depends on: if any of it changes, the snapshot is of another guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// The image's digest.
    pub image: &'a [u8; 32],
    /// Guest memory, in octets.
    pub memory: u64,
    /// What the guest was told at its start; its addresses are in it.
    pub command_line: &'a str,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// The largest IP packet of its network, in octets.
    pub mtu: u16,
    /// What the guest sees of the processor.
    pub cpu: &'a [u8],
    /// The program that made the state: its version and build.
    pub monitor: &'a str,
}

/// A hash over [`KeyParts`]: equal for equal parts, and for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotKey([u8; 32]);

impl SnapshotKey {
    /// The key of these parts.
    #[must_use]
    pub fn of(parts: &KeyParts<'_>) -> Self {
        let KeyParts { image, memory, command_line, mac, mtu, cpu, monitor } = parts;
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let parts: [&[u8]; 7] = [
            *image,
            &memory.to_le_bytes(),
            command_line.as_bytes(),
            mac,
            &mtu.to_le_bytes(),
            cpu,
            monitor.as_bytes(),
        ];
        for part in parts {
            // With its length before it, no part can pretend to be a piece of the next.
            hasher.update(&part.len().to_le_bytes()).update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The key with these octets.
    #[must_use]
    pub const fn from_bytes(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Its octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotKey(")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PARTS: KeyParts<'_> = KeyParts {
        image: &[1; 32],
        memory: 8 << 20,
        command_line: "--name=web",
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        cpu: b"cpu",
        monitor: "0.1.0",
    };

    #[test]
    fn every_part_makes_a_difference() {
        let keys = [
            PARTS,
            KeyParts { image: &[2; 32], ..PARTS },
            KeyParts { memory: 10 << 20, ..PARTS },
            KeyParts { command_line: "--name=we", ..PARTS },
            KeyParts { mac: [2, 0, 0, 0, 0, 2], ..PARTS },
            KeyParts { mtu: 1400, ..PARTS },
            KeyParts { cpu: b"cpu2", ..PARTS },
            KeyParts { monitor: "0.1.1", ..PARTS },
            // The same octets, cut elsewhere.
            KeyParts { cpu: b"cpu0", monitor: ".1.0", ..PARTS },
        ];
        let distinct: HashSet<_> = keys.iter().map(SnapshotKey::of).collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(SnapshotKey::of(&PARTS), SnapshotKey::of(&PARTS.clone()));
    }
}
