//! Master files (RFC 1035, section 5; RFC 2308, section 4; RFC 3597, section 5): text to records, and records to text.
//!
//! ```text
//!   text --lexer--> entries --mod--> owner, TTL, type, tokens --rdata, svcb--> wire form --hickory--> Record
//!   Record --wire form--> print --> text that says the same
//! ```
//!
//! Record data go through their wire form both ways, by one table of `fields`: so everything that a record can say can be
//! written, octets that are no text too, and what is printed can be read again.

mod fields;
mod lexer;
mod name;
mod print;
mod rdata;
mod svcb;

pub use print::{print, print_data};

#[cfg(test)]
mod tests;

use std::str::FromStr;

use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::txt::parse_ttl;

use lexer::{Entry, Token};

/// Files that may include each other before it is taken for a mistake.
const DEEPEST_INCLUDE: usize = 8;
/// RFC 2181, section 8: a TTL has 31 bits.
const LONGEST_TTL: u32 = (1 << 31) - 1;

/// A text that is read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'t> {
    /// Where it is from, for errors.
    pub name: &'t str,
    /// What it says.
    pub text: &'t str,
    /// What names without a dot at their end are relative to.
    pub origin: &'t Name,
    /// The TTL of records that have none, before any `$TTL`; without it such records are errors.
    pub ttl: Option<u32>,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: {problem}")]
pub struct MasterError {
    /// Where the text is from.
    pub source_name: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// What is wrong, and what should be there.
    pub problem: String,
}

/// A record, and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The record, absolute.
    pub record: Record,
    /// The text that it is from.
    pub source_name: String,
    /// Its line there.
    pub line: usize,
}

/// Reads a file for `$INCLUDE`: takes the file that includes it, and its name as written; gives its name for errors, and its
/// text.
pub type Include<'i> = dyn FnMut(&str, &str) -> Result<(String, String), String> + 'i;

/// Reads every record of a master file, and of those that it includes.
///
/// # Errors
/// With the first line that cannot be read.
pub fn parse(source: Source<'_>, include: &mut Include<'_>) -> Result<Vec<Written>, MasterError> {
    let mut reader = Reader { include, depth: 0, records: Vec::new() };
    reader.read(source)?;
    Ok(reader.records)
}

/// Reads one record, such as a configuration has it: without an owner if `owner` is given and the line begins with a type.
///
/// # Errors
/// When it is not one record.
pub fn parse_record(
    text: &str,
    origin: &Name,
    owner: Option<&Name>,
    ttl: u32,
) -> Result<Record, MasterError> {
    let failed = |problem: &str| MasterError {
        source_name: text.to_owned(),
        line: 1,
        problem: problem.to_owned(),
    };
    let entries = lexer::entries(text).map_err(|(_, problem)| failed(&problem))?;
    let [entry] = entries.as_slice() else { return Err(failed("one record is expected")) };
    let first = entry.tokens.first().ok_or_else(|| failed("nothing is written"))?;
    if first.raw.starts_with(b"$") {
        return Err(failed("a record is expected, not a directive"));
    }
    let mut context =
        Context { origin: origin.clone(), owner: owner.cloned(), ttl: Some(ttl), last_ttl: None };
    // A first word that is a type, a class or a TTL is that, if there is an owner to fall back on.
    let blank = entry.blank || (owner.is_some() && first.is_before_data());
    context.record(&Entry { blank, ..entry.clone() }).map_err(|problem| failed(&problem))
}

struct Reader<'r, 'i> {
    include: &'r mut Include<'i>,
    depth: usize,
    records: Vec<Written>,
}

impl Reader<'_, '_> {
    fn read(&mut self, source: Source<'_>) -> Result<Option<u32>, MasterError> {
        let at = |line, problem: String| MasterError {
            source_name: source.name.to_owned(),
            line,
            problem,
        };
        let entries = lexer::entries(source.text).map_err(|(line, problem)| at(line, problem))?;
        let mut context =
            Context { origin: source.origin.clone(), owner: None, ttl: source.ttl, last_ttl: None };
        for entry in &entries {
            let failed = |problem| at(entry.line, problem);
            match entry.directive() {
                None => {
                    let record = context.record(entry).map_err(failed)?;
                    let source_name = source.name.to_owned();
                    self.records.push(Written { record, source_name, line: entry.line });
                }
                Some((directive, arguments)) if directive == "$INCLUDE" => {
                    context.ttl = self.include(&context, source.name, arguments, entry.line)?;
                }
                Some((directive, arguments)) => {
                    context.directive(&directive, arguments).map_err(failed)?;
                }
            }
        }
        Ok(context.ttl)
    }

