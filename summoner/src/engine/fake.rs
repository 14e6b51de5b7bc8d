//! The engine `fake`: plays instances by script, for tests of everything above an engine.
//!
//! It does what it is told and nothing by itself: a test decides when an instance becomes ready or
//! ends, and so reaches every order of events without a clock.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use policies::ServiceId;
use policies::stop::StopMode;

use super::{Engine, InstanceId, InstanceSpec, Template};

/// An order that the engine was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Boot this instance.
    Summon(InstanceId),
    /// End this instance.
    Stop(InstanceId, StopMode),
}

/// The engine; clones share their orders.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    orders: Vec<Order>,
    ports: HashMap<InstanceId, OwnedFd>,
}

impl Fake {
    /// The orders since the last call, oldest first.
    #[must_use]
    pub fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.lock().orders)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Fake {
    fn anticipate(&mut self, _: &[Arc<Template>]) {}

    fn discard(&mut self, _: ServiceId) {}

    fn summon(&mut self, spec: InstanceSpec, port: OwnedFd) {
        let mut state = self.lock();
        state.orders.push(Order::Summon(spec.id));
        state.ports.insert(spec.id, port);
    }

    fn stop(&mut self, instance: InstanceId, mode: StopMode) {
        let mut state = self.lock();
        state.orders.push(Order::Stop(instance, mode));
        if mode == StopMode::Destroy {
            state.ports.remove(&instance);
        }
    }
}
