//! The guests' library is a workspace of its own, which a test run of this one would not reach.

use std::path::Path;
use std::process::Command;

#[test]
fn the_guests_library_passes_its_tests() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("unikernel");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unikernel");
    // Not in the guests' folder: its configuration would link the tests as if they were guests.
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--target-dir"])
        .arg(target)
        .current_dir(library)
        .output()
        .expect("cargo runs this test, so it can be run");
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    for passed in [3, 7, 9] {
        let result = format!("test result: ok. {passed} passed");
        assert!(out.contains(&result), "not every test ran:\n{out}");
    }
}
