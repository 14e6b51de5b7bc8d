//! The programs that unikernels are measured against; built from `baseline/` along with this crate.
//!
//! They are ordinary Linux programs: optimized, statically linked, not relocatable, and without anything that would
//! delay their start. Both are empty when the C library could not be linked statically where this crate was built,
//! which its build has warned of.

/// The default service as a process. `listen` has it listen on a port of 127.0.0.1 that it writes to its standard
/// output as a line, `inherit` on the socket that is its standard input.
pub const HTTP: &[u8] = include_bytes!(env!("BASELINE_HTTP"));

/// A program that only exits.
pub const EXIT: &[u8] = include_bytes!(env!("BASELINE_EXIT"));

#[cfg(test)]
mod tests {
    use elf::ElfBytes;
    use elf::abi::{ET_EXEC, PT_DYNAMIC, PT_INTERP};
    use elf::endian::LittleEndian;

    use super::*;

    #[test]
    fn nothing_is_loaded_found_or_relocated_at_the_start() {
        for program in [HTTP, EXIT] {
            assert!(!program.is_empty(), "left out, see the warning of the build");
            let file = ElfBytes::<LittleEndian>::minimal_parse(program).unwrap();
            assert_eq!(file.ehdr.e_type, ET_EXEC);
            let mut kinds = file.segments().unwrap().iter().map(|segment| segment.p_type);
            assert!(!kinds.any(|kind| [PT_INTERP, PT_DYNAMIC].contains(&kind)));
        }
    }
}
