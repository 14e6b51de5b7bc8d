//! Which key is meant by a path, and which may have been meant.

use std::borrow::Cow;

use super::{Key, all};

/// Tables that may be given as one value, each with the field that is meant.
const SHORT_FORMS: &[(&str, &str)] = &[("services.*.hold", "mode"), ("templates.*.hold", "mode")];

/// The field that is meant if the table `path` is given as one value.
#[must_use]
pub fn short_form(path: &str) -> Option<&'static str> {
    SHORT_FORMS.iter().find(|(table, _)| matches(table, path)).map(|(_, field)| *field)
}

/// The table whose keys templates have too, in theirs.
const SHARED: (&str, &str) = ("services.", "templates.");
/// What a template has no use for: its services' names are those that are asked for.
const NOT_SHARED: &str = "services.*.names";

/// All keys and where each may be: those of services in templates too.
fn paths() -> impl Iterator<Item = (Cow<'static, str>, &'static Key)> {
    let own = all().map(|key| (Cow::Borrowed(key.path), key));
    own.chain(all().filter(|key| key.path != NOT_SHARED).filter_map(|key| {
        let field = key.path.strip_prefix(SHARED.0)?;
        Some((Cow::Owned(format!("{}{field}", SHARED.1)), key))
    }))
}

/// The key that `path` is an instance of.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    paths().find(|(known, _)| matches(known, path)).map(|(_, key)| key)
}

/// Whether keys exist below `path`, so that it is a table.
#[must_use]
pub fn is_table(path: &str) -> bool {
    let depth = path.split('.').count();
    paths().any(|(known, _)| {
        let parts: Vec<_> = known.split('.').collect();
        parts.len() > depth && matches(&parts[..depth].join("."), path)
    })
}

/// The known key that looks most like an unknown one, if one looks like it at all.
#[must_use]
pub fn nearest(path: &str) -> Option<String> {
    let wanted: Vec<&str> = path.split('.').collect();
    // A likeness is judged by the part that is probably wrong, the last: all keys of a table are alike otherwise.
    let last = wanted.last().map_or(0, |part| part.len());
    let short = SHORT_FORMS.iter().map(|(table, _)| Cow::Borrowed(*table));
    let candidates = paths().map(|(known, _)| known).chain(short).filter_map(|known| {
        // The user's own names stay as they are.
        let parts: Vec<&str> = known.split('.').collect();
        let filled: Vec<&str> = parts
            .iter()
            .enumerate()
            .map(
                |(index, part)| {
                    if *part == "*" { wanted.get(index).copied().unwrap_or("*") } else { part }
                },
            )
            .collect();
        let filled = filled.join(".");
        let distance = distance(&filled, path);
        (distance * 2 <= last).then_some((distance, filled))
    });
    candidates.min().map(|(_, key)| key)
}

fn matches(pattern: &str, path: &str) -> bool {
    // The user's own names may have dots in them (`zone.name_servers."ns.example.net."`).
    if let Some(prefix) = pattern.strip_suffix(".*") {
        return path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
    }
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == "*" || part == name => {}
            _ => return false,
        }
    }
}

/// Edits that turn one text into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
