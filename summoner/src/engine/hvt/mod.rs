//! The engine `hvt`: Solo5-style guests on `/dev/kvm`, one monitor process each.
//!
//! A summon takes a shell out of the stock and hands it the instance, all in the call: no other task is waited for. From
//! then on each instance has a task of its own that owns its process. Another task keeps the stock as the policy says, but
//! only while nothing boots: making a shell costs more than booting a guest, and should not be in its way.

mod instance;
mod shell;
mod stock;
mod zygote;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use policies::stop::StopMode;
use policies::warm::WarmPolicy;
use policies::{Instant, ServiceId};
use tokio::sync::{Notify, mpsc, watch};
use tracing::warn;

use super::{Engine, EngineEvent, InstanceId, InstanceSpec, ShellSource, Template};
use crate::clock::{now, tokio_instant};
use crate::metrics::Metrics;
use crate::snapshots::{self, Snapshot, Store};
use instance::{Booting, Instance};
use shell::Shell;
pub use shell::ShellError;
use stock::{Kind, Stock};
use zygote::Zygote;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a shell to run guests in")]
pub struct EngineError(#[from] ShellError);

/// How many shells are kept at hand.
#[derive(Debug, Clone, Copy)]
pub struct StockSettings {
    /// Prepared for whoever comes.
    pub ready: WarmPolicy,
    /// Parked for the services that they served.
    pub parked: u32,
}

/// The engine. It ends, with all its processes, when it is dropped.
#[derive(Debug)]
pub struct Hvt {
    shared: Arc<Shared>,
}

/// What the engine's tasks share.
#[derive(Debug)]
struct Shared {
    zygote: Zygote,
    events: mpsc::Sender<EngineEvent>,
    store: Arc<Store>,
    metrics: Metrics,
    stock: Mutex<Stock>,
    instances: Mutex<HashMap<InstanceId, Running>>,
    /// The stock may not be as it should.
    refill: Notify,
    /// The first shell is ready, or there is no use in waiting for it.
    stocked: watch::Sender<bool>,
}

/// What an instance's task is told.
#[derive(Debug)]
enum Order {
    /// To end it.
    Stop(StopMode),
    /// Not to park its shell, however it ends.
    Discard,
}

/// A running instance, as the engine reaches it.
#[derive(Debug)]
struct Running {
    // Not bounded by itself, but by who sends: the lifecycle of an instance, a few orders at most.
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::AbortHandle,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<InstanceId, Running>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to make next, if anything, and when to look again anyway.
    fn plan(&self) -> (Option<Kind>, Option<Instant>) {
        let mut stock = self.lock();
        let (next, dismissed) =
            if stock.booting == 0 { stock.plan(now()) } else { (None, Vec::new()) };
        let look_again = stock.next_change(now());
        drop(stock);
        // Ends their processes.
        drop(dismissed);
        (next, look_again)
    }

    fn forget(&self, instance: InstanceId) {
        self.instances().remove(&instance);
    }

    /// The snapshot that an instance is to go on from, if there is one that can be used.
    fn snapshot(&self, template: &Template) -> Option<Snapshot> {
        let suspends = matches!(template.stop, StopMode::Suspend { .. });
        if !template.takes_renewal() || !(template.snapshot || suspends) {
            return None;
        }
        match self.store.find(&template.name, &template.key) {
            // What was suspended goes on once: if the instance crashes, the next one must not repeat what this one did.
            Ok(Some(found)) if found.kind == snapshots::Kind::Suspended => {
                match self.store.consume_suspended(&template.name) {
                    Ok(_) => Some(found),
                    Err(error) => {
                        warn!(service = template.name, error = %crate::report(&error),
                            "the suspended state cannot be taken out of the store and is left alone");
                        None
                    }
                }
            }
            Ok(Some(found)) => template.snapshot.then_some(found),
            Ok(None) => None,
            Err(rejected) => {
                self.metrics.snapshot_rejected(&rejected);
                None
            }
        }
    }
}

impl Hvt {
    /// Starts the engine on the current runtime.
    ///
    /// # Errors
    /// When no shell can be made: better said before anybody is answered than at the first wake.
    pub async fn start(
        settings: StockSettings,
        store: Arc<Store>,
        metrics: Metrics,
        events: mpsc::Sender<EngineEvent>,
    ) -> Result<Self, EngineError> {
        let zygote = Zygote::new();
        drop(zygote.fork().await?);
        let shared = Arc::new(Shared {
            zygote,
            events,
            store,
            metrics,
            stock: Mutex::new(Stock::new(settings.ready, settings.parked, now())),
            instances: Mutex::default(),
            refill: Notify::new(),
            stocked: watch::Sender::new(false),
        });
        tokio::spawn(keep_stock(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Waits, after the services are known, until a first shell is ready for them, if the policy wants one.
    pub fn stocked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stocked = self.shared.stocked.subscribe();
        // An error means that the engine is gone.
        async move { drop(stocked.wait_for(|stocked| *stocked).await) }
    }

    /// A shell for an instance with its boot request sent, from the stock, if there is one.
    fn take_shell(&self, instance: &mut Instance, snapshot: Option<&Snapshot>) -> Option<Shell> {
        let template = instance.spec.template.clone();
        let suspended = snapshot.is_some_and(|found| found.kind == snapshots::Kind::Suspended);
        let kind = Kind::of(&template);
        loop {
            let mut stock = self.shared.lock();
            let parked = if suspended || !template.wants_snapshot() {
                None
            } else {
                stock.take_parked(template.service, &template.key)
            };
            let (shell, source) = match parked {
                Some(shell) => (shell, ShellSource::Parked),
                None => (stock.take_ready(&kind)?, ShellSource::Ready),
            };
            drop(stock);
            // One that died while it waited (killed, out of memory) is passed over.
            if instance.send_boot(&shell, source, snapshot).is_ok() {
                return Some(shell);
            }
        }
    }
}

impl Engine for Hvt {
    fn anticipate(&mut self, templates: &[Arc<Template>]) {
        let gone = self.shared.lock().anticipate(templates);
        drop(gone);
        self.shared.refill.notify_one();
    }

    fn summon(&mut self, spec: InstanceSpec, port: OwnedFd) {
        let template = spec.template.clone();
        let mut stock = self.shared.lock();
        stock.note_wake(template.service, &Kind::of(&template), now());
        stock.booting += 1;
        drop(stock);
        let (orders, received) = mpsc::unbounded_channel();
        let id = spec.id;
        let mut instance = Instance {
            spec,
            shared: self.shared.clone(),
            orders: received,
            booting: Booting::new(self.shared.clone()),
            port: Some(port),
            capture: None,
            origin: None,
            is_recyclable: false,
            is_ready: false,
        };
        let snapshot = self.shared.snapshot(&template);
        let shell = self.take_shell(&mut instance, snapshot.as_ref());
        // Before the task runs it must be known, or it could end before it is.
        let mut instances = self.shared.instances();
        let task = tokio::spawn(instance.run(shell, snapshot)).abort_handle();
        instances.insert(id, Running { orders, task });
    }

    fn stop(&mut self, instance: InstanceId, mode: StopMode) {
        if let Some(running) = self.shared.instances().get(&instance) {
            // Refused only by an instance that has just ended.
            let _ = running.orders.send(Order::Stop(mode));
        }
    }

    fn discard(&mut self, service: ServiceId) {
        let parked = self.shared.lock().discard(service);
        drop(parked);
        for (instance, running) in self.shared.instances().iter() {
            if instance.service == service {
                let _ = running.orders.send(Order::Discard);
            }
        }
    }
}

impl Drop for Hvt {
    fn drop(&mut self) {
        // An aborted task drops its shell, which kills the process.
        for (_, running) in self.shared.instances().drain() {
            running.task.abort();
        }
        self.shared.refill.notify_one();
    }
}

/// Keeps the stock as the policy says until the engine is gone.
async fn keep_stock(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let (next, look_again) = shared.plan();
        if let Some(kind) = next {
            let start = now();
            let made = shared.zygote.make(&kind).await;
            shared.stocked.send_replace(true);
            match made {
                Ok(shell) => shared.lock().put(kind, shell, now().saturating_since(start)),
                Err(error) => {
                    shared.lock().broken = true;
                    warn!(error = %crate::report(&error), "no shell for the stock");
                }
            }
            continue;
        }
        if shared.lock().is_anticipated() {
            shared.stocked.send_replace(true);
        }
        let changed = shared.refill.notified();
        match look_again {
            Some(at) => tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(tokio_instant(at)) => {}
            },
            None => changed.await,
        }
    }
}
