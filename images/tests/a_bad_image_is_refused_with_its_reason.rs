//! Whoever gives a file that cannot boot learns what is wrong with it, where, and what to do.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail as the test itself")]

mod support;

use hvt_abi::manifest::Entry;
use images::{
    Access, ElfError, ImageError, ManifestError, MemoryError, NoteError, PageRange, SegmentError,
    Takes, plan,
};
use support::{
    EXECUTE, Image, PT_INTERP, PT_LOAD, PT_NOTE, Part, READ, TAKES, WRITE, image, manifest_note,
    net,
};

fn refusal(change: impl FnOnce(&mut Image)) -> ImageError {
    let mut image = image();
    change(&mut image);
    plan(&image.bytes()).unwrap_err()
}

/// The reason, after a look at the message's form.
fn elf(error: ImageError) -> ElfError {
    check_message(&error);
    match error {
        ImageError::Elf(error) => error,
        other => panic!("{other:?}"),
    }
}

fn note(error: ImageError) -> NoteError {
    check_message(&error);
    match error {
        ImageError::Note(error) => error,
        other => panic!("{other:?}"),
    }
}

fn manifest(error: ImageError) -> ManifestError {
    check_message(&error);
    match error {
        ImageError::Manifest(error) => error,
        other => panic!("{other:?}"),
    }
}

fn segment(error: ImageError) -> SegmentError {
    check_message(&error);
    match error {
        ImageError::Segment(error) => error,
        other => panic!("{other:?}"),
    }
}

/// One sentence without a full stop that ends in what to do, after a `;` or in so many words.
fn check_message(error: &ImageError) {
    let message = error.to_string();
    assert!(message.len() > 20 && !message.ends_with('.'), "{message}");
    assert!(message.contains(';'), "what to do? {message}");
    assert!(!message.contains("  ") && !message.contains('\n'), "{message}");
}

#[test]
fn the_image_that_the_others_are_made_from_is_accepted() {
    let plan = plan(&image().bytes()).unwrap();
    assert_eq!(plan.entry, 0x20_0010);
    assert_eq!(plan.kernel_end, 0x40_1000);
    assert_eq!(plan.manifest.devices.len(), 1);
    assert_eq!(plan.manifest.devices[0].name, "service");
    assert_eq!(plan.memory_min(), 6 << 20);
}

#[test]
fn files_that_are_no_static_program() {
    assert_eq!(elf(plan(b"").unwrap_err()), ElfError::Short { len: 0 });
    assert_eq!(elf(plan(b"\x7fELF").unwrap_err()), ElfError::Short { len: 4 });
    assert_eq!(elf(plan(&[b'#'; 100]).unwrap_err()), ElfError::Magic { found: [b'#'; 4] });
    let error = elf(refusal(|image| image.class = 1));
    assert_eq!(error, ElfError::Format { class: 1, data: 1, version: 1 });
    assert_eq!(elf(refusal(|image| image.kind = 3)), ElfError::Type { found: 3 });
    assert_eq!(elf(refusal(|image| image.machine = 40)), ElfError::Machine { found: 40 });
    let error = elf(refusal(|image| {
        image.part(PT_INTERP, 0).content = b"/lib64/ld-linux-x86-64.so.2\0".to_vec();
    }));
    let found = "/lib64/ld-linux-x86-64.so.2".to_owned();
    assert_eq!(error, ElfError::Interpreter { index: 2, found });
}

#[test]
fn files_that_are_cut_off() {
    let whole = image().bytes();
    for len in 0..whole.len() {
        let error = plan(&whole[..len]).unwrap_err();
        check_message(&error);
    }
    let error = elf(refusal(|image| image.part(PT_LOAD, 0).offset = Some(u64::MAX)));
    assert!(matches!(error, ElfError::OutsideFile { index: 0, offset: u64::MAX, .. }), "{error:?}");
    let error = elf(refusal(|image| image.part(PT_NOTE, 0).file_size = Some(1 << 40)));
    assert!(matches!(error, ElfError::OutsideFile { index: 3, .. }), "{error:?}");
}

