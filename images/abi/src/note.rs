//! The ELF notes by which an image says what it is: ABI1 and MFT1, and what features it takes.
//!
//! Each lies in a `PT_NOTE` of its own. ABI1 and MFT1 have the owner name `Solo5`, so their common header takes
//! [`NOTE_HEADER_SIZE`] octets: three 32-bit words and the name, padded to eight. The third, which an image may
//! leave out, is our own addition: see [`TakesNote`].

use crate::boot_info::Features;
use crate::codec::{put, u32 as le32, wire_struct};
use crate::manifest::{self, ENTRY_SIZE, Entry};

/// The owner name of both notes, with its NUL.
pub const OWNER: &[u8; 6] = b"Solo5\0";

const OWNER_SIZE: u32 = 6;

/// Octets of a note before its descriptor.
pub const NOTE_HEADER_SIZE: usize = 20;

/// The type of the note that names the ABI ("ABI1").
pub const TYPE_ABI1: u32 = 0x3149_4241;

/// The type of the note that holds the manifest ("MFT1").
pub const TYPE_MFT1: u32 = 0x3154_464d;

/// Octets between the header of an MFT1 note and the manifest, which is aligned to 8; `n_descsz` counts them.
pub const MFT1_PADDING: usize = 4;

/// The `n_descsz` of an ABI1 note.
pub const ABI1_DESCRIPTOR_SIZE: u32 = 16;

/// Octets of a whole ABI1 note.
pub const ABI1_NOTE_SIZE: usize = NOTE_HEADER_SIZE + Abi1::SIZE;

/// What `PT_INTERP` holds, so that no other kernel runs an image by accident; a NUL follows in the file.
pub const INTERPRETER: &str = "/nonexistent/solo5/";

/// `abi_target` of the interface that this crate describes.
pub const TARGET_HVT: u32 = 1;

/// The name of an `abi_target`, if it is known.
#[must_use]
pub const fn target_name(target: u32) -> Option<&'static str> {
    Some(match target {
        1 => "hvt",
        2 => "spt",
        3 => "virtio",
        4 => "muen",
        5 => "genode",
        6 => "xen",
        _ => return None,
    })
}

wire_struct! {
    /// The descriptor of an ABI1 note.
    pub struct Abi1, 16 octets {
        /// Which interface the image was built for; see [`target_name`].
        abi_target: u32 at 0,
        /// Which version of it.
        abi_version: u32 at 4,
        /// Zero.
        reserved0: u32 at 8,
        /// Zero.
        reserved1: u32 at 12,
    }
}

/// What a note's header says besides its owner; its octets are those of a note whose owner is [`OWNER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteHeader {
    /// Octets of the descriptor.
    pub descriptor_size: u32,
    /// What the descriptor is.
    pub note_type: u32,
}

impl NoteHeader {
    /// The header's octets.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; NOTE_HEADER_SIZE] {
        let mut bytes = [0; NOTE_HEADER_SIZE];
        le32::write(&mut bytes, 0, OWNER_SIZE);
        le32::write(&mut bytes, 4, self.descriptor_size);
        le32::write(&mut bytes, 8, self.note_type);
        put(&mut bytes, 12, OWNER);
        bytes
    }

    /// Reads a header; `None` when another owner wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; NOTE_HEADER_SIZE]) -> Option<Self> {
        let owned = le32::read(bytes, 0) == OWNER_SIZE && bytes[12..12 + OWNER.len()] == *OWNER;
        owned.then(|| Self {
            descriptor_size: le32::read(bytes, 4),
            note_type: le32::read(bytes, 8),
        })
    }
}

/// A whole ABI1 note for [`TARGET_HVT`], to be placed in a `PT_NOTE` of its own.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(4))]
pub struct Abi1Note([u8; ABI1_NOTE_SIZE]);

impl Abi1Note {
    /// The note of an image for this ABI.
    pub const HVT: Self = {
        let mut bytes = [0; ABI1_NOTE_SIZE];
        let header = NoteHeader { descriptor_size: ABI1_DESCRIPTOR_SIZE, note_type: TYPE_ABI1 };
        put(&mut bytes, 0, &header.to_bytes());
        let descriptor = Abi1 {
            abi_target: TARGET_HVT,
            abi_version: crate::ABI_VERSION,
            reserved0: 0,
            reserved1: 0,
        };
        put(&mut bytes, NOTE_HEADER_SIZE, &descriptor.to_bytes());
        Self(bytes)
    };

    /// The note's octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A whole MFT1 note with `N` entries, the reserved one included.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct Mft1Note<const N: usize> {
    header: [u8; NOTE_HEADER_SIZE],
    padding: [u8; MFT1_PADDING],
    table_header: [u8; manifest::HEADER_SIZE],
    entries: [[u8; ENTRY_SIZE]; N],
}

impl<const N: usize> Mft1Note<N> {
    /// The note for these entries, in this order.
    ///
    /// # Panics
    /// When the first entry is not the reserved one or there are more than
    /// [`MAX_ENTRIES`](manifest::MAX_ENTRIES); in a constant that is an error of compilation.
    #[must_use]
    pub const fn new(entries: [Entry; N]) -> Self {
        assert!(N >= 1 && N <= manifest::MAX_ENTRIES, "a manifest has 1 to 64 entries");
        assert!(
            matches!(entries[0].kind, manifest::EntryKind::Reserved),
            "the first entry of a manifest is the reserved one"
        );
        assert!(size_of::<Self>() == mft1_note_size(N), "nothing lies between the parts");
        let header = NoteHeader { descriptor_size: mft1_descriptor_size(N), note_type: TYPE_MFT1 };
        let mut octets = [[0; ENTRY_SIZE]; N];
        let mut index = 0;
        while index < N {
            octets[index] = entries[index].to_bytes();
            index += 1;
        }
        Self {
            header: header.to_bytes(),
            padding: [0; MFT1_PADDING],
            #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
            table_header: manifest::header_to_bytes(N as u32),
            entries: octets,
        }
    }
}

