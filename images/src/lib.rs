//! From the bytes of an image to what may be booted.
//!
//! ```text
//!   bytes --elf--> header, segments --note--> ABI, manifest, features --plan--> Plan --> the monitor
//! ```
//!
//! [`plan()`] is the one door: it reads an ELF file that may come from anywhere, checks everything that the
//! monitor relies on, and returns a [`Plan`], or an [`ImageError`] that says what is wrong, where, and what
//! to do about it. Nothing in here runs a guest or touches `/dev/kvm`.
//!
//! [`builtin`] holds the images that come with the program, [`inspect`] tells people about an image;
//! [`baseline`] holds the ordinary programs that unikernels are measured against.
//!
//! Sources: *System V Application Binary Interface* (ELF-64); Solo5's `elf_abi.h` and `mft_abi.h` for the
//! notes. The limits are those of the hvt ABI, see [`hvt_abi::memory_map`].
#![forbid(unsafe_code)]

pub mod baseline;
pub mod builtin;
pub mod inspect;

mod digest;
mod elf;
mod error;
mod manifest;
mod note;
mod plan;
mod without;

pub use digest::Digest;
pub use elf::Machine;
pub use error::{ElfError, ImageError, ManifestError, MemoryError, NoteError, SegmentError};
pub use hvt_abi::boot_info::Features;
pub use manifest::{Device, DeviceKind, Manifest};
pub use note::{Abi, Takes};
pub use plan::{Access, PageRange, Plan, Segment, plan};
pub use without::without;
