//! The images that come with the program; built from `guests/` along with this crate.

/// The default service: HTTP on port 80, echo on port 7, discard on port 9.
pub const HELLO: &[u8] = include_bytes!(env!("GUEST_HELLO"));

/// A guest for tests, which misbehaves as its command line says; not among [`NAMES`].
pub const TRIAL: &[u8] = include_bytes!(env!("GUEST_TRIAL"));

/// The names that a configuration can use.
pub const NAMES: &[&str] = &["hello"];

/// The built-in image of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static [u8]> {
    match name {
        "hello" => Some(HELLO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_an_image_that_boots_in_eight_mebibytes() {
        for name in NAMES {
            let plan = crate::plan(find(name).unwrap()).unwrap();
            plan.check_memory(8 << 20).unwrap();
            assert_eq!(plan.memory_min(), 6 << 20, "{name}");
        }
        assert!(find("trial").is_none(), "the guest for tests is not for configurations");
    }

    #[test]
    fn built_in_images_are_small() {
        assert!(HELLO.len() <= 512 * 1024, "{} bytes", HELLO.len());
        assert!(TRIAL.len() <= 512 * 1024, "{} bytes", TRIAL.len());
    }

    #[test]
    fn code_has_a_large_page_of_its_own() {
        for image in [HELLO, TRIAL] {
            let plan = crate::plan(image).unwrap();
            let [code, data] = plan.segments.as_slice() else { panic!("{:?}", plan.segments) };
            assert_eq!((code.gpa, code.end()), (0x20_0000, 0x40_0000));
            assert_eq!(code.access.to_string(), "r-x");
            assert_eq!((data.gpa, data.access.to_string().as_str()), (0x40_0000, "rw-"));
            assert_eq!(plan.kernel_end, data.end().next_multiple_of(4096));
        }
    }
}