#[test]
fn notes_that_are_missing_doubled_or_lie() {
    let error = note(refusal(|image| drop(image.parts.remove(3))));
    assert_eq!(error, NoteError::Missing { name: "ABI1" });
    let error = note(refusal(|image| drop(image.parts.remove(4))));
    assert_eq!(error, NoteError::Missing { name: "MFT1" });
    let error = note(refusal(|image| image.parts.push(image.parts[4].clone())));
    assert_eq!(error, NoteError::Twice { index: 6, name: "MFT1" });

    // The descriptor's size against the program header's.
    for (part, name, true_size) in [(0, "ABI1", 16), (1, "MFT1", 4 + 8 + 208)] {
        for lie in [0, 1, true_size - 1, true_size + 1, u32::MAX] {
            let error = note(refusal(|image| {
                image.part(PT_NOTE, part).content[4..8].copy_from_slice(&lie.to_le_bytes());
            }));
            let (index, wanted) = (part + 3, u64::from(lie));
            let found = u64::from(true_size);
            assert_eq!(error, NoteError::Size { index, name, field: "p_filesz", found, wanted });
        }
    }
    // Both sizes agree, and are wrong.
    let error = note(refusal(|image| {
        let content = &mut image.part(PT_NOTE, 0).content;
        content.extend([0; 4]);
        content[4..8].copy_from_slice(&20_u32.to_le_bytes());
    }));
    assert!(matches!(error, NoteError::Size { index: 3, found: 20, wanted: 16, .. }), "{error:?}");
    // A table of two entries that says it has one, three, or none at all after the padding.
    for count in [1_u32, 3] {
        let error = note(refusal(|image| {
            image.part(PT_NOTE, 1).content[28..32].copy_from_slice(&count.to_le_bytes());
        }));
        let wanted = 8 + 104 * u64::from(count);
        assert!(matches!(error, NoteError::Size { wanted: w, .. } if w == wanted), "{error:?}");
    }
    let error = note(refusal(|image| {
        let content = &mut image.part(PT_NOTE, 1).content;
        content.truncate(22);
        content[4..8].copy_from_slice(&2_u32.to_le_bytes());
    }));
    assert!(matches!(error, NoteError::Size { name: "MFT1", found: 0, .. }), "{error:?}");
}

#[test]
fn features_that_lie_about_their_size() {
    let accepted = |change: &dyn Fn(&mut Image)| {
        let mut image = image();
        change(&mut image);
        plan(&image.bytes()).unwrap().takes
    };
    assert_eq!(accepted(&|_| {}), Takes::from(TAKES));
    // Without the note, nothing is taken; with one for a newer host, what is unknown does no harm.
    assert_eq!(accepted(&|image| drop(image.parts.remove(5))), Takes::default());
    let unknown = accepted(&|image| image.part(PT_NOTE, 2).content[24..].fill(0xff));
    assert_eq!(unknown, Takes(u32::MAX));
    // Notes of another type, or of an owner whose name begins alike, are not this one.
    assert_eq!(accepted(&|image| image.part(PT_NOTE, 2).content[8] = 2), Takes::default());
    assert_eq!(accepted(&|image| image.part(PT_NOTE, 2).content[20] = b's'), Takes::default());
    assert_eq!(accepted(&|image| image.part(PT_NOTE, 2).content.truncate(23)), Takes::default());

    let name = "features";
    let error = note(refusal(|image| image.parts.push(image.parts[5].clone())));
    assert_eq!(error, NoteError::Twice { index: 6, name });
    assert!(error.to_string().contains("Summoner features note"), "{error}");
    for lie in [0, 3, 5, u32::MAX] {
        let error = note(refusal(|image| {
            image.part(PT_NOTE, 2).content[4..8].copy_from_slice(&lie.to_le_bytes());
        }));
        let wanted = u64::from(lie);
        assert_eq!(error, NoteError::Size { index: 5, name, field: "p_filesz", found: 4, wanted });
    }
    for size in [0_u8, 3, 8] {
        let error = note(refusal(|image| {
            let content = &mut image.part(PT_NOTE, 2).content;
            content.resize(24 + usize::from(size), 0);
            content[4] = size;
        }));
        let found = u64::from(size);
        assert_eq!(error, NoteError::Size { index: 5, name, field: "n_descsz", found, wanted: 4 });
    }
}

