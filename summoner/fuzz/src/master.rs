//! Texts as master files: what can be read can be printed, and says the same when it is read again.

use hickory_proto::rr::Name;
use zone::master::{Source, parse, print};

/// Reads the input as a master file.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let origin = Name::from_ascii("jit.test.").unwrap();
    let source = Source { name: "input", text: &text, origin: &origin, ttl: Some(300) };
    // A file that includes itself is the worst that there can be.
    let mut include = |_: &str, name: &str| match name {
        "self" if text.len() < 200 => Ok((name.to_owned(), text.clone().into_owned())),
        _ => Err("not here".to_owned()),
    };
    let Ok(written) = parse(source, &mut include) else { return };
    for written in written {
        let line = print(&written.record);
        let again = Source { name: "printed", text: &line, origin: &origin, ttl: None };
        let again = parse(again, &mut |_, _| Err("not here".to_owned()));
        let again = again.unwrap_or_else(|error| panic!("{line:?} cannot be read again: {error}"));
        assert_eq!(again.len(), 1, "{line:?}");
        assert_eq!(again[0].record, written.record, "{line:?}");
    }
}
