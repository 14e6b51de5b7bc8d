//! TCP segments in octets: what a SYN offers, segments that the switch makes, and segments that it changes.

mod checksum;
mod draft;
mod offer;
mod rewrite;

pub(crate) use draft::Draft;
pub(crate) use offer::Offer;
pub(crate) use rewrite::{Quoted, Rewrite, Sack, requote};

#[cfg(test)]
mod tests;
