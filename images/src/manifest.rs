//! The devices that an image needs, checked.

use hvt_abi::manifest::{
    self as abi, ENTRY_SIZE, Entry, EntryError, EntryKind, HEADER_SIZE, MAX_ENTRIES, Name,
};
use serde::{Deserialize, Serialize};

use crate::error::{ManifestError, NoteError};

/// The devices that an image needs, in the order of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The devices; the one at position `i` has the handle `i + 1`.
    pub devices: Vec<Device>,
}

/// A device that an image needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name: ASCII letters and digits, unique in the image.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
}

/// The kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Storage in blocks.
    Block,
    /// A network interface.
    Net,
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Net => "net",
        })
    }
}

impl Manifest {
    /// Every device with its handle, which the guest names it by.
    pub fn handles(&self) -> impl Iterator<Item = (u64, &Device)> {
        (1..).zip(&self.devices)
    }

    /// The table as a running guest sees it. `attach` says for each device what is attached to it: an entry
    /// kind with its values, or `None` to leave the device unattached.
    #[must_use]
    pub fn to_table(&self, mut attach: impl FnMut(u64, &Device) -> Option<EntryKind>) -> Vec<u8> {
        let entries =
            std::iter::once(Entry::RESERVED).chain(self.handles().map(|(handle, device)| {
                // A name that passed the check once passes it again; a plan made by hand may not.
                let name = Name::new(&device.name).unwrap_or(Name::EMPTY);
                let unattached = match device.kind {
                    DeviceKind::Block => Entry::block(name),
                    DeviceKind::Net => Entry::net(name),
                };
                match attach(handle, device) {
                    Some(kind) => Entry { name, kind, attached: true },
                    None => unattached,
                }
            }));
        let mut octets = vec![0; HEADER_SIZE];
        let mut count = 0;
        for entry in entries.take(MAX_ENTRIES) {
            octets.extend_from_slice(&entry.to_bytes());
            count += 1;
        }
        octets[..HEADER_SIZE].copy_from_slice(&abi::header_to_bytes(count));
        octets
    }

    /// Reads and checks the table of a file; `index` is the program header it came from.
    pub(crate) fn from_note(index: usize, table: &[u8]) -> Result<Self, crate::ImageError> {
        let size = |wanted: usize| NoteError::Size {
            index,
            name: "MFT1",
            field: "n_descsz",
            found: table.len() as u64,
            wanted: wanted as u64,
        };
        let (header, entries) = table.split_first_chunk().ok_or_else(|| size(HEADER_SIZE))?;
        let (version, count) = abi::header_from_bytes(header);
        if version != abi::VERSION {
            return Err(ManifestError::Version { found: version }.into());
        }
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        if !(1..=MAX_ENTRIES).contains(&wanted) {
            return Err(ManifestError::Count { found: count }.into());
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_SIZE>();
        if entries.len() != wanted || !rest.is_empty() {
            return Err(size(abi::table_size(wanted)).into());
        }
        let mut devices: Vec<Device> = Vec::with_capacity(wanted - 1);
        for (index, octets) in entries.iter().enumerate() {
            if let Some(device) = device(index, octets)? {
                if let Some(first) = devices.iter().position(|other| other.name == device.name) {
                    let name = device.name;
                    return Err(ManifestError::Duplicate { first: first + 1, index, name }.into());
                }
                devices.push(device);
            }
        }
        Ok(Self { devices })
    }
}

/// The device that entry `index` describes; `None` for the reserved one.
fn device(index: usize, octets: &[u8; ENTRY_SIZE]) -> Result<Option<Device>, ManifestError> {
    let entry = Entry::from_bytes(octets).map_err(|error| match error {
        EntryError::Name => ManifestError::Name { index },
        EntryError::Type(found) => ManifestError::Type { index, found },
    })?;
    let kind = match (index, entry.kind) {
        (0, EntryKind::Reserved) => None,
        (0, EntryKind::Block { .. }) => {
            return Err(ManifestError::Type { index, found: abi::TYPE_BLOCK });
        }
        (0, EntryKind::Net { .. }) => {
            return Err(ManifestError::Type { index, found: abi::TYPE_NET });
        }
        (_, EntryKind::Reserved) => {
            return Err(ManifestError::Type { index, found: abi::TYPE_RESERVED });
        }
        (_, EntryKind::Block { .. }) => Some(DeviceKind::Block),
        (_, EntryKind::Net { .. }) => Some(DeviceKind::Net),
    };
    let name = entry.name.as_str();
    if name.is_empty() != kind.is_none() {
        return Err(ManifestError::Naming { index });
    }
    if entry.attached {
        return Err(ManifestError::Attached { index });
    }
    Ok(kind.map(|kind| Device { name: name.to_owned(), kind }))
}
