//! Who is where on the segment: the link-layer addresses of neighbours, and what waits for them (RFC 4861, section 7).
//!
//! The rules, and why, are on the page of the module above. One table serves both families: what is asked, and how, is the
//! caller's business.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use policies::Instant;

use super::Mac;

/// Neighbours whose address is known; beyond, the one that is least worth keeping gives way.
pub(super) const MOST_KNOWN: usize = 1024;
/// Neighbours that are asked for at once: so that a scan of the segment by forged packets has an end (RFC 6583).
pub(super) const MOST_ASKED: usize = 256;
/// Packets that wait for one neighbour, and octets that wait for all of them.
pub(super) const MOST_WAITING: usize = 8;
pub(super) const MOST_OCTETS: usize = 1 << 20;
/// RETRANS_TIMER and MAX_MULTICAST_SOLICIT (RFC 4861, section 10).
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u8 = 3;
/// REACHABLE_TIME.
pub(super) const REACHABLE: Duration = Duration::from_secs(30);
/// A neighbour that nothing was sent to for so long is forgotten.
const FORGET: Duration = Duration::from_secs(300);
/// Use is stamped no more often than this, so that sending does not touch the order each time.
const GRAIN: Duration = Duration::from_secs(1);

/// A question that is to be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// About whom.
    pub(super) about: IpAddr,
    /// The service's address that is in need of the answer.
    pub(super) source: IpAddr,
    /// Whom; `None` for everybody.
    pub(super) whom: Option<Mac>,
}

/// How a neighbour came to say where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// By the way, while it asked about one of our addresses.
    Question,
    /// In answer to somebody, ourselves perhaps.
    Answer,
    /// To everybody.
    Announcement,
}

/// What becomes of a packet, and what else is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) way: Way,
    pub(super) ask: Option<Ask>,
    /// How many waiting packets gave way to it.
    pub(super) displaced: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It can be sent there.
    There(Mac),
    /// It waits.
    Waits,
    /// Too much waits already.
    Full,
}

/// What is to be done at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ask(Ask),
    /// So many packets waited in vain.
    Silent(usize),
}

/// What a message about a neighbour changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    Nothing,
    /// A change of address was not believed; the neighbour is asked first, if it is not being asked already.
    Doubted(Option<Ask>),
    /// These waited for it.
    Found(VecDeque<Box<[u8]>>),
}

#[derive(Debug)]
enum State {
    /// Everybody was asked so often.
    Asked { tries: u8, waiting: VecDeque<Box<[u8]>> },
    Known {
        mac: Mac,
        /// When it last said so itself, asked.
        confirmed: Option<Instant>,
        /// How often it was asked since whether it is still there.
        tries: u8,
    },
}

#[derive(Debug)]
struct Neighbour {
    state: State,
    source: IpAddr,
    used: Instant,
    due: Instant,
}

impl Neighbour {
    /// Its place in the order in which known ones give way: first who was never confirmed, then the longest unused.
    fn worth(&self, address: IpAddr) -> (bool, Instant, IpAddr) {
        let confirmed = matches!(self.state, State::Known { confirmed: Some(_), .. });
        (confirmed, self.used, address)
    }

    const fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }
}

#[derive(Debug, Default)]
pub(super) struct Neighbours {
    all: HashMap<IpAddr, Neighbour>,
    timers: BTreeSet<(Instant, IpAddr)>,
    /// The known ones.
    worth: BTreeSet<(bool, Instant, IpAddr)>,
    octets: usize,
}

impl Neighbours {
    /// The way to `to` for a packet of `source`, which is copied by `copy` if it has to wait.
    pub(super) fn send(
        &mut self,
        now: Instant,
        to: IpAddr,
        source: IpAddr,
        length: usize,
        copy: impl FnOnce() -> Box<[u8]>,
    ) -> Sending {
        let mut sending = Sending { way: Way::Waits, ask: None, displaced: 0 };
        let Some(neighbour) = self.all.get_mut(&to) else {
            if self.asked() >= MOST_ASKED || self.octets + length > MOST_OCTETS {
                return Sending { way: Way::Full, ..sending };
            }
            let state = State::Asked { tries: 1, waiting: VecDeque::from([copy()]) };
            self.octets += length;
            self.insert(to, Neighbour { state, source, used: now, due: now + RETRY });
            return Sending { ask: Some(Ask { about: to, source, whom: None }), ..sending };
        };
        match &mut neighbour.state {
            State::Asked { waiting, .. } => {
                if waiting.len() >= MOST_WAITING
                    && let Some(oldest) = waiting.pop_front()
                {
                    self.octets -= oldest.len();
                    sending.displaced = 1;
                }
                if self.octets + length > MOST_OCTETS {
                    return Sending { way: Way::Full, ..sending };
                }
                self.octets += length;
                waiting.push_back(copy());
                sending
            }
            State::Known { mac, confirmed, tries } => {
                let mac = *mac;
                let fresh = confirmed.is_some_and(|when| now - when < REACHABLE);
                sending.way = Way::There(mac);
                if !fresh && *tries == 0 {
                    *tries = 1;
                    sending.ask = Some(Ask { about: to, source, whom: Some(mac) });
                    self.change(to, |neighbour| {
                        neighbour.source = source;
                        neighbour.used = now;
                        neighbour.due = now + RETRY;
                    });
                } else if now - neighbour.used >= GRAIN {
                    self.change(to, |neighbour| neighbour.used = now);
                }
                sending
            }
        }
    }