#[test]
fn images_for_another_interface() {
    for (target, version, word) in [(2_u32, 1_u32, "spt"), (1, 1, "hvt"), (99, 2, "target 99")] {
        let error = refusal(|image| {
            let content = &mut image.part(PT_NOTE, 0).content;
            content[20..24].copy_from_slice(&target.to_le_bytes());
            content[24..28].copy_from_slice(&version.to_le_bytes());
        });
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(note(error), NoteError::Abi { target, version });
    }
}

#[test]
fn manifests_that_make_no_sense() {
    let with = |entries: &[Entry]| {
        manifest(refusal(|image| image.part(PT_NOTE, 1).content = manifest_note(entries)))
    };
    assert_eq!(with(&[]), ManifestError::Count { found: 0 });
    assert_eq!(with(&[Entry::RESERVED; 65]), ManifestError::Count { found: 65 });
    assert_eq!(with(&[net("service")]), ManifestError::Type { index: 0, found: 2 });
    let twice = [Entry::RESERVED, Entry::RESERVED];
    assert_eq!(with(&twice), ManifestError::Type { index: 1, found: 0x4000_0000 });
    let same = [Entry::RESERVED, net("a"), net("b"), net("a")];
    let name = "a".to_owned();
    assert_eq!(with(&same), ManifestError::Duplicate { first: 1, index: 3, name });
    let attached = Entry { attached: true, ..net("a") };
    assert_eq!(with(&[Entry::RESERVED, attached]), ManifestError::Attached { index: 1 });
    let nameless = Entry { name: Entry::RESERVED.name, ..net("a") };
    assert_eq!(with(&[Entry::RESERVED, nameless]), ManifestError::Naming { index: 1 });
    let named = Entry { name: net("a").name, ..Entry::RESERVED };
    assert_eq!(with(&[named]), ManifestError::Naming { index: 0 });
    let error = manifest(refusal(|image| image.part(PT_NOTE, 1).content[24] = 2));
    assert_eq!(error, ManifestError::Version { found: 2 });
    let error = manifest(refusal(|image| {
        // The second entry's name: 32 + 104 octets into the note.
        image.part(PT_NOTE, 1).content[136..204].fill(b'x');
    }));
    assert_eq!(error, ManifestError::Name { index: 1 });
}

#[test]
fn the_most_devices_that_there_can_be_are_accepted() {
    let mut entries = vec![Entry::RESERVED];
    entries.extend((1..64).map(|number| net(&format!("n{number}"))));
    let mut image = image();
    image.part(PT_NOTE, 1).content = manifest_note(&entries);
    let plan = plan(&image.bytes()).unwrap();
    assert_eq!(plan.manifest.handles().last().unwrap().0, 63);
    // And the table that a guest is shown reads back as the same, plus what was attached.
    let table = plan.manifest.to_table(|handle, _| {
        (handle == 63).then_some(hvt_abi::manifest::EntryKind::Net { mac: [2; 6], mtu: 1500 })
    });
    assert_eq!(table.len(), hvt_abi::manifest::table_size(64));
    let last = Entry::from_bytes(table[8 + 63 * 104..].try_into().unwrap()).unwrap();
    assert!(last.attached && last.name.as_str() == "n63");
    let first = Entry::from_bytes(table[8 + 104..8 + 208].try_into().unwrap()).unwrap();
    assert_eq!(first, entries[1]);
}

#[test]
fn segments_that_cannot_be_loaded() {
    let error = segment(refusal(|image| image.parts.retain(|part| part.kind != PT_LOAD)));
    assert_eq!(error, SegmentError::None);
    let error = segment(refusal(|image| {
        for index in 0..40 {
            image.parts.push(Part::load(READ, 0x50_0000 + index * 0x1000, 16));
        }
    }));
    assert_eq!(error, SegmentError::TooMany { found: 42, max: 32 });
    let error = segment(refusal(|image| image.part(PT_LOAD, 1).memory_size = Some(0x10)));
    assert!(matches!(error, SegmentError::FileSize { index: 1, .. }), "{error:?}");
    for gpa in [0, 0xf_ffff, 0x1_0000_0000, 0xffff_ff80, u64::MAX] {
        let error = segment(refusal(|image| {
            image.part(PT_LOAD, 0).address = gpa;
            image.entry = gpa;
        }));
        assert!(matches!(error, SegmentError::Range { index: 0, .. }), "{gpa:#x}: {error:?}");
    }
    let error = segment(refusal(|image| image.part(PT_LOAD, 1).memory_size = Some(u64::MAX)));
    assert!(matches!(error, SegmentError::Range { index: 1, .. }), "{error:?}");
    let error = segment(refusal(|image| image.part(PT_LOAD, 1).address = 0x10_0000));
    assert!(matches!(error, SegmentError::Order { index: 1, .. }), "{error:?}");
    let error = segment(refusal(|image| image.part(PT_LOAD, 1).address = 0x20_00ff));
    assert!(matches!(error, SegmentError::Order { previous_end: 0x20_0100, .. }), "{error:?}");
}

