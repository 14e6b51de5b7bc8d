//! The notes that make an ELF program a unikernel image.

use elf::abi::PT_NOTE;
use hvt_abi::boot_info::Features;
use hvt_abi::note::{
    self as abi, ABI1_DESCRIPTOR_SIZE, Abi1, MFT1_PADDING, NOTE_HEADER_SIZE, NoteHeader,
    TAKES_DESCRIPTOR_SIZE, TAKES_HEADER_SIZE,
};
use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::elf::ElfFile;
use crate::error::NoteError;
use crate::manifest::Manifest;

/// The interface that an image was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Abi {
    /// Which interface; see [`hvt_abi::note::target_name`].
    pub target: u32,
    /// Which version of it.
    pub version: u32,
}

impl std::fmt::Display for Abi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match abi::target_name(self.target) {
            Some(name) => write!(f, "Solo5 {name} version {}", self.version),
            None => write!(f, "Solo5 target {} version {}", self.target, self.version),
        }
    }
}

/// The features that an image takes, by its own word; an image that does not say takes none.
///
/// Bits that no feature has are kept: the image was made for a newer host, and they change nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Takes(pub u32);

impl Takes {
    /// As feature bits.
    #[must_use]
    pub const fn features(self) -> Features {
        Features(self.0)
    }

    /// Whether the image takes all of these.
    #[must_use]
    pub const fn contains(self, features: Features) -> bool {
        self.features().contains(features)
    }
}

impl From<Features> for Takes {
    fn from(features: Features) -> Self {
        Self(features.0)
    }
}

impl std::fmt::Display for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.features().fmt(f)
    }
}

/// What errors call the note of [`Takes`].
pub(crate) const TAKES_NAME: &str = "features";

/// What the notes say.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) abi: Abi,
    pub(crate) manifest: Manifest,
    pub(crate) takes: Takes,
}

/// A note: the program header it came from, and its descriptor.
type Found<'a> = Option<(usize, &'a [u8])>;

/// Finds and checks the notes.
pub(crate) fn notes(file: &ElfFile<'_>) -> Result<Notes, ImageError> {
    let (mut abi1, mut mft1, mut takes): (Found<'_>, Found<'_>, Found<'_>) = (None, None, None);
    for (index, _, bytes) in file.of_type(PT_NOTE) {
        // Notes of others (a build identifier, say) are none of our business.
        let Some((header, descriptor)) = header(bytes) else { continue };
        let (name, slot) = match header {
            Header::Solo5(NoteHeader { note_type: abi::TYPE_ABI1, .. }) => ("ABI1", &mut abi1),
            Header::Solo5(NoteHeader { note_type: abi::TYPE_MFT1, .. }) => ("MFT1", &mut mft1),
            Header::Summoner(NoteHeader { note_type: abi::TYPE_TAKES, .. }) => {
                (TAKES_NAME, &mut takes)
            }
            Header::Solo5(_) | Header::Summoner(_) => continue,
        };
        let found = descriptor.len() as u64;
        let wanted = u64::from(header.descriptor_size());
        if found != wanted {
            return Err(NoteError::Size { index, name, field: "p_filesz", found, wanted }.into());
        }
        if slot.replace((index, descriptor)).is_some() {
            return Err(NoteError::Twice { index, name }.into());
        }
    }
    let abi = abi_of(abi1)?;
    let (index, descriptor) = mft1.ok_or(NoteError::Missing { name: "MFT1" })?;
    let table = descriptor.get(MFT1_PADDING..).unwrap_or_default();
    Ok(Notes { abi, manifest: Manifest::from_note(index, table)?, takes: takes_of(takes)? })
}

/// A note's header, by who owns the note.
#[derive(Debug, Clone, Copy)]
enum Header {
    Solo5(NoteHeader),
    Summoner(NoteHeader),
}

impl Header {
    const fn descriptor_size(self) -> u32 {
        match self {
            Self::Solo5(header) | Self::Summoner(header) => header.descriptor_size,
        }
    }
}

/// The header of a note that is of any interest, and what follows it.
fn header(note: &[u8]) -> Option<(Header, &[u8])> {
    let (octets, descriptor) = note.split_first_chunk::<NOTE_HEADER_SIZE>()?;
    if let Some(header) = NoteHeader::from_bytes(octets) {
        return Some((Header::Solo5(header), descriptor));
    }
    let (octets, descriptor) = note.split_first_chunk::<TAKES_HEADER_SIZE>()?;
    Some((Header::Summoner(abi::takes_header(octets)?), descriptor))
}

fn takes_of(found: Found<'_>) -> Result<Takes, NoteError> {
    let Some((index, descriptor)) = found else { return Ok(Takes::default()) };
    let word: [u8; 4] = descriptor.try_into().map_err(|_| NoteError::Size {
        index,
        name: TAKES_NAME,
        field: "n_descsz",
        found: descriptor.len() as u64,
        wanted: u64::from(TAKES_DESCRIPTOR_SIZE),
    })?;
    Ok(Takes(u32::from_le_bytes(word)))
}

fn abi_of(found: Found<'_>) -> Result<Abi, NoteError> {
    let (index, descriptor) = found.ok_or(NoteError::Missing { name: "ABI1" })?;
    let descriptor: &[u8; Abi1::SIZE] = descriptor.try_into().map_err(|_| NoteError::Size {
        index,
        name: "ABI1",
        field: "n_descsz",
        found: descriptor.len() as u64,
        wanted: u64::from(ABI1_DESCRIPTOR_SIZE),
    })?;
    let Abi1 { abi_target: target, abi_version: version, .. } = Abi1::from_bytes(descriptor);
    if (target, version) != (abi::TARGET_HVT, hvt_abi::ABI_VERSION) {
        return Err(NoteError::Abi { target, version });
    }
    Ok(Abi { target, version })
}
