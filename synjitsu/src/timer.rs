//! Every deadline of the switch in one order.

use std::collections::BTreeSet;

use policies::{Instant, ServiceId};

use crate::flow::FlowKey;
use crate::hold::Serial;

/// What is to be done at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A held packet has been held long enough.
    Expire(ServiceId, Serial),
    /// A held SYN is to be given to the guest once more.
    Replay(ServiceId, Serial),
    /// A client is to be answered once more.
    Answer(ServiceId, Serial),
    /// Something is to be done about a connection that was handed over.
    Splice(ServiceId, FlowKey),
    /// Somebody who is known to exist still waits for a service to be woken.
    Wake(ServiceId),
    /// A connection was silent for so long that it is forgotten.
    Forget(ServiceId, FlowKey),
}

impl Timer {
    /// Whose port is to do it.
    pub(crate) const fn service(&self) -> ServiceId {
        match self {
            Self::Expire(service, _)
            | Self::Replay(service, _)
            | Self::Answer(service, _)
            | Self::Splice(service, _)
            | Self::Wake(service)
            | Self::Forget(service, _) => *service,
        }
    }
}

/// Deadlines, earliest first.
///
/// Whoever sets one stores it and takes it back with the same values, so none fires for nothing.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) {
        let new = self.0.insert((at, timer));
        debug_assert!(new, "{timer:?} was set twice");
    }

    pub(crate) fn clear(&mut self, at: Instant, timer: Timer) {
        let was_set = self.0.remove(&(at, timer));
        debug_assert!(was_set, "{timer:?} was not set for {at}");
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        (self.next()? <= now).then(|| self.0.pop_first()).flatten().map(|(_, timer)| timer)
    }
}
