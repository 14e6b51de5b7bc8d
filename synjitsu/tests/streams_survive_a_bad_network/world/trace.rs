//! The last things that happened, for whoever has to understand a violation.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use policies::Instant;

use crate::segment::Segment;

const KEPT: usize = 120;

#[derive(Debug, Default)]
pub(crate) struct Trace(VecDeque<(Instant, String)>);

impl Trace {
    pub(crate) fn note(&mut self, at: Instant, what: String) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, what));
    }

    pub(crate) fn segment(
        &mut self,
        at: Instant,
        way: &str,
        client: SocketAddr,
        segment: &Segment,
    ) {
        // Made only when it is read would be cheaper, but nothing else would be simpler.
        self.note(at, format!("{:<18} {:>5} {segment:?}", way, client.port()));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in &self.0 {
            writeln!(out, "{:>11.3} ms  {what}", at.as_nanos() as f64 / 1e6)?;
        }
        Ok(())
    }
}
