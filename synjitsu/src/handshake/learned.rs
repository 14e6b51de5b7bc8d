//! What guests offer in their SYN-ACKs, so that the switch can offer the same in their name the next time.

use std::collections::HashMap;

use crate::flow::FlowKey;
use crate::tcp::Offer;

/// Kept for so many ports of images at most; further ones are not learned.
const MOST: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Learned(HashMap<Listener, Offer>);

/// A port of an image; the largest segment differs between the families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Listener {
    image: u64,
    port: u16,
    v6: bool,
}

impl Listener {
    const fn of(image: u64, key: &FlowKey) -> Self {
        Self { image, port: key.local_port, v6: key.local.is_ipv6() }
    }
}

impl Learned {
    /// A guest answered a SYN that offered `asked` with `answer`. An answer can only agree to what was offered, so it is learned
    /// from offers of everything.
    pub(crate) fn learn(&mut self, image: u64, key: &FlowKey, asked: &Offer, answer: Offer) {
        let listener = Listener::of(image, key);
        let offers_all = asked.sack && asked.window_scale.is_some();
        if offers_all && (self.0.len() < MOST || self.0.contains_key(&listener)) {
            self.0.insert(listener, answer);
        }
    }

    /// What the image's guests offer on that port, if one was seen.
    pub(crate) fn get(&self, image: u64, key: &FlowKey) -> Option<&Offer> {
        self.0.get(&Listener::of(image, key))
    }
}
