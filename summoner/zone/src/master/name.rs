//! Names as text (RFC 1035, section 5.1; RFC 4343, section 2.1).

use std::fmt::Write;

use hickory_proto::rr::Name;

use super::lexer;

/// Reads a name: absolute with a dot at its end, relative to `origin` without, `@` for the origin itself.
pub(super) fn parse(raw: &[u8], origin: Option<&Name>) -> Result<Name, String> {
    let failed = |why: String| format!("`{}` is no name: {why}", String::from_utf8_lossy(raw));
    match raw {
        b"@" => {
            return origin
                .cloned()
                .ok_or_else(|| failed("nothing that it is relative to".to_owned()));
        }
        b"." => return Ok(Name::root()),
        _ => {}
    }
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = raw;
    while let Some((octet, plain)) = lexer::escaped(&mut rest).map_err(failed)? {
        match labels.last_mut() {
            Some(label) if !(plain && octet == b'.') => label.push(octet),
            _ => labels.push(Vec::new()),
        }
    }
    let absolute = labels.pop_if(|last| last.is_empty()).is_some();
    if labels.is_empty() || labels.iter().any(Vec::is_empty) {
        return Err(failed("a label is empty".to_owned()));
    }
    let relative = Name::from_labels(labels).map_err(|error| failed(error.to_string()))?;
    let name = match (absolute, origin) {
        (true, _) => Ok(relative),
        (false, Some(origin)) => relative.append_name(origin),
        (false, None) => return Err(failed("a dot is missing at its end".to_owned())),
    };
    let mut name = name.map_err(|error| failed(error.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Writes a name, absolute.
pub(super) fn print(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => {
                    text.push(char::from(*octet))
                }
                // Writing to a text cannot fail.
                other => drop(write!(text, "\\{other:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}
