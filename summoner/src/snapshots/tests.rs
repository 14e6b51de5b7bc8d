//! The store over its whole life, and everything that can be wrong with a file.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, memfd_create, mknodat};

use super::*;

const PAGE: usize = 4096;
const KEY: SnapshotKey = SnapshotKey::from_bytes([7; 32]);
const OTHER: SnapshotKey = SnapshotKey::from_bytes([8; 32]);

/// A state of some pages, with holes.
fn state(seed: u8, pages: usize) -> Vec<u8> {
    let page = |number: usize| match number % 3 {
        1 => [0; PAGE],
        _ => [seed.wrapping_add(u8::try_from(number % 251).unwrap()); PAGE],
    };
    (0..pages).flat_map(page).collect()
}

fn memory(octets: &[u8]) -> File {
    let mut file = File::from(memfd_create("state", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(octets).unwrap();
    file
}

fn save(store: &Store, service: &str, kind: Kind, octets: &[u8]) -> Snapshot {
    let length = u64::try_from(octets.len()).unwrap();
    store.save(service, &KEY, kind, memory(octets).as_fd(), length).unwrap()
}

fn content(snapshot: &Snapshot) -> Vec<u8> {
    let mut file = File::from(snapshot.file.try_clone().unwrap());
    file.seek(SeekFrom::Start(snapshot.body_offset)).unwrap();
    let mut octets = Vec::new();
    file.read_to_end(&mut octets).unwrap();
    assert_eq!(u64::try_from(octets.len()).unwrap(), snapshot.body_length);
    octets
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.join("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "epoch")
        .collect();
    files.sort();
    files
}

fn only_file(folder: &Path) -> PathBuf {
    let files = files(folder);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_is_saved_is_found_again_also_by_the_next_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let octets = state(1, 100);
    let store = Store::open(folder.path()).unwrap();
    assert!(store.find("web", &KEY).unwrap().is_none());
    let saved = save(&store, "web", Kind::Ready, &octets);
    assert_eq!(content(&saved), octets);
    let found = store.find("web", &KEY).unwrap().unwrap();
    assert!(Arc::ptr_eq(&found.file, &saved.file), "the descriptor is kept");
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let found = store.find("web", &KEY).unwrap().unwrap();
    assert_eq!((content(&found), found.kind), (octets, Kind::Ready));
    assert!(found.body_offset.is_multiple_of(4096));
    assert!(Arc::ptr_eq(&found.file, &store.find("web", &KEY).unwrap().unwrap().file));
    assert!(store.find("other", &KEY).unwrap().is_none());
}

#[test]
fn files_are_for_their_owner_only_and_handed_out_for_reading_only() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever made the folder, and with whatever mode.
    fs::create_dir(folder.path().join("snapshots")).unwrap();
    fs::set_permissions(folder.path().join("snapshots"), fs::Permissions::from_mode(0o755))
        .unwrap();
    let store = Store::open(folder.path()).unwrap();
    let snapshot = save(&store, "web", Kind::Ready, &state(1, 2));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder.path().join("snapshots")), 0o700);
    assert_eq!(mode(&only_file(folder.path())), 0o600);
    let mut file = File::from(snapshot.file.try_clone().unwrap());
    assert!(file.write_all(b"x").is_err());
}

#[test]
fn pages_of_zero_take_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut octets = vec![0; 4 << 20];
    octets[3 << 20] = 1;
    let saved = save(&store, "web", Kind::Ready, &octets);
    assert!(content(&saved) == octets);
    let [entry] = &store.list()[..] else { panic!("one entry") };
    assert_eq!(entry.size, 4 << 20);
    assert!(entry.stored < 1 << 20, "{} octets on disk", entry.stored);
}

