//! The Solo5 *hvt* guest interface, ABI version 2: the one definition that the host and the guests share.
//!
//! - [`hypercall`]: the numbers, ports and argument structures of the eight calls;
//! - [`boot_info`]: the page that a guest finds at its start;
//! - [`note`] and [`manifest`]: what an image says about itself;
//! - [`ring`]: frames without a hypercall for each;
//! - [`memory_map`]: which guest-physical addresses mean what.
//!
//! Every structure exists in two forms that are the same bytes: a `repr(C)` type, which a guest places in
//! its memory and hands over by address, and a codec to and from octets, which a host uses on a *copy* of
//! guest memory. All integers are little-endian; sizes are asserted when this crate is compiled. There is
//! nothing here but data: no dependency, no allocation, no `unsafe`.
//!
//! Source: Solo5's public headers (`hvt_abi.h`, `mft_abi.h`, `elf_abi.h`); the features from bit 16 up are
//! our own additions, which a guest of another origin never looks at and another monitor never sets.
#![no_std]
#![forbid(unsafe_code)]

mod codec;

pub mod boot_info;
pub mod hypercall;
pub mod manifest;
pub mod memory_map;
pub mod note;
pub mod ring;

/// The version of the hvt ABI that this crate describes.
pub const ABI_VERSION: u32 = 2;
