//! The switch's events on their way to the orchestrator. The switch never waits for it.
//!
//! What a full queue may lose depends on what it is:
//!
//! | event | if the orchestrator is too slow |
//! |---|---|
//! | answers: `Closed`, `CloseRefused`, `Activity` | kept: there are no more than were asked for |
//! | `Wake` | dropped beyond a bound: the switch tells it again while packets come |
//! | `Milestone`, `HoldEnded` | dropped beyond a bound: they are statistics, and what is lost is counted |
//!
//! Wakes have a bound of their own, so that statistics cannot take their place. Sending takes no lock: the queue is a list of
//! blocks, and each bound an atomic count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{IntCounter, IntCounterVec};
use synjitsu::Event;
use tokio::sync::mpsc;

/// Wakes that may wait: seconds of them for a thousand services.
const MOST_WAKES: usize = 16 * 1024;
/// Milestones and ends of holds that may wait: about a mebibyte.
const MOST_STATISTICS: usize = 16 * 1024;

/// What an event is to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer,
    Wake,
    Statistic,
}

impl Kind {
    const fn of(event: &Event) -> Self {
        match event {
            Event::Closed { .. } | Event::CloseRefused { .. } | Event::Activity { .. } => {
                Self::Answer
            }
            Event::Wake { .. } => Self::Wake,
            Event::Milestone { .. } | Event::HoldEnded { .. } => Self::Statistic,
        }
    }
}

/// How many of a kind wait, how many may, and how many were lost.
#[derive(Debug)]
struct Bound {
    waiting: AtomicUsize,
    most: usize,
    lost: IntCounter,
}

impl Bound {
    /// Takes a place, unless all are taken.
    fn enter(&self) -> bool {
        // There is one sender, so between the look and the step it can only become less.
        let has_room = self.waiting.load(Ordering::Relaxed) < self.most;
        if has_room {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lost.inc();
        }
        has_room
    }

    fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Bounds {
    wakes: Bound,
    statistics: Bound,
}

impl Bounds {
    const fn of(&self, kind: Kind) -> Option<&Bound> {
        match kind {
            Kind::Answer => None,
            Kind::Wake => Some(&self.wakes),
            Kind::Statistic => Some(&self.statistics),
        }
    }
}

/// The switch's end; there is one.
#[derive(Debug)]
pub struct Sender {
    events: mpsc::UnboundedSender<Event>,
    bounds: Arc<Bounds>,
}

/// The orchestrator's end.
#[derive(Debug)]
pub struct Receiver {
    events: mpsc::UnboundedReceiver<Event>,
    bounds: Arc<Bounds>,
}

/// A queue that counts in `lost` (by `event`: `wake` or `statistic`) what it has to drop.
#[must_use]
pub fn channel(lost: &IntCounterVec) -> (Sender, Receiver) {
    with_bounds(lost, MOST_WAKES, MOST_STATISTICS)
}

fn with_bounds(lost: &IntCounterVec, wakes: usize, statistics: usize) -> (Sender, Receiver) {
    let bound = |label, most| Bound {
        waiting: AtomicUsize::new(0),
        most,
        lost: lost.with_label_values(&[label]),
    };
    let bounds = Arc::new(Bounds {
        wakes: bound("wake", wakes),
        statistics: bound("statistic", statistics),
    });
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender { events: sender, bounds: bounds.clone() }, Receiver { events: receiver, bounds })
}

impl Sender {
    /// Sends an event, or drops it if too many of its kind wait; never waits.
    // Not for several senders at once: see `Bound::enter`.
    pub fn send(&mut self, event: Event) {
        if self.bounds.of(Kind::of(&event)).is_none_or(Bound::enter) {
            // The receiver is gone only while the daemon goes down.
            let _ = self.events.send(event);
        }
    }
}

impl Receiver {
    /// Waits for the next event; `None` when the switch is gone. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        if let Some(bound) = self.bounds.of(Kind::of(&event)) {
            bound.leave();
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use policies::{Generation, Instant, ServiceId};
    use synjitsu::{HoldOutcome, Trigger};
    use tokio::runtime::Builder;

    use super::*;
    use crate::metrics::Metrics;

    const SERVICE: ServiceId = ServiceId(1);

    fn wake() -> Event {
        let source = Ipv4Addr::LOCALHOST.into();
        Event::Wake { service: SERVICE, trigger: Trigger::TcpSyn, source, at: Instant::ZERO }
    }

    fn statistic() -> Event {
        let (outcome, waited) = (HoldOutcome::Expired, Duration::ZERO);
        Event::HoldEnded { service: SERVICE, outcome, waited }
    }

    fn answer() -> Event {
        Event::Closed { service: SERVICE, generation: Generation(1) }
    }

    /// What is in the queue, after its sender is gone.
    fn drain(receiver: &mut Receiver) -> Vec<Event> {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        })
    }

    #[test]
    fn answers_are_kept_and_the_rest_is_bounded_and_counted() {
        let metrics = Metrics::new();
        let (mut sender, mut receiver) = with_bounds(&metrics.packet_events_lost, 2, 3);
        for _ in 0..10 {
            [statistic(), wake(), answer()].into_iter().for_each(|event| sender.send(event));
        }
        drop(sender);
        let events = drain(&mut receiver);
        let count = |wanted| events.iter().filter(|event| **event == wanted).count();
        assert_eq!((count(wake()), count(statistic()), count(answer())), (2, 3, 10));
        let lost = |event| metrics.packet_events_lost.with_label_values(&[event]).get();
        assert_eq!((lost("wake"), lost("statistic")), (8, 7));
    }

    #[test]
    fn who_is_heard_makes_room() {
        let metrics = Metrics::new();
        let (mut sender, mut receiver) = with_bounds(&metrics.packet_events_lost, 1, 1);
        let runtime = Builder::new_current_thread().build().unwrap();
        for _ in 0..5 {
            [wake(), statistic()].into_iter().for_each(|event| sender.send(event));
            assert_eq!(runtime.block_on(receiver.recv()), Some(wake()));
            assert_eq!(runtime.block_on(receiver.recv()), Some(statistic()));
        }
        assert_eq!(metrics.packet_events_lost.with_label_values(&["wake"]).get(), 0);
    }

    #[test]
    fn nobody_listening_is_no_trouble() {
        let metrics = Metrics::new();
        let (mut sender, receiver) = channel(&metrics.packet_events_lost);
        drop(receiver);
        sender.send(answer());
        sender.send(wake());
    }
}