#[test]
fn a_suspended_instance_comes_first_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (fresh, grown) = (state(1, 4), state(2, 5));
    save(&store, "web", Kind::Ready, &fresh);
    save(&store, "web", Kind::Suspended, &grown);
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let found = store.find("web", &KEY).unwrap().unwrap();
    assert_eq!((found.kind, content(&found)), (Kind::Suspended, grown.clone()));
    assert!(store.consume_suspended("web").unwrap());
    assert!(!store.consume_suspended("web").unwrap());
    assert_eq!(content(&found), grown, "whoever has it open can still resume it");
    // As after a crash right now: nothing is left of it.
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.find("web", &KEY).unwrap().unwrap().kind, Kind::Ready);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn after_a_crash_of_the_machine_no_instance_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let epoch = folder.path().join("snapshots/epoch");
    let another_boot = |closed: bool| {
        fs::write(&epoch, format!("{{\"boot\":\"another\",\"closed\":{closed}}}")).unwrap();
    };
    let store = Store::open(folder.path()).unwrap();
    save(&store, "web", Kind::Ready, &state(1, 4));
    save(&store, "web", Kind::Suspended, &state(2, 4));
    store.close().unwrap();
    assert!(fs::read_to_string(&epoch).unwrap().contains("true"));
    drop(store);

    another_boot(true);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.find("web", &KEY).unwrap().unwrap().kind, Kind::Suspended);
    drop(store);

    another_boot(false);
    let store = Store::open(folder.path()).unwrap();
    let reasons: Vec<_> = store.check_all().into_iter().map(|r| (r.kind, r.reason)).collect();
    assert_eq!(reasons, [(Kind::Suspended, Reason::Spent)]);
    assert_eq!(
        store.find("web", &KEY).unwrap().unwrap().kind,
        Kind::Ready,
        "a clone may be made again"
    );
}

#[test]
fn another_key_is_rejected_once_and_then_the_next_kind_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    save(&store, "web", Kind::Ready, &state(1, 4));
    store.save("web", &OTHER, Kind::Suspended, memory(&state(1, 1)).as_fd(), 4096).unwrap();
    let rejected = store.find("web", &KEY).unwrap_err();
    let expected =
        Rejected { service: "web".to_owned(), kind: Kind::Suspended, reason: Reason::Key };
    assert_eq!(rejected, expected);
    assert_eq!(store.find("web", &KEY).unwrap().unwrap().kind, Kind::Ready);
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(store.find("web", &OTHER).unwrap_err().reason, Reason::Key);
    assert!(store.list().is_empty() && files(folder.path()).is_empty());
}

#[test]
fn a_service_may_be_called_anything() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let long = "x".repeat(LONGEST_SERVICE);
    let names = [
        "../../etc/passwd",
        "..",
        "",
        "a/b",
        "a_b",
        "a b",
        ".new-web",
        "epoch",
        "\u{0}",
        "Ä",
        &long,
    ];
    for (number, name) in (0_u8..).zip(names) {
        save(&store, name, Kind::Ready, &state(number, 2));
    }
    assert_eq!(
        files(folder.path()).len(),
        names.len(),
        "each has a file of its own, in the folder"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.check_all(), []);
    for (number, name) in (0_u8..).zip(names) {
        let found = store.find(name, &KEY).unwrap().unwrap();
        assert_eq!(content(&found), state(number, 2), "{name:?}");
    }
    let too_long = "x".repeat(LONGEST_SERVICE + 1);
    let body = memory(&state(1, 1));
    let error = store.save(&too_long, &KEY, Kind::Ready, body.as_fd(), 4096).unwrap_err();
    assert!(matches!(error, StoreError::Service { length } if length == LONGEST_SERVICE + 1));
}

#[test]
fn what_is_no_state_is_not_kept_and_what_was_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let good = state(1, 3);
    save(&store, "web", Kind::Ready, &good);
    let body = memory(&good);
    for length in [0, 1, 4095, 4097, LONGEST_BODY + 4096, u64::MAX] {
        let error = store.save("web", &KEY, Kind::Ready, body.as_fd(), length).unwrap_err();
        assert!(matches!(error, StoreError::BodyLength { .. }), "{length}: {error}");
    }
    let error = store.save("web", &KEY, Kind::Ready, body.as_fd(), 4 * 4096).unwrap_err();
    assert!(crate::report(&error).contains("ends after 12288 octets"), "{}", crate::report(&error));
    assert_eq!(content(&store.find("web", &KEY).unwrap().unwrap()), good);
    assert_eq!(files(folder.path()).len(), 1, "nothing half-written is left");
}

