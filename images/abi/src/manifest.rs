//! The manifest: the table of devices that an image needs.
//!
//! It stands in the image's MFT1 [`note`](crate::note), and again, with what the host attached filled in, in
//! the guest's memory. A device's *handle* is its index in the table; entry 0 is reserved.

use crate::codec::{put, u16 as le16, u32 as le32, u64 as le64};

/// The version of the table that this module describes.
pub const VERSION: u32 = 1;

/// Octets before the first entry: the version and the number of entries.
pub const HEADER_SIZE: usize = 8;

/// Octets of an entry.
pub const ENTRY_SIZE: usize = 104;

/// The most entries that a table may have, the reserved one included; a handle is a bit of a 64-bit set.
pub const MAX_ENTRIES: usize = 64;

/// Octets of an entry's name, its NUL included.
pub const NAME_SIZE: usize = 68;

/// The `type` of a block device.
pub const TYPE_BLOCK: u32 = 1;
/// The `type` of a network device.
pub const TYPE_NET: u32 = 2;
/// The `type` of the reserved first entry.
pub const TYPE_RESERVED: u32 = 0x4000_0000;

/// Octets of a table with that many entries.
#[must_use]
pub const fn table_size(entries: usize) -> usize {
    HEADER_SIZE + entries * ENTRY_SIZE
}

/// Octets of a table's header.
#[must_use]
pub const fn header_to_bytes(entries: u32) -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    le32::write(&mut bytes, 0, VERSION);
    le32::write(&mut bytes, 4, entries);
    bytes
}

/// A table's header: its version and its number of entries, both unchecked.
#[must_use]
pub const fn header_from_bytes(bytes: &[u8; HEADER_SIZE]) -> (u32, u32) {
    (le32::read(bytes, 0), le32::read(bytes, 4))
}

/// An entry's name: at most 67 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    octets: [u8; NAME_SIZE],
    len: usize,
}

impl Name {
    /// The empty name, of the reserved entry.
    pub const EMPTY: Self = Self { octets: [0; NAME_SIZE], len: 0 };

    /// The name `text`, if that is 1 to 67 ASCII letters and digits.
    #[must_use]
    pub const fn new(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.is_empty() || text.len() >= NAME_SIZE {
            return None;
        }
        let mut index = 0;
        while index < text.len() {
            if !text[index].is_ascii_alphanumeric() {
                return None;
            }
            index += 1;
        }
        let mut octets = [0; NAME_SIZE];
        put(&mut octets, 0, text);
        Some(Self { octets, len: text.len() })
    }

    /// The name in an entry's name field, if that is empty or valid.
    const fn from_octets(octets: &[u8]) -> Option<Self> {
        let mut len = 0;
        while octets[len] != 0 {
            len += 1;
            // No NUL anywhere: the name does not end.
            if len == NAME_SIZE {
                return None;
            }
        }
        if len == 0 {
            return Some(Self::EMPTY);
        }
        match core::str::from_utf8(octets.split_at(len).0) {
            Ok(text) => Self::new(text),
            Err(_) => None,
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this is never the empty text by error.
        core::str::from_utf8(&self.octets[..self.len]).unwrap_or("")
    }
}

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What an entry is for, with what the host fills in when it attaches something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The first entry of every table.
    Reserved,
    /// A block device.
    Block {
        /// Octets of the device.
        capacity: u64,
        /// Octets of one block.
        block_size: u16,
    },
    /// A network device.
    Net {
        /// Its link-layer address.
        mac: [u8; 6],
        /// The largest IP packet it takes, in octets.
        mtu: u16,
    },
}

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The device's name; empty in the reserved entry only.
    pub name: Name,
    /// What it is for.
    pub kind: EntryKind,
    /// Whether the host attached something; never in a file.
    pub attached: bool,
}

/// Why octets are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryError {
    /// The name has no NUL, or holds something other than ASCII letters and digits.
    Name,
    /// The type is none of the three.
    Type(u32),
}

impl Entry {
    /// The first entry of every table.
    pub const RESERVED: Self =
        Self { name: Name::EMPTY, kind: EntryKind::Reserved, attached: false };