    /// `from` says that it is at `mac`.
    pub(super) fn learn(&mut self, now: Instant, from: IpAddr, mac: Mac, said: Said) -> Learnt {
        let Some(neighbour) = self.all.get_mut(&from) else {
            if said == Said::Question {
                self.make_room(false);
                if self.known() < MOST_KNOWN {
                    let state = State::Known { mac, confirmed: None, tries: 0 };
                    let due = now + FORGET;
                    self.insert(from, Neighbour { state, source: from, used: now, due });
                }
            }
            return Learnt::Nothing;
        };
        match &mut neighbour.state {
            State::Asked { .. } => {
                let confirmed = (said == Said::Answer).then_some(now);
                self.make_room(confirmed.is_some());
                let mut neighbour = self.take(from).expect("it was just there");
                let known = State::Known { mac, confirmed, tries: 0 };
                let State::Asked { waiting, .. } = std::mem::replace(&mut neighbour.state, known)
                else {
                    return Learnt::Nothing;
                };
                self.octets -= waiting.iter().map(|packet| packet.len()).sum::<usize>();
                (neighbour.used, neighbour.due) = (now, now + FORGET);
                // A table full of confirmed ones has no place for one that is not; it is asked for again when it is needed.
                if self.known() < MOST_KNOWN {
                    self.insert(from, neighbour);
                }
                Learnt::Found(waiting)
            }
            State::Known { mac: known, tries, .. } if *known == mac => {
                // Only an answer to our question says that packets arrive there.
                if said == Said::Answer && *tries > 0 {
                    self.change(from, |neighbour| {
                        neighbour.state = State::Known { mac, confirmed: Some(now), tries: 0 };
                        neighbour.due = now + FORGET;
                    });
                }
                Learnt::Nothing
            }
            State::Known { mac: known, confirmed, tries } => {
                let fresh = confirmed.is_some_and(|when| now - when < REACHABLE);
                if said != Said::Answer && !fresh && *tries == 0 {
                    *known = mac;
                    return Learnt::Nothing;
                }
                if *tries > 0 {
                    return Learnt::Doubted(None);
                }
                *tries = 1;
                let whom = Some(*known);
                let source = neighbour.source;
                self.change(from, |neighbour| neighbour.due = now + RETRY);
                Learnt::Doubted(Some(Ask { about: from, source, whom }))
            }
        }
    }

    /// Where packets for `address` go.
    #[cfg(test)]
    pub(super) fn mac(&self, address: IpAddr) -> Option<Mac> {
        match self.all.get(&address)?.state {
            State::Known { mac, .. } => Some(mac),
            State::Asked { .. } => None,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing that is to be done at `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Due> {
        loop {
            let address =
                self.timers.first().filter(|(at, _)| *at <= now).map(|(_, address)| *address)?;
            let neighbour = self.all.get_mut(&address).expect("a timer belongs to a neighbour");
            let source = neighbour.source;
            let (tries, whom) = match &mut neighbour.state {
                State::Asked { tries, .. } => (tries, None),
                State::Known { tries, mac, .. } if *tries > 0 => (tries, Some(*mac)),
                State::Known { .. } => {
                    let forget = neighbour.used + FORGET;
                    if forget > now {
                        self.change(address, |neighbour| neighbour.due = forget);
                    } else {
                        self.take(address);
                    }
                    continue;
                }
            };
            if *tries < TRIES {
                *tries += 1;
                self.change(address, |neighbour| neighbour.due = now + RETRY);
                return Some(Due::Ask(Ask { about: address, source, whom }));
            }
            let waited = match self.take(address)?.state {
                State::Asked { waiting, .. } => {
                    self.octets -= waiting.iter().map(|packet| packet.len()).sum::<usize>();
                    waiting.len()
                }
                State::Known { .. } => 0,
            };
            return Some(Due::Silent(waited));
        }
    }

    fn known(&self) -> usize {
        self.worth.len()
    }

    fn asked(&self) -> usize {
        self.all.len() - self.worth.len()
    }

    /// Makes room for one more known neighbour, if one that is worth less can go.
    fn make_room(&mut self, confirmed: bool) {
        if self.known() < MOST_KNOWN {
            return;
        }
        if let Some((is_confirmed, _, address)) = self.worth.first().copied()
            && (confirmed || !is_confirmed)
        {
            self.take(address);
        }
    }

    fn insert(&mut self, address: IpAddr, neighbour: Neighbour) {
        self.timers.insert((neighbour.due, address));
        if !neighbour.is_asked() {
            self.worth.insert(neighbour.worth(address));
        }
        self.all.insert(address, neighbour);
    }

    fn take(&mut self, address: IpAddr) -> Option<Neighbour> {
        let neighbour = self.all.remove(&address)?;
        self.timers.remove(&(neighbour.due, address));
        self.worth.remove(&neighbour.worth(address));
        Some(neighbour)
    }

    /// Changes what the orders depend on.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Neighbour)) {
        if let Some(mut neighbour) = self.take(address) {
            change(&mut neighbour);
            self.insert(address, neighbour);
        }
    }

    /// What must hold after every step.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.timers.len(), self.all.len());
        let mut octets = 0;
        let mut known = 0;
        for (address, neighbour) in &self.all {
            assert!(self.timers.contains(&(neighbour.due, *address)));
            match &neighbour.state {
                State::Asked { waiting, tries } => {
                    assert!(waiting.len() <= MOST_WAITING && (1..=TRIES).contains(tries));
                    octets += waiting.iter().map(|packet| packet.len()).sum::<usize>();
                }
                State::Known { tries, .. } => {
                    assert!(self.worth.contains(&neighbour.worth(*address)) && *tries <= TRIES);
                    known += 1;
                }
            }
        }
        assert_eq!((octets, known), (self.octets, self.worth.len()));
        assert!(known <= MOST_KNOWN && self.asked() <= MOST_ASKED && octets <= MOST_OCTETS);
    }
}
