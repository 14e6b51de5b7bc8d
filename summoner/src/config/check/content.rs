//! What the zone says besides the services' addresses: its file, records and aliases, and the services' own records.

use std::fs;
use std::path::{Path, PathBuf};

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use zone::master::{self, MasterError, Source};

use super::super::raw;
use super::Checker;

/// Records that are named when they are out of the zone; more help nobody.
const NAMED: usize = 10;

impl Checker<'_> {
    /// The records of `zone.file`, `zone.records` and `zone.aliases`.
    pub(super) fn content(
        &mut self,
        raw: &raw::Zone,
        apex: &Name,
        ttl: u32,
    ) -> Option<Vec<Record>> {
        let mut records = match &raw.file {
            Some(file) => self.file(file, apex, ttl)?,
            None => Vec::new(),
        };
        for line in raw.records.iter().flatten() {
            records.push(self.record("zone.records", line, apex, apex, None, ttl)?);
        }
        for (alias, target) in raw.aliases.iter().flatten() {
            let key = format!("zone.aliases.{alias}");
            let (alias, target) = (self.name(&key, alias, apex)?, self.name(&key, target, apex)?);
            self.within(&key, &alias, apex)?;
            records.push(Record::from_rdata(alias, ttl, RData::CNAME(CNAME(target))));
        }
        Some(records)
    }

    /// The records of `services.*.records`: without an owner they are at the service's first name, and relative to it.
    pub(super) fn service_records(
        &mut self,
        path: &str,
        lines: Option<&[String]>,
        names: &[Name],
        apex: &Name,
        ttl: u32,
    ) -> Option<Vec<Record>> {
        let key = format!("{path}.records");
        let first = names.first()?;
        let lines = lines.unwrap_or_default().iter();
        let records: Vec<_> =
            lines.map(|line| self.record(&key, line, apex, first, Some(first), ttl)).collect();
        records.into_iter().collect()
    }

    /// One record as a line of a master file.
    fn record(
        &mut self,
        key: &str,
        line: &str,
        apex: &Name,
        origin: &Name,
        owner: Option<&Name>,
        ttl: u32,
    ) -> Option<Record> {
        match master::parse_record(line, origin, owner, ttl) {
            Ok(record) => self.within(key, &record.name, apex).map(|()| record),
            Err(MasterError { problem, .. }) => {
                let expected = "a record as in a zone file, such as \"www CNAME hello\"";
                self.note(key, format!("{line:?}: {problem}"), expected, "correct the record");
                None
            }
        }
    }

    fn within(&mut self, key: &str, name: &Name, apex: &Name) -> Option<()> {
        if apex.zone_of(name) {
            return Some(());
        }
        let fix = "leave out the dot at its end, or the record";
        self.note(key, name, &format!("names in the zone {apex}"), fix);
        None
    }

    fn file(&mut self, file: &str, apex: &Name, ttl: u32) -> Option<Vec<Record>> {
        let path = self.folder.join(file);
        let failed = |checker: &mut Self, found: String| {
            let expected = "a zone file as in RFC 1035, section 5";
            checker.note("zone.file", found, expected, "correct the file");
            None
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return failed(self, format!("{}: {error}", path.display())),
        };
        let name = path.display().to_string();
        let source = Source { name: &name, text: &text, origin: apex, ttl: Some(ttl) };
        let written = match master::parse(source, &mut include) {
            Ok(written) => written,
            Err(error) => return failed(self, error.to_string()),
        };
        let foreign = written.iter().filter(|written| !apex.zone_of(&written.record.name));
        let foreign: Vec<_> = foreign
            .take(NAMED)
            .map(|written| {
                format!("{}:{}: {}", written.source_name, written.line, written.record.name)
            })
            .collect();
        if !foreign.is_empty() {
            let expected = format!("names in the zone {apex}");
            let fix = "remove these records, or correct the zone's apex";
            self.note("zone.file", foreign.join("; "), &expected, fix);
            return None;
        }
        Some(written.into_iter().map(|written| written.record).collect())
    }
}

/// Reads an included file; a relative path starts at the folder of the file that includes it.
fn include(from: &str, file: &str) -> Result<(String, String), String> {
    let path: PathBuf = Path::new(from).parent().unwrap_or_else(|| Path::new("")).join(file);
    let name = path.display().to_string();
    match fs::read_to_string(&path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(format!("cannot read {name}: {error}")),
    }
}

/// Whether the records have one of this type at the apex.
pub(super) fn has_at_apex(records: &[Record], apex: &Name, record_type: RecordType) -> bool {
    let apex = LowerName::new(apex);
    records
        .iter()
        .any(|record| record.record_type() == record_type && LowerName::new(&record.name) == apex)
}
