//! Entries and their words: comments, quotes, escapes and parentheses (RFC 1035, section 5.1).

use std::fmt;

/// A word. Escapes are still in it: what they mean depends on what the word is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) raw: Vec<u8>,
    /// Whether it was in quotes from its beginning.
    pub(super) quoted: bool,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In a message: the beginning is enough.
        let text = String::from_utf8_lossy(&self.raw);
        text.chars().take(64).try_for_each(|c| write!(f, "{}", c.escape_debug()))
    }
}

/// What belongs to one record or directive: a line, or several within parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Whether it begins with a blank: its owner is that of the entry before.
    pub(super) blank: bool,
    /// At least one.
    pub(super) tokens: Vec<Token>,
}

impl Entry {
    /// The directive that it is, in capitals, and what follows.
    pub(super) fn directive(&self) -> Option<(String, &[Token])> {
        let (first, arguments) = self.tokens.split_first()?;
        let directive = !self.blank && !first.quoted && first.raw.starts_with(b"$");
        directive.then(|| (String::from_utf8_lossy(&first.raw).to_ascii_uppercase(), arguments))
    }
}

/// Splits a text; an error has its line.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut lexer = Lexer { rest: text.as_bytes(), line: 1 };
    let mut entries = Vec::new();
    while !lexer.rest.is_empty() {
        let (line, blank) = (lexer.line, matches!(lexer.rest.first(), Some(b' ' | b'\t')));
        let tokens = lexer.tokens().map_err(|problem| (line, problem.to_owned()))?;
        if !tokens.is_empty() {
            entries.push(Entry { line, blank, tokens });
        }
    }
    Ok(entries)
}

struct Lexer<'t> {
    rest: &'t [u8],
    line: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    /// The words up to the end of the entry.
    fn tokens(&mut self) -> Result<Vec<Token>, &'static str> {
        let mut tokens = Vec::new();
        let mut inside = false;
        loop {
            match self.rest.first() {
                None if inside => return Err("a parenthesis is not closed"),
                None => return Ok(tokens),
                Some(b'\n') => {
                    self.next();
                    if !inside {
                        return Ok(tokens);
                    }
                }
                Some(b' ' | b'\t' | b'\r') => {
                    self.next();
                }
                Some(b';') => {
                    while self.rest.first().is_some_and(|octet| *octet != b'\n') {
                        self.next();
                    }
                }
                Some(b'(') if inside => return Err("parentheses cannot be nested"),
                Some(b')') if !inside => return Err("a parenthesis is closed that was not opened"),
                Some(b'(' | b')') => {
                    inside = !inside;
                    self.next();
                }
                Some(_) => tokens.push(self.token()?),
            }
        }
    }

    /// A word; quotes may also begin within it, as in `alpn="h2,h3"`.
    fn token(&mut self) -> Result<Token, &'static str> {
        let quoted = self.rest.first() == Some(&b'"');
        let mut raw = Vec::new();
        let mut in_quotes = false;
        loop {
            match self.rest.first() {
                Some(b'"') => {
                    in_quotes = !in_quotes;
                    self.next();
                    if !in_quotes && quoted {
                        return Ok(Token { raw, quoted });
                    }
                }
                None | Some(b'\n') if in_quotes => return Err("a quote is not closed on its line"),
                None => return Ok(Token { raw, quoted }),
                Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')') if !in_quotes => {
                    return Ok(Token { raw, quoted });
                }
                Some(b'\\') => {
                    raw.extend(self.next());
                    match self.next() {
                        None | Some(b'\n') => return Err("a backslash at the end of a line"),
                        escaped => raw.extend(escaped),
                    }
                }
                Some(_) => raw.extend(self.next()),
            }
        }
    }
}

/// What a word stands for: `\DDD` is an octet, `\X` is X.
pub(super) fn unescape(raw: &[u8]) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((octet, _)) = escaped(&mut rest)? {
        octets.push(octet);
    }
    Ok(octets)
}

/// Takes the next octet, and whether it was written as it is.
pub(super) fn escaped(rest: &mut &[u8]) -> Result<Option<(u8, bool)>, String> {
    let taken = match *rest {
        [] => return Ok(None),
        [b'\\', a, b, c, after @ ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
            let number =
                [a, b, c].iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
            let octet = u8::try_from(number)
                .map_err(|_| format!("`\\{number}` is no octet: up to \\255"))?;
            (after, octet, false)
        }
        [b'\\', digit, ..] if digit.is_ascii_digit() => {
            return Err(
                "three digits follow a backslash, or something else than a digit".to_owned()
            );
        }
        [b'\\', octet, after @ ..] => (after, *octet, false),
        [octet, after @ ..] => (after, *octet, true),
    };
    *rest = taken.0;
    Ok(Some((taken.1, taken.2)))
}
