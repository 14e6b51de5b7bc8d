//! The layers of a configuration, and where each value came from.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, FileFormat, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::keys::{self, Kind};
use super::problem::{ConfigError, Place, Problem};
use super::raw::Raw;

/// Variables of the environment that begin so are ours.
const PREFIX: &str = "SUMMONER_";

/// A configuration's layers, merged.
#[derive(Debug)]
pub(super) struct Layers {
    file: Option<PathBuf>,
    /// The line of each key and table in the file.
    lines: HashMap<String, usize>,
    /// The variable that gave each key, and the flag, as it was written.
    variables: HashMap<String, String>,
    flags: HashMap<String, String>,
    merged: config::Config,
}

impl Layers {
    /// Reads the file and merges what the environment and the flags say.
    pub(super) fn read(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        let mut lines = HashMap::new();
        if let Some(path) = path {
            let text = read_file(path)?;
            lines = parse(path, &text)?;
            let source = config::File::from_str(&text, FileFormat::Toml);
            let mut whole_file = config::Config::builder()
                .add_source(source)
                .build()
                .map_err(|error| whole(Some(path.to_owned()), &error.to_string()))?;
            spell_out("", &mut whole_file.cache);
            builder = builder.add_source(whole_file);
        }
        let mut variables = HashMap::new();
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = long_form(&key.to_ascii_lowercase().replace("__", "."));
            builder = set(builder, &key, &value, || Place::Variable(name.clone()))?;
            variables.insert(key, name);
        }
        let mut flags = HashMap::new();
        for (key, value) in overrides {
            let long = long_form(key);
            builder = set(builder, &long, value, || Place::Flag(key.clone()))?;
            flags.insert(long, key.clone());
        }
        let file = path.map(Path::to_owned);
        let merged = builder.build().map_err(|error| whole(file.clone(), &error.to_string()))?;
        Ok(Self { file, lines, variables, flags, merged })
    }

    /// The merged tree as structures; unknown keys and values of another type are problems.
    pub(super) fn raw(&self) -> Result<Raw, ConfigError> {
        let mut problems = Vec::new();
        self.find_unknown("", &self.merged.cache, &mut problems);
        if !problems.is_empty() {
            problems.sort_by_key(|problem| self.line(&problem.key));
            return Err(ConfigError { problems });
        }
        serde_path_to_error::deserialize(self.merged.clone()).map_err(|error| {
            let key = error.path().to_string();
            let expected = keys::find(&key).map_or("a table", |known| match known.kind {
                Kind::Text => "a text in quotes",
                Kind::Number => "a whole number in range",
                Kind::NumberOrWord => "a whole number, or a word in quotes",
                Kind::Flag => "true or false",
                Kind::List => "a list of texts, such as [\"a\", \"b\"]",
                Kind::Duration => "a duration in quotes, such as \"10s\"",
                Kind::Size => "a size in quotes, such as \"8MiB\"",
                Kind::Rate => "a rate in quotes, such as \"40/s\"",
            });
            let found = self.shown(&key).unwrap_or_else(|| error.inner().to_string());
            let fix = format!("give `{key}` {expected}");
            self.problem(&key, found, expected.to_owned(), fix).into()
        })
    }

    fn find_unknown(&self, path: &str, value: &Value, problems: &mut Vec<Problem>) {
        let ValueKind::Table(table) = &value.kind else { return };
        if !path.is_empty() && keys::find(path).is_some() {
            return;
        }
        for (name, value) in table {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if keys::is_table(&key) {
                self.find_unknown(&key, value, problems);
            } else if keys::find(&key).is_none() {
                let fix = keys::nearest(&key).map_or_else(
                    || "remove it; docs/reference/config.md lists the keys".to_owned(),
                    |nearest| format!("did you mean `{nearest}`?"),
                );
                problems.push(self.problem(
                    &key,
                    "an unknown key".to_owned(),
                    "a key that exists".to_owned(),
                    fix,
                ));
            }
        }
    }

    /// A problem with a key's value, wherever that came from.
    pub(super) fn problem(
        &self,
        key: &str,
        found: String,
        expected: String,
        fix: String,
    ) -> Problem {
        Problem { place: self.place(key), key: key.to_owned(), found, expected, fix }
    }

    fn place(&self, key: &str) -> Place {
        if let Some(written) = self.flags.get(key) {
            return Place::Flag(written.clone());
        }
        if let Some(name) = self.variables.get(key) {
            return Place::Variable(name.clone());
        }
        match (&self.file, self.line(key)) {
            (Some(file), Some(line)) => Place::Line(file.clone(), line),
            (Some(file), None) => Place::File(file.clone()),
            (None, _) => Place::Nowhere,
        }
    }

    /// The line of a key, or of the nearest table around it.
    fn line(&self, key: &str) -> Option<usize> {
        let mut path = key;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// A key's value as it is written, if it is there.
    fn shown(&self, key: &str) -> Option<String> {
        let value =
            key.split('.').try_fold(&self.merged.cache, |value, part| match &value.kind {
                ValueKind::Table(table) => table.get(part),
                _ => None,
            })?;
        Some(show(value))
    }
}

fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(_) => "a table".to_owned(),
        _ => value.to_string(),
    }
}

/// A key that may be the short form of a table, in its long form.
fn long_form(key: &str) -> String {
    keys::short_form(key).map_or_else(|| key.to_owned(), |field| format!("{key}.{field}"))
}

/// Turns tables that are given in their short form into tables, so that the layers merge whatever form each one has.
fn spell_out(path: &str, value: &mut Value) {
    if let ValueKind::Table(table) = &mut value.kind {
        for (name, value) in table {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            spell_out(&path, value);
        }
    } else if let Some(field) = keys::short_form(path) {
        let given = std::mem::replace(&mut value.kind, ValueKind::Nil);
        let origin = value.origin().map(str::to_owned);
        let table = [(field.to_owned(), Value::new(origin.as_ref(), given))];
        value.kind = ValueKind::Table(table.into_iter().collect());
    }
}

fn set(
    builder: ConfigBuilder<DefaultState>,
    key: &str,
    text: &str,
    place: impl Fn() -> Place,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let value = match keys::find(key).map(|known| known.kind) {
        Some(Kind::List) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::from(items.map(str::to_owned).collect::<Vec<String>>())
        }
        _ => Value::from(text.to_owned()),
    };
    builder.set_override(key, value).map_err(|_| {
        Problem {
            place: place(),
            key: key.to_owned(),
            found: "a key that cannot be read".to_owned(),
            expected: "a key such as dns.listen".to_owned(),
            fix: "use letters, digits, `_` and `-`, with dots between the parts".to_owned(),
        }
        .into()
    })
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| {
        Problem {
            place: Place::File(path.to_owned()),
            key: String::new(),
            found: error.to_string(),
            expected: "a TOML file that can be read".to_owned(),
            fix: "check the path given with --config, and the file's permissions".to_owned(),
        }
        .into()
    })
}

fn whole(file: Option<PathBuf>, found: &str) -> ConfigError {
    Problem {
        place: file.map_or(Place::Nowhere, Place::File),
        key: String::new(),
        found: found.to_owned(),
        expected: "values that fit together: a table where a table belongs".to_owned(),
        fix: "compare with docs/reference/config.md".to_owned(),
    }
    .into()
}

/// Parses the file for its syntax, and for the line of each key.
fn parse(path: &Path, text: &str) -> Result<HashMap<String, usize>, ConfigError> {
    let line_of =
        |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = line_of(offset);
        let found = text.lines().nth(line - 1).unwrap_or_default().trim();
        Problem {
            place: Place::Line(path.to_owned(), line),
            key: String::new(),
            found: format!("`{found}`"),
            expected: error.message().to_owned(),
            fix: "correct the TOML; texts, durations and sizes are in quotes".to_owned(),
        }
    })?;
    let mut lines = BTreeMap::new();
    collect_lines("", table.get_ref(), &line_of, &mut lines);
    Ok(lines.into_iter().collect())
}

fn collect_lines(
    path: &str,
    table: &DeTable<'_>,
    line_of: &impl Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    for (name, value) in table {
        let name_text = name.get_ref();
        let key =
            if path.is_empty() { name_text.to_string() } else { format!("{path}.{name_text}") };
        lines.insert(key.clone(), line_of(name.span().start));
        if let DeValue::Table(inner) = value.get_ref() {
            collect_lines(&key, inner, line_of, lines);
        }
    }
}
