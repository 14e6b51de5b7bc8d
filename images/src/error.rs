//! What can be wrong with an image: each message says what, with which value, and what to do.

use hvt_abi::{manifest, memory_map, note};

/// Why bytes are not an image that can be booted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file is not an ELF program of the right kind.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The notes that make it a unikernel image are missing or wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its table of devices is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What it wants loaded cannot be loaded.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// It does not fit the memory that it is given.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Why bytes are not a static ELF program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Too short for an ELF header.
    #[error(
        "the file has {len} bytes, an ELF header alone takes 64; is the image truncated or empty?"
    )]
    Short {
        /// Octets of the file.
        len: usize,
    },
    /// Another kind of file.
    #[error(
        "the file begins with {found:02x?}, not with the ELF magic number; give the path of a unikernel \
         image built for Solo5 hvt"
    )]
    Magic {
        /// The first four octets.
        found: [u8; 4],
    },
    /// ELF, but not of 64 bits and little-endian.
    #[error(
        "the ELF file is not 64-bit little-endian (class {class}, data {data}, version {version}; wanted \
         2, 1, 1); build the image for a 64-bit target"
    )]
    Format {
        /// `EI_CLASS`.
        class: u8,
        /// `EI_DATA`.
        data: u8,
        /// `EI_VERSION`.
        version: u8,
    },
    /// ELF, but not an executable at fixed addresses.
    #[error(
        "the ELF file has type {found} (e_type), wanted 2 (ET_EXEC); link the image statically and without \
         position independence (-static -no-pie)"
    )]
    Type {
        /// `e_type`.
        found: u16,
    },
    /// An executable for another processor.
    #[error(
        "the ELF file is for machine {found} (e_machine), wanted 62 (x86-64) or 183 (AArch64); build the \
         image for one of these"
    )]
    Machine {
        /// `e_machine`.
        found: u16,
    },
    /// The table of program headers is not where the header says, or not of its form.
    #[error(
        "the program headers ({count} of {entry_size} bytes at offset {offset:#x}) do not lie within the \
         file ({len} bytes) as entries of 56 bytes; the image is truncated or damaged"
    )]
    ProgramHeaders {
        /// `e_phnum`.
        count: u16,
        /// `e_phentsize`.
        entry_size: u16,
        /// `e_phoff`.
        offset: u64,
        /// Octets of the file.
        len: usize,
    },
    /// The bytes of a segment are not in the file.
    #[error(
        "program header {index}: its bytes ({size:#x} at offset {offset:#x}) do not lie within the file \
         ({len:#x} bytes); the image is truncated or damaged"
    )]
    OutsideFile {
        /// Which program header.
        index: usize,
        /// `p_offset`.
        offset: u64,
        /// `p_filesz`.
        size: u64,
        /// Octets of the file.
        len: usize,
    },
    /// The file is a program for an operating system.
    #[error(
        "program header {index}: the file asks for the program interpreter {found:?}, an image for Solo5 \
         asks for \"{wanted}\"; this is a program for another system, not a unikernel image",
        wanted = note::INTERPRETER
    )]
    Interpreter {
        /// Which program header.
        index: usize,
        /// What it names, cut at 64 octets.
        found: String,
    },
}

/// Why an image's notes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A note that must be there is not.
    #[error(
        "there is no Solo5 {name} note in a PT_NOTE of its own; the file is not a unikernel image, or its \
         linker script drops or merges the note sections"
    )]
    Missing {
        /// Which note.
        name: &'static str,
    },
    /// A note is there twice.
    #[error(
        "program header {index}: a second {owner} {name} note; an image has one, keep only that",
        owner = owner(name)
    )]
    Twice {
        /// Which program header.
        index: usize,
        /// Which note.
        name: &'static str,
    },
    /// A note's size is not what its content or its place says.
    #[error(
        "program header {index}: the {owner} {name} note takes {found} bytes by its {field}, wanted {wanted}; \
         give each note a PT_NOTE of its own with its exact size",
        owner = owner(name)
    )]
    Size {
        /// Which program header.
        index: usize,
        /// Which note.
        name: &'static str,
        /// Where the size was found.
        field: &'static str,
        /// The size there.
        found: u64,
        /// The size that it should be.
        wanted: u64,
    },
    /// The image is for another interface.
    #[error(
        "the image is built for Solo5 {target} version {version}, this program runs hvt version {wanted}; \
         build it with the hvt bindings of that version",
        target = target_text(*target),
        wanted = hvt_abi::ABI_VERSION
    )]
    Abi {
        /// `abi_target`.
        target: u32,
        /// `abi_version`.
        version: u32,
    },
}

/// Who a note's form comes from.
fn owner(name: &str) -> &'static str {
    if name == crate::note::TAKES_NAME { "Summoner" } else { "Solo5" }
}

fn target_text(target: u32) -> String {
    note::target_name(target).map_or_else(|| format!("target {target}"), str::to_owned)
}