    /// An included file begins with the origin and the TTL that are in force, and changes neither origin nor owner of the
    /// one that includes it (RFC 1035, section 5.1); a `$TTL` of its goes on (RFC 2308, section 4).
    fn include(
        &mut self,
        context: &Context,
        from: &str,
        arguments: &[Token],
        line: usize,
    ) -> Result<Option<u32>, MasterError> {
        let failed = |problem| MasterError { source_name: from.to_owned(), line, problem };
        let (file, origin) = match arguments {
            [file] => (file, context.origin.clone()),
            [file, origin] => {
                (file, name::parse(&origin.raw, Some(&context.origin)).map_err(failed)?)
            }
            _ => return Err(failed("`$INCLUDE` takes a file and perhaps an origin".to_owned())),
        };
        if self.depth == DEEPEST_INCLUDE {
            return Err(failed(format!("more than {DEEPEST_INCLUDE} files include each other")));
        }
        let file = String::from_utf8_lossy(&file.raw);
        let (name, text) = (self.include)(from, &file).map_err(failed)?;
        self.depth += 1;
        let ttl =
            self.read(Source { name: &name, text: &text, origin: &origin, ttl: context.ttl })?;
        self.depth -= 1;
        Ok(ttl)
    }
}

/// What an entry may leave out.
struct Context {
    origin: Name,
    owner: Option<Name>,
    /// Of `$TTL`.
    ttl: Option<u32>,
    /// Of the record before.
    last_ttl: Option<u32>,
}

impl Context {
    fn directive(&mut self, directive: &str, arguments: &[Token]) -> Result<(), String> {
        match (directive, arguments) {
            ("$ORIGIN", [origin]) => self.origin = name::parse(&origin.raw, Some(&self.origin))?,
            ("$TTL", [text]) => {
                self.ttl = Some(
                    text.ttl()
                        .ok_or_else(|| format!("`{text}` is no TTL: seconds, or such as 1h30m"))?,
                );
            }
            ("$ORIGIN" | "$TTL", _) => return Err(format!("`{directive}` takes one word")),
            _ => {
                return Err(format!(
                    "`{directive}` is not known; there are $ORIGIN, $TTL and $INCLUDE"
                ));
            }
        }
        Ok(())
    }

    /// `[owner] [TTL] [class] type data`, TTL and class in any order.
    fn record(&mut self, entry: &Entry) -> Result<Record, String> {
        let mut rest = entry.tokens.iter();
        if !entry.blank {
            let owner = rest.next().ok_or("nothing is written")?;
            self.owner = Some(name::parse(&owner.raw, Some(&self.origin))?);
        }
        let owner = self.owner.clone().ok_or("the first record has to name its owner")?;
        let (mut ttl, mut class) = (None, false);
        let record_type = loop {
            let token = rest.next().ok_or("a type is missing, such as A or TXT")?;
            if let (None, Some(seconds)) = (ttl, token.ttl()) {
                ttl = Some(seconds);
            } else if let (false, Some(code)) = (class, token.class()) {
                if code != 1 {
                    return Err(format!("class {token}: only IN is served"));
                }
                class = true;
            } else {
                break token.record_type().ok_or_else(|| format!("`{token}` is no type of records; one that has no name is written as TYPE followed by its number"))?;
            }
        };
        let ttl =
            ttl.or(self.ttl).or(self.last_ttl).ok_or("no TTL; write one, or `$TTL 300` above")?;
        self.last_ttl = Some(ttl);
        let tokens: Vec<Token> = rest.cloned().collect();
        rdata::record(owner, ttl, record_type, &tokens, &self.origin)
    }
}

impl Token {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.raw).ok().filter(|_| !self.quoted)
    }

    fn ttl(&self) -> Option<u32> {
        let seconds = self.text().and_then(|text| parse_ttl(text).ok())?;
        (seconds <= LONGEST_TTL).then_some(seconds)
    }

    /// CLASS, by its name or by RFC 3597, section 5.
    fn class(&self) -> Option<u16> {
        let text = self.text()?.to_ascii_uppercase();
        match text.as_str() {
            "IN" => Some(1),
            "CH" => Some(3),
            "HS" => Some(4),
            _ => text.strip_prefix("CLASS")?.parse().ok(),
        }
    }

    fn record_type(&self) -> Option<RecordType> {
        let text = self.text()?.to_ascii_uppercase();
        let by_number = || text.strip_prefix("TYPE").and_then(|number| number.parse().ok());
        fields::number(&text)
            .or_else(by_number)
            .map(RecordType::from)
            .or_else(|| RecordType::from_str(&text).ok())
    }

    /// Whether it may stand before the data of a record, after its owner.
    fn is_before_data(&self) -> bool {
        self.ttl().is_some() || self.class().is_some() || self.record_type().is_some()
    }
}