    /// A network device as an image asks for it.
    #[must_use]
    pub const fn net(name: Name) -> Self {
        Self { name, kind: EntryKind::Net { mac: [0; 6], mtu: 0 }, attached: false }
    }

    /// A block device as an image asks for it.
    #[must_use]
    pub const fn block(name: Name) -> Self {
        Self { name, kind: EntryKind::Block { capacity: 0, block_size: 0 }, attached: false }
    }

    /// Reads an entry from its octets.
    ///
    /// # Errors
    /// When the name or the type is none that exists. Whether the entry makes sense at its place in a table
    /// is not looked at.
    pub const fn from_bytes(bytes: &[u8; ENTRY_SIZE]) -> Result<Self, EntryError> {
        let Some(name) = Name::from_octets(bytes) else { return Err(EntryError::Name) };
        let kind = match le32::read(bytes, 68) {
            TYPE_RESERVED => EntryKind::Reserved,
            TYPE_BLOCK => EntryKind::Block {
                capacity: le64::read(bytes, 72),
                block_size: le16::read(bytes, 80),
            },
            TYPE_NET => EntryKind::Net {
                mac: [bytes[72], bytes[73], bytes[74], bytes[75], bytes[76], bytes[77]],
                mtu: le16::read(bytes, 78),
            },
            other => return Err(EntryError::Type(other)),
        };
        Ok(Self { name, kind, attached: bytes[96] != 0 })
    }

    /// The entry's octets.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        put(&mut bytes, 0, &self.name.octets);
        match self.kind {
            EntryKind::Reserved => le32::write(&mut bytes, 68, TYPE_RESERVED),
            EntryKind::Block { capacity, block_size } => {
                le32::write(&mut bytes, 68, TYPE_BLOCK);
                le64::write(&mut bytes, 72, capacity);
                le16::write(&mut bytes, 80, block_size);
            }
            EntryKind::Net { mac, mtu } => {
                le32::write(&mut bytes, 68, TYPE_NET);
                put(&mut bytes, 72, &mac);
                le16::write(&mut bytes, 78, mtu);
            }
        }
        bytes[96] = self.attached as u8;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_public_layout() {
        let mut entry = Entry::net(Name::new("service").unwrap());
        entry.kind = EntryKind::Net { mac: [2, 0, 0, 0, 0, 9], mtu: 0x05dc };
        entry.attached = true;
        let bytes = entry.to_bytes();
        assert_eq!(&bytes[..8], b"service\0");
        assert_eq!(bytes[68..72], [2, 0, 0, 0]);
        assert_eq!(bytes[72..80], [2, 0, 0, 0, 0, 9, 0xdc, 0x05]);
        assert_eq!(bytes[96], 1);
        assert_eq!(Entry::from_bytes(&bytes), Ok(entry));

        let mut block = Entry::block(Name::new("disk").unwrap());
        block.kind = EntryKind::Block { capacity: 1 << 30, block_size: 512 };
        assert_eq!(Entry::from_bytes(&block.to_bytes()), Ok(block));
        assert_eq!(Entry::from_bytes(&Entry::RESERVED.to_bytes()), Ok(Entry::RESERVED));
    }

    #[test]
    fn names_are_letters_and_digits() {
        assert_eq!(Name::new("a1Z").unwrap().as_str(), "a1Z");
        let long = [b'x'; NAME_SIZE];
        let long = core::str::from_utf8(&long).unwrap();
        assert!(Name::new(&long[..NAME_SIZE - 1]).is_some());
        for bad in ["", "a b", "a-b", "ä", "a\0b", long] {
            assert!(Name::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn bad_entries_are_told_apart() {
        let mut bytes = Entry::RESERVED.to_bytes();
        bytes[..NAME_SIZE].fill(b'x');
        assert_eq!(Entry::from_bytes(&bytes), Err(EntryError::Name), "no NUL");
        bytes[NAME_SIZE - 1] = 0;
        assert!(Entry::from_bytes(&bytes).is_ok(), "67 characters");
        bytes[0] = 0xff;
        assert_eq!(Entry::from_bytes(&bytes), Err(EntryError::Name), "not a letter");
        bytes[0] = b'x';
        bytes[68] = 3;
        assert_eq!(Entry::from_bytes(&bytes), Err(EntryError::Type(0x4000_0003)));
    }
}