/// Octets of a whole MFT1 note with that many entries.
#[must_use]
pub const fn mft1_note_size(entries: usize) -> usize {
    NOTE_HEADER_SIZE + MFT1_PADDING + manifest::table_size(entries)
}

/// The `n_descsz` of an MFT1 note with that many entries, at most 64.
#[must_use]
pub const fn mft1_descriptor_size(entries: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 4 + 8 + 64 * 104")]
    {
        (MFT1_PADDING + manifest::table_size(entries)) as u32
    }
}

/// The owner name of the note that names the features an image takes, with its NUL.
pub const TAKES_OWNER: &[u8; 9] = b"Summoner\0";

const TAKES_OWNER_SIZE: u32 = 9;

/// The type of that note.
pub const TYPE_TAKES: u32 = 1;

/// Octets of that note before its descriptor: three 32-bit words and the name, padded to twelve.
pub const TAKES_HEADER_SIZE: usize = 24;

/// The `n_descsz` of that note: one 32-bit word of feature bits.
pub const TAKES_DESCRIPTOR_SIZE: u32 = 4;

/// Octets of that whole note.
pub const TAKES_NOTE_SIZE: usize = TAKES_HEADER_SIZE + 4;

/// A whole note that names the [`Features`] an image takes, to be placed in a `PT_NOTE` of its own.
///
/// A host that offers a feature which costs the guest something (memory for the
/// [ring](crate::ring)) or relies on it (cloning a guest, with [`Features::RENEWAL`]) does so only if the image
/// takes it. An image without the note takes none.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(4))]
pub struct TakesNote([u8; TAKES_NOTE_SIZE]);

impl TakesNote {
    /// The note of an image that takes these.
    #[must_use]
    pub const fn new(features: Features) -> Self {
        let mut bytes = [0; TAKES_NOTE_SIZE];
        le32::write(&mut bytes, 0, TAKES_OWNER_SIZE);
        le32::write(&mut bytes, 4, TAKES_DESCRIPTOR_SIZE);
        le32::write(&mut bytes, 8, TYPE_TAKES);
        put(&mut bytes, 12, TAKES_OWNER);
        le32::write(&mut bytes, TAKES_HEADER_SIZE, features.0);
        Self(bytes)
    }

    /// The note's octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the header of a note whose owner is [`TAKES_OWNER`]; `None` when another owner wrote it.
#[must_use]
pub fn takes_header(bytes: &[u8; TAKES_HEADER_SIZE]) -> Option<NoteHeader> {
    let owned = le32::read(bytes, 0) == TAKES_OWNER_SIZE
        && bytes[12..12 + TAKES_OWNER.len()] == *TAKES_OWNER;
    owned.then(|| NoteHeader {
        descriptor_size: le32::read(bytes, 4),
        note_type: le32::read(bytes, 8),
    })
}

const _: () = {
    assert!(size_of::<TakesNote>() == 28);
    assert!(size_of::<Abi1Note>() == 36);
    assert!(size_of::<Mft1Note<1>>() == 136);
    assert!(size_of::<Mft1Note<2>>() == 240);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    #[test]
    fn the_abi_note_has_the_public_layout() {
        let bytes = Abi1Note::HVT.as_bytes();
        assert_eq!(bytes[..12], [6, 0, 0, 0, 16, 0, 0, 0, b'A', b'B', b'I', b'1']);
        assert_eq!(&bytes[12..20], b"Solo5\0\0\0");
        assert_eq!(bytes[20..], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_manifest_note_counts_its_padding() {
        let note = Mft1Note::new([Entry::RESERVED, Entry::net(Name::new("service").unwrap())]);
        let header = NoteHeader::from_bytes(&note.header).unwrap();
        assert_eq!(header, NoteHeader { descriptor_size: 4 + 8 + 208, note_type: TYPE_MFT1 });
        assert_eq!(&note.header[8..12], b"MFT1");
        assert_eq!(note.table_header, [1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(core::mem::offset_of!(Mft1Note<2>, table_header) % 8, 0);
    }

    #[test]
    fn the_note_of_features_has_its_own_header() {
        let note = TakesNote::new(Features::SHARED_RING.union(Features::RENEWAL));
        let bytes = note.as_bytes();
        assert_eq!(bytes[..12], [9, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(&bytes[12..24], b"Summoner\0\0\0\0");
        assert_eq!(bytes[24..], [1, 0, 8, 0]);
        let (header, _) = bytes.split_first_chunk().unwrap();
        let expected = NoteHeader { descriptor_size: 4, note_type: TYPE_TAKES };
        assert_eq!(takes_header(header), Some(expected));
        let mut other = *header;
        other[13] = b'o';
        assert_eq!(takes_header(&other), None);
        other = *header;
        other[0] = 8;
        assert_eq!(takes_header(&other), None);
    }

    #[test]
    fn a_note_of_another_owner_is_not_ours() {
        let mut bytes = NoteHeader { descriptor_size: 1, note_type: 2 }.to_bytes();
        assert!(NoteHeader::from_bytes(&bytes).is_some());
        bytes[12] = b's';
        assert!(NoteHeader::from_bytes(&bytes).is_none());
        bytes[12] = b'S';
        bytes[0] = 4;
        assert!(NoteHeader::from_bytes(&bytes).is_none());
    }
}