#[test]
fn removing_and_forgetting() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for service in ["a", "b", "c"] {
        for kind in Kind::ALL {
            save(&store, service, kind, &state(1, 1));
        }
    }
    assert_eq!(store.remove("a", None).unwrap(), 2);
    assert_eq!(store.remove("a", None).unwrap(), 0);
    assert_eq!(store.remove("b", Some(Kind::Ready)).unwrap(), 1);
    store.retain_ready(|service| service == "b");
    let left: Vec<_> = store.list().into_iter().map(|entry| (entry.service, entry.kind)).collect();
    assert_eq!(left, [("b".to_owned(), Kind::Suspended), ("c".to_owned(), Kind::Suspended)]);
    let rejected = store.reject("c", Kind::Suspended, Reason::Refused);
    assert_eq!(rejected.reason, Reason::Refused);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn what_lies_in_the_folder_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    save(&store, "web", Kind::Ready, &state(1, 3));
    let good = only_file(folder.path());
    let inside = folder.path().join("snapshots");
    drop(store);
    fs::write(inside.join(".new-17"), "half").unwrap();
    fs::write(inside.join("notes.txt"), "mine").unwrap();
    fs::write(inside.join("empty.ready"), "").unwrap();
    fs::write(inside.join("noise.suspended"), vec![9; 10_000]).unwrap();
    fs::copy(&good, inside.join("elsewhere.ready")).unwrap();
    std::os::unix::fs::symlink(&good, inside.join("link.ready")).unwrap();
    mknodat(CWD, inside.join("pipe.ready"), FileType::Fifo, Mode::RUSR, 0).unwrap();

    let store = Store::open(folder.path()).unwrap();
    let mut reasons: Vec<_> =
        store.check_all().into_iter().map(|rejected| (rejected.service, rejected.reason)).collect();
    reasons.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("elsewhere.ready", Reason::Misplaced),
        ("empty.ready", Reason::Length),
        ("link.ready", Reason::Unreadable),
        ("noise.suspended", Reason::Foreign),
        ("pipe.ready", Reason::Foreign),
    ];
    assert_eq!(reasons, expected.map(|(name, reason)| (name.to_owned(), reason)));
    assert_eq!(store.check_all(), [], "told once");
    assert_eq!(files(folder.path()), [inside.join("notes.txt"), good]);
    assert!(store.find("web", &KEY).unwrap().is_some());
}

#[test]
fn threads_that_save_find_and_consume_never_resume_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let resumed = std::sync::atomic::AtomicU32::new(0);
    let rounds = 30;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                save(&store, "web", Kind::Suspended, &state(round, 3));
                save(&store, "web", Kind::Ready, &state(round, 3));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let found = store.find("web", &KEY).unwrap();
                    if found.is_some_and(|snapshot| snapshot.kind == Kind::Suspended)
                        && store.consume_suspended("web").unwrap()
                    {
                        resumed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                assert_eq!(store.check_all(), []);
            }
        });
    });
    assert!(resumed.into_inner() <= u32::from(rounds));
    // The table and the folder say the same.
    let listed = store.list().len();
    assert_eq!(files(folder.path()).len(), listed);
}

#[test]
fn descriptors_are_closed_with_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let snapshot = save(&store, "web", Kind::Ready, &state(1, 1));
    let number = snapshot.file.as_raw_fd();
    assert_eq!(Arc::strong_count(&snapshot.file), 2);
    store.remove("web", None).unwrap();
    assert_eq!(Arc::strong_count(&snapshot.file), 1, "descriptor {number} is only ours");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A bit flipped, the end cut off or something added: noticed before the state is used, removed, and nothing else.
    #[test]
    fn damage_is_noticed(pages in 1..20_usize, at in any::<prop::sample::Index>(), bit in 0..8_u32, how in 0..3_u8, early: bool) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        save(&store, "web", Kind::Ready, &state(3, pages));
        let path = only_file(folder.path());
        drop(store);
        let mut octets = fs::read(&path).unwrap();
        let at = at.index(octets.len());
        match how {
            0 => octets[at] ^= 1 << bit,
            1 => octets.truncate(at),
            _ => octets.extend(vec![0; at + 1]),
        }
        fs::write(&path, &octets).unwrap();

        let store = Store::open(folder.path()).unwrap();
        let reason = if early {
            let rejected = store.check_all();
            prop_assert_eq!(rejected.len(), 1);
            rejected[0].reason
        } else {
            // What has no sound header is out already; a damaged body shows when it is asked for.
            match store.find("web", &KEY) {
                Err(rejected) => rejected.reason,
                Ok(found) => {
                    prop_assert!(found.is_none());
                    store.check_all()[0].reason
                }
            }
        };
        let expected = match (how, at) {
            (0, 0..8) => Reason::Foreign,
            (0, 8..12) => Reason::Version,
            (0, 12..4096) => Reason::Header,
            (0, _) => Reason::Body,
            _ => Reason::Length,
        };
        prop_assert_eq!(reason, expected);
        prop_assert!(store.find("web", &KEY).unwrap().is_none());
        prop_assert!(files(folder.path()).is_empty());
    }
}
