//! What DNS and the orchestrator tell each other about a service, without a lock or a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use policies::Instant;

/// Shared between every query for a service and the orchestrator. All accesses are sequentially consistent: of a
/// query and an idle verdict at the same moment at least one must see the other.
#[derive(Debug, Default)]
pub struct ServiceSignal {
    /// Zero: none yet.
    last_query: AtomicU64,
    last_answer: AtomicU64,
    /// The newest query that does not count as use.
    last_withheld: AtomicU64,
    awake: AtomicBool,
}

impl ServiceSignal {
    /// A signal for a service that is not awake.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Notes a query and says whether the guest is awake; if not, a wake has to be sent.
    pub fn note_query(&self, now: Instant) -> bool {
        // First the stamp, then the look: see `Orchestrator::answer_idle_question`.
        self.last_query.fetch_max(now.as_nanos(), Ordering::SeqCst);
        self.awake.load(Ordering::SeqCst)
    }

    /// Notes a query that is answered, but does not count as use.
    pub fn note_withheld(&self, now: Instant) {
        self.last_withheld.fetch_max(now.as_nanos(), Ordering::SeqCst);
    }

    /// The newest query that was answered, whether it counts as use or not: caches may have its answer since then.
    #[must_use]
    pub fn last_asked(&self) -> Option<Instant> {
        stamp(&self.last_query).max(stamp(&self.last_withheld))
    }

    /// Notes that an answer was handed to the socket.
    pub fn note_answer(&self, now: Instant) {
        self.last_answer.fetch_max(now.as_nanos(), Ordering::SeqCst);
    }

    /// The newest query.
    #[must_use]
    pub fn last_query(&self) -> Option<Instant> {
        stamp(&self.last_query)
    }

    /// The newest answer.
    #[must_use]
    pub fn last_answer(&self) -> Option<Instant> {
        stamp(&self.last_answer)
    }

    /// Whether queries need not wake.
    pub fn set_awake(&self, awake: bool) {
        self.awake.store(awake, Ordering::SeqCst);
    }
}

fn stamp(cell: &AtomicU64) -> Option<Instant> {
    match cell.load(Ordering::SeqCst) {
        0 => None,
        nanos => Some(Instant::from_nanos(nanos)),
    }
}
