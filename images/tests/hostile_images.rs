//! Images come from anywhere: whatever the bytes, there is an answer, and what is accepted keeps every
//! promise that the monitor relies on.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail as the test itself")]

mod support;

use hvt_abi::memory_map::{LOAD_MIN, MEMORY_MAX, PAGE_SIZE, guard_start};
use images::builtin::HELLO;
use images::{Plan, plan};
use proptest::prelude::*;
use support::{Image, PT_LOAD, PT_NOTE, Part, image};

/// What [`Plan`] promises, said again in other words.
fn check(plan: &Plan, file: &[u8]) {
    let mut end = LOAD_MIN;
    for segment in &plan.segments {
        assert!(segment.gpa >= end, "ascending, without overlap, above the lowest address");
        assert!(segment.memory_size > 0 && segment.file_size <= segment.memory_size);
        end = segment.gpa.checked_add(segment.memory_size).unwrap();
        assert!(end <= MEMORY_MAX);
        assert!(!(segment.access.write && segment.access.execute));
        if segment.file_size > 0 {
            let last = segment.file_offset.checked_add(segment.file_size).unwrap();
            assert!(last <= file.len() as u64, "within the file");
        }
    }
    assert!(plan.kernel_end >= end && plan.kernel_end - end < PAGE_SIZE);
    let holds_entry = |segment: &&images::Segment| {
        segment.gpa <= plan.entry && plan.entry < segment.gpa + segment.memory_size
    };
    assert!(plan.segments.iter().find(holds_entry).unwrap().access.execute);
    assert!(plan.manifest.devices.len() < 64);
    check_pages(plan);
    match plan.check_memory(8 << 20) {
        Ok(()) => assert!(end <= guard_start(8 << 20)),
        Err(_) => assert!(end > guard_start(8 << 20)),
    }
    assert!(plan.check_memory(plan.memory_min()).is_ok() || plan.memory_min() > MEMORY_MAX);
}

fn check_pages(plan: &Plan) {
    let pages = plan.pages();
    let mut end = 0;
    for range in &pages {
        assert!(range.start >= end && range.start < range.end, "{pages:?}");
        assert!(range.start % PAGE_SIZE == 0 && range.end % PAGE_SIZE == 0);
        assert!(!range.access.is_writable_code(), "{pages:?}");
        end = range.end;
    }
    // Every segment's first and last octet is on a page that allows what the segment needs.
    for segment in &plan.segments {
        for address in [segment.gpa, segment.gpa + segment.memory_size - 1] {
            let range = pages.iter().find(|range| (range.start..range.end).contains(&address));
            let access = range.unwrap().access;
            assert_eq!(access.union(segment.access), access, "{pages:?}");
        }
    }
}

/// An answer for any bytes; the promises if they are accepted.
fn try_bytes(bytes: &[u8]) {
    match plan(bytes) {
        Ok(plan) => {
            check(&plan, bytes);
            images::inspect::describe(bytes).unwrap();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Addresses and sizes around everything that means something, and some that mean nothing.
fn interesting() -> impl Strategy<Value = u64> {
    let around = prop_oneof![
        Just(0),
        Just(LOAD_MIN),
        Just(0x20_0000),
        Just(0x20_0100),
        Just(0x20_1000),
        Just(0x40_0000),
        Just(MEMORY_MAX),
        Just(u64::MAX),
        Just(1 << 63),
        0..0x80_0000_u64,
        any::<u64>(),
    ];
    (around, -2..=2_i64).prop_map(|(value, step)| value.wrapping_add_signed(step))
}

fn part() -> impl Strategy<Value = Part> {
    (
        prop_oneof![8 => Just(PT_LOAD), 1 => Just(PT_NOTE), 1 => 0..8_u32],
        0..8_u32,
        interesting(),
        0..64_usize,
        prop::option::weighted(0.5, interesting()),
        prop::option::weighted(0.1, interesting()),
        prop::option::weighted(0.1, interesting()),
    )
        .prop_map(|(kind, flags, address, size, memory_size, file_size, offset)| Part {
            memory_size,
            file_size,
            offset,
            ..Part::new(kind, flags, address, vec![0x90; size])
        })
}

/// A right image with some parts more and an entry anywhere.
fn strange_image() -> impl Strategy<Value = Image> {
    let entry = prop_oneof![Just(0x20_0010), interesting()];
    (prop::collection::vec(part(), 0..5), entry).prop_map(|(parts, entry)| {
        let mut image = image();
        image.parts.extend(parts);
        // Sorted by address they are more often accepted.
        image.parts.sort_by_key(|part| part.address);
        image.entry = entry;
        image
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        try_bytes(&bytes);
    }

    #[test]
    fn any_bytes_after_a_right_beginning(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut file = image().bytes();
        file.truncate(24);
        file.extend(bytes);
        try_bytes(&file);
    }

    #[test]
    fn a_right_image_with_octets_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = image().bytes();
        for (index, octet) in changes {
            let index = index.index(file.len());
            file[index] = octet;
        }
        try_bytes(&file);
    }

    #[test]
    fn a_strange_image(image in strange_image()) {
        try_bytes(&image.bytes());
    }
}

proptest! {
    // Each case hashes the whole image.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_built_in_image_with_octets_of_its_headers_changed(
        // The ELF header and the program headers, then the notes.
        changes in prop::collection::vec((prop_oneof![0..400_usize, 0x1000..0x1130_usize], any::<u8>()), 1..4),
    ) {
        let mut file = HELLO.to_vec();
        for (index, octet) in changes {
            file[index] = octet;
        }
        try_bytes(&file);
    }
}

#[test]
fn strange_images_are_accepted_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let accepted = (0..2000)
        .filter(|_| {
            let image = strange_image().new_tree(&mut runner).unwrap().current();
            plan(&image.bytes()).is_ok_and(|plan| plan.segments.len() > 2)
        })
        .count();
    assert!(accepted >= 20, "only {accepted} of 2000");
}