#[test]
fn code_that_could_be_written() {
    let error = segment(refusal(|image| image.part(PT_LOAD, 0).flags = READ | WRITE | EXECUTE));
    assert_eq!(error, SegmentError::WritableCode { index: 0, gpa: 0x20_0000 });
    let error = segment(refusal(|image| image.part(PT_LOAD, 1).address = 0x20_0100));
    assert_eq!(
        error,
        SegmentError::SharedPage { index: 1, gpa: 0x20_0100, page: 0x20_0000 },
        "the same page"
    );
    // Also when a harmless one lies between.
    let error = segment(refusal(|image| {
        image.part(PT_LOAD, 1).address = 0x20_0200;
        image.parts.insert(1, Part::load(READ, 0x20_0100, 0x10));
    }));
    assert_eq!(error, SegmentError::SharedPage { index: 2, gpa: 0x20_0200, page: 0x20_0000 });
}

#[test]
fn entry_points_outside_the_code() {
    for entry in [0, 0x20_0100, 0x40_0000, u64::MAX] {
        let error = segment(refusal(|image| image.entry = entry));
        assert_eq!(error, SegmentError::Entry { entry });
    }
}

#[test]
fn memory_that_does_not_suffice() {
    let plan = plan(&image().bytes()).unwrap();
    for memory in [0, 1 << 20, (8 << 20) + 1, 8 << 30] {
        let error = plan.check_memory(memory).unwrap_err();
        check_message(&error);
        assert_eq!(error, MemoryError::Size { memory_size: memory }.into());
    }
    let error = plan.check_memory(4 << 20).unwrap_err();
    check_message(&error);
    assert!(error.to_string().contains("raise `memory` of the service to 6MiB"), "{error}");
    plan.check_memory(6 << 20).unwrap();
}

#[test]
fn what_has_no_octets_in_the_file_is_not_forgotten() {
    let mut image = image();
    // Zeroes only, in memory only: where the heap must not begin.
    let mut zeroes = Part::load(READ | WRITE, 0x50_0000, 0);
    zeroes.memory_size = Some(0x2345);
    image.parts.push(zeroes);
    // Nothing at all, at an address that would be refused.
    image.parts.push(Part::load(READ, 0x1000, 0));
    let plan = plan(&image.bytes()).unwrap();
    assert_eq!(plan.segments.len(), 3);
    assert_eq!(plan.kernel_end, 0x50_3000);
}

#[test]
fn pages_have_the_access_of_what_lies_on_them() {
    let mut image = image();
    image.part(PT_LOAD, 0).memory_size = Some(0x1800);
    image.parts.insert(1, Part::load(READ, 0x20_1800, 0x1000));
    image.parts.insert(2, Part::load(READ, 0x20_3000, 0x10));
    let plan = plan(&image.bytes()).unwrap();
    let read = Access { read: true, ..Access::default() };
    let code = Access { execute: true, ..read };
    let data = Access { write: true, ..read };
    let range = |start, end, access| PageRange { start, end, access };
    assert_eq!(
        plan.pages(),
        [
            // The second page holds the end of the code and the beginning of the constants.
            range(0x20_0000, 0x20_2000, code),
            range(0x20_2000, 0x20_4000, read),
            range(0x40_0000, 0x40_1000, data),
        ]
    );
}

#[test]
fn a_description_names_everything() {
    let text = images::inspect::describe(images::builtin::HELLO).unwrap();
    for part in ["x86-64", "Solo5 hvt version 2", "r-x", "rw-", "net", "service", "0x00200000"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let plan = plan(images::builtin::HELLO).unwrap();
    assert!(text.contains(&plan.digest.to_string()));
    assert!(images::inspect::describe(b"#!/bin/sh\n").is_err());
}
