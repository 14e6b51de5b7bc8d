//! The ELF file: its header and its program headers, each checked to lie within the file.

use elf::ParseError;
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};
use serde::{Deserialize, Serialize};

use crate::error::ElfError;

/// Octets of a program header of 64-bit ELF.
const PROGRAM_HEADER_SIZE: u16 = 56;

/// The most that a message quotes of a foreign interpreter's name, in octets.
const QUOTED: usize = 64;

/// The processor that an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Machine {
    /// x86-64, `EM_X86_64`.
    X86_64,
    /// 64-bit ARM, `EM_AARCH64`.
    Aarch64,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "AArch64",
        })
    }
}

/// A static ELF program whose program headers all lie within the file.
pub(crate) struct ElfFile<'a> {
    pub(crate) machine: Machine,
    pub(crate) entry: u64,
    headers: Vec<(ProgramHeader, &'a [u8])>,
}

impl<'a> ElfFile<'a> {
    /// Reads the file's header and program headers.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let header = file_header(bytes)?;
        if header.e_type != abi::ET_EXEC {
            return Err(ElfError::Type { found: header.e_type });
        }
        let machine = match header.e_machine {
            abi::EM_X86_64 => Machine::X86_64,
            abi::EM_AARCH64 => Machine::Aarch64,
            found => return Err(ElfError::Machine { found }),
        };
        let headers = program_headers(bytes, &header)?;
        Ok(Self { machine, entry: header.e_entry, headers })
    }

    /// The program headers of one type: their index in the file, themselves, and their bytes.
    pub(crate) fn of_type(
        &self,
        kind: u32,
    ) -> impl Iterator<Item = (usize, &ProgramHeader, &'a [u8])> {
        self.headers
            .iter()
            .enumerate()
            .filter(move |(_, (header, _))| header.p_type == kind)
            .map(|(index, (header, bytes))| (index, header, *bytes))
    }

    /// Refuses a file that asks for an interpreter other than Solo5's, which is a program for a kernel.
    pub(crate) fn check_interpreter(&self) -> Result<(), ElfError> {
        for (index, _, bytes) in self.of_type(abi::PT_INTERP) {
            let name = bytes.split(|octet| *octet == 0).next().unwrap_or_default();
            if name != hvt_abi::note::INTERPRETER.as_bytes() {
                let quoted = &name[..name.len().min(QUOTED)];
                let found = String::from_utf8_lossy(quoted).into_owned();
                return Err(ElfError::Interpreter { index, found });
            }
        }
        Ok(())
    }
}

fn file_header(bytes: &[u8]) -> Result<FileHeader<LittleEndian>, ElfError> {
    let short = || ElfError::Short { len: bytes.len() };
    let (ident, rest) = bytes.split_first_chunk::<{ abi::EI_NIDENT }>().ok_or_else(short)?;
    let tail = rest.get(..ELF64_EHDR_TAILSIZE).ok_or_else(short)?;
    let format = || ElfError::Format {
        class: ident[abi::EI_CLASS],
        data: ident[abi::EI_DATA],
        version: ident[abi::EI_VERSION],
    };
    let ident = parse_ident::<LittleEndian>(ident).map_err(|error| match error {
        ParseError::BadMagic(found) => ElfError::Magic { found },
        _ => format(),
    })?;
    if ident.1 != Class::ELF64 {
        return Err(format());
    }
    FileHeader::parse_tail(ident, tail).map_err(|_| short())
}

fn program_headers<'a>(
    bytes: &'a [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<Vec<(ProgramHeader, &'a [u8])>, ElfError> {
    let table =
        slice(bytes, header.e_phoff, u64::from(header.e_phnum) * u64::from(PROGRAM_HEADER_SIZE))
            .filter(|_| header.e_phentsize == PROGRAM_HEADER_SIZE)
            .ok_or(ElfError::ProgramHeaders {
                count: header.e_phnum,
                entry_size: header.e_phentsize,
                offset: header.e_phoff,
                len: bytes.len(),
            })?;
    SegmentTable::new(LittleEndian, Class::ELF64, table)
        .iter()
        .enumerate()
        .map(|(index, header)| {
            // What is in the file must be in the file, whatever the type: a header that lies about that
            // is damage, even if nobody would look.
            let content = slice(bytes, header.p_offset, header.p_filesz).ok_or({
                ElfError::OutsideFile {
                    index,
                    offset: header.p_offset,
                    size: header.p_filesz,
                    len: bytes.len(),
                }
            })?;
            Ok((header, content))
        })
        .collect()
}

/// The `size` octets at `offset`, if they exist. No octets exist everywhere.
fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    if size == 0 {
        return Some(&[]);
    }
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(start..end)
}
