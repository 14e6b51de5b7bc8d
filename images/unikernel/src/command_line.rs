//! The command line: words, some of them flags of the form `--name=value`.

/// A guest's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandLine<'a>(&'a str);

impl<'a> CommandLine<'a> {
    /// The command line `text`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The whole text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The flags in the order given, as name and value; a flag without `=` has the empty value. Words that
    /// do not begin with `--` are left out.
    #[must_use]
    pub fn flags(self) -> Flags<'a> {
        Flags(self.0.split_ascii_whitespace())
    }

    /// The value of the last flag of that name; the last, so that what is appended wins.
    #[must_use]
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.flags().filter(|(flag, _)| *flag == name).last().map(|(_, value)| value)
    }
}

/// The flags of a [`CommandLine`].
#[derive(Debug, Clone)]
pub struct Flags<'a>(core::str::SplitAsciiWhitespace<'a>);

impl<'a> Iterator for Flags<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.by_ref().find_map(|word| {
            let flag = word.strip_prefix("--")?;
            Some(flag.split_once('=').unwrap_or((flag, "")))
        })
    }
}
