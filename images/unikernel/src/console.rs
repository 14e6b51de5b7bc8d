//! The console: text for whoever reads the guest's log.

use core::fmt::{self, Write};

use crate::hypercall;

pub use crate::{print, println};

/// Octets of one write to the host; longer texts are several.
const LINE: usize = 512;

/// Writes formatted text to the console, in as few hypercalls as it fits into.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::write(::core::format_args!($($argument)*)) };
}

/// Like [`print!`](crate::print), and ends the line.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($argument:tt)*) => { $crate::print!("{}\n", ::core::format_args!($format $($argument)*)) };
}

/// Writes formatted text; what [`print!`](crate::print) stands for. Needs no heap.
pub fn write(text: fmt::Arguments<'_>) {
    let mut line = Line { octets: [0; LINE], len: 0 };
    // A formatting error comes from a value's own implementation; what it wrote before is shown.
    let _ = line.write_fmt(text);
    line.flush();
}

struct Line {
    octets: [u8; LINE],
    len: usize,
}

impl Line {
    fn flush(&mut self) {
        if self.len > 0 {
            hypercall::puts(&self.octets[..self.len]);
            self.len = 0;
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.len == LINE {
                self.flush();
            }
            let (now, later) = rest.split_at(rest.len().min(LINE - self.len));
            self.octets[self.len..self.len + now.len()].copy_from_slice(now);
            self.len += now.len();
            rest = later;
        }
        Ok(())
    }
}
