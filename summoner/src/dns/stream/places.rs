//! A place for each connection, and how its holder is told to give it up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use policies::Instant;
use policies::budget::SourcePrefix;
use tokio::sync::Notify;

use super::table::{Bounds, ConnectionId, Table};

/// The places that there are; clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    table: Table,
    /// How each holder is told.
    holders: HashMap<ConnectionId, Arc<Notify>>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    id: ConnectionId,
    taken: Arc<Notify>,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        let inner = Inner { table: Table::new(bounds), holders: HashMap::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// A place for a client, at the cost of somebody else's if there is none.
    pub(super) fn take(&self, now: Instant, source: IpAddr) -> Place {
        let taken = Arc::new(Notify::new());
        let id = self.with(|inner| {
            let (id, victim) = inner.table.admit(now, SourcePrefix::of(source));
            if let Some(holder) = victim.and_then(|victim| inner.holders.remove(&victim)) {
                holder.notify_one();
            }
            inner.holders.insert(id, taken.clone());
            id
        });
        Place { places: self.clone(), id, taken }
    }

    /// Nothing that is done under the lock can panic half-way, so a poisoned one is as good as before.
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Place {
    /// Notes that the connection is used.
    pub(super) fn touch(&self, now: Instant) {
        self.places.with(|inner| inner.table.touch(self.id, now));
    }

    /// When it was used last; `None` when the place is somebody else's.
    pub(super) fn last_use(&self) -> Option<Instant> {
        self.places.with(|inner| inner.table.last_use(self.id))
    }

    /// Waits until the place is somebody else's.
    pub(super) async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.with(|inner| {
            inner.table.leave(self.id);
            inner.holders.remove(&self.id);
        });
    }
}