/// Why an image's table of devices cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Another version of the table.
    #[error("the manifest has version {found}, wanted {}; rebuild the image", manifest::VERSION)]
    Version {
        /// The version found.
        found: u32,
    },
    /// More entries than handles, or none.
    #[error(
        "the manifest has {found} entries, wanted 1 (the reserved one) to {}; ask for fewer devices",
        manifest::MAX_ENTRIES
    )]
    Count {
        /// The number found.
        found: u32,
    },
    /// A name that is none.
    #[error(
        "manifest entry {index}: the name is not a NUL-terminated text of at most 67 ASCII letters and \
         digits; rename the device in the image's manifest"
    )]
    Name {
        /// Which entry.
        index: usize,
    },
    /// A device without a name, or the reserved entry with one.
    #[error(
        "manifest entry {index}: {}; correct the image's manifest",
        if *index == 0 { "the reserved entry has a name" } else { "the device has no name" }
    )]
    Naming {
        /// Which entry.
        index: usize,
    },
    /// Two devices of one name.
    #[error(
        "manifest entries {first} and {index} are both named `{name}`; give each device a name of its own"
    )]
    Duplicate {
        /// The earlier entry.
        first: usize,
        /// The later entry.
        index: usize,
        /// Their name.
        name: String,
    },
    /// A type that does not exist, or not there.
    #[error(
        "manifest entry {index}: type {found:#x}, wanted {}; correct the image's manifest",
        if *index == 0 { "0x40000000 (reserved)" } else { "1 (block) or 2 (net)" }
    )]
    Type {
        /// Which entry.
        index: usize,
        /// The type found.
        found: u32,
    },
    /// A device that claims to be attached already.
    #[error(
        "manifest entry {index}: marked as attached, which only a running guest's copy may be; set the \
         field to 0 in the image"
    )]
    Attached {
        /// Which entry.
        index: usize,
    },
}

/// Why an image's segments cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Nothing to load.
    #[error("there is no PT_LOAD segment; the image has nothing to boot")]
    None,
    /// More than anybody needs.
    #[error(
        "there are {found} PT_LOAD segments, at most {max} are taken; merge sections in the linker script"
    )]
    TooMany {
        /// How many.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// More in the file than in memory.
    #[error(
        "segment {index} at {gpa:#x}: {file_size:#x} bytes in the file but {memory_size:#x} in memory; the \
         image is damaged"
    )]
    FileSize {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
        /// `p_filesz`.
        file_size: u64,
        /// `p_memsz`.
        memory_size: u64,
    },
    /// Loaded where the host's own tables are, or past everything.
    #[error(
        "segment {index} ({gpa:#x}, {memory_size:#x} bytes) lies outside {:#x} to {:#x}; correct the load \
         address in the linker script",
        memory_map::LOAD_MIN,
        memory_map::MEMORY_MAX
    )]
    Range {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
        /// `p_memsz`.
        memory_size: u64,
    },
    /// Not in ascending order, or overlapping.
    #[error(
        "segment {index} begins at {gpa:#x}, before the end of the one before it ({previous_end:#x}); \
         segments must ascend and not overlap"
    )]
    Order {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
        /// End of the one before.
        previous_end: u64,
    },
    /// Writable and executable at once.
    #[error(
        "segment {index} at {gpa:#x} is both writable and executable; give code and data segments of their \
         own"
    )]
    WritableCode {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
    },
    /// One page would have to be writable and executable.
    #[error(
        "segment {index} at {gpa:#x} shares the page at {page:#x} with another, and one of them is \
         writable, one executable; align segments to 4096 bytes"
    )]
    SharedPage {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
        /// The page that they share.
        page: u64,
    },
    /// The program would start outside its code.
    #[error(
        "the entry point {entry:#x} lies in no executable segment; name the start symbol with ENTRY(..) in \
         the linker script"
    )]
    Entry {
        /// `e_entry`.
        entry: u64,
    },
}

/// Why an image does not fit the memory that it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// No size that a guest can have.
    #[error(
        "{memory_size:#x} bytes of guest memory are not a multiple of 2 MiB between 2 MiB and 4 GiB; set \
         `memory` of the service to one, for instance \"8MiB\""
    )]
    Size {
        /// The memory given.
        memory_size: u64,
    },
    /// Too little for the image and the stack.
    #[error(
        "segment {index} ({gpa:#x}, {segment_size:#x} bytes) ends past {end:#x}, where the stack's guard \
         begins in {memory_size:#x} bytes of guest memory; raise `memory` of the service to {wanted}MiB or \
         more"
    )]
    TooSmall {
        /// Which `PT_LOAD`, from 0.
        index: usize,
        /// Its address.
        gpa: u64,
        /// `p_memsz`.
        segment_size: u64,
        /// Where it must end.
        end: u64,
        /// The memory given.
        memory_size: u64,
        /// Mebibytes that are enough to load it.
        wanted: u64,
    },
}
