//! Services that come, change and go while the daemon runs.

use std::collections::HashSet;

use lifecycle::State;
use policies::{Instant, ServiceId};
use synjitsu::{Command, HoldPolicy, ServicePort};
use tracing::info;

use super::service::{Deployment, Service, StopReason, state_label};
use super::{Limits, Orchestrator};

impl Orchestrator {
    /// Makes the set of services equal to `deployments`, without touching those that stay the same.
    ///
    /// A service whose guest would boot otherwise now (image, memory, command line or address) is stopped,
    /// so that the next wake brings up the new one; every other change is taken over in passing.
    pub fn configure(&mut self, now: Instant, limits: &Limits, deployments: Vec<Deployment>) {
        self.limits = limits.admission;
        self.budget.configure(now, &limits.wakes);
        self.show_prefixes(now);
        let kept: HashSet<ServiceId> = deployments.iter().map(|deployment| deployment.id).collect();
        let gone: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(id, service)| !kept.contains(id) && !service.removed)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(service) = self.services.get(&id) {
                info!(service = service.key(), "service removed");
            }
            self.remove(now, id, StopReason::Removed);
        }
        for deployment in deployments {
            self.put(now, deployment);
        }
        self.anticipate();
        let configured: HashSet<&str> = self
            .services
            .values()
            .filter(|service| !service.removed && service.deployment.settings.snapshot)
            .map(Service::key)
            .collect();
        self.snapshots.retain_ready(|service| configured.contains(service));
        self.admit(now);
    }

    /// Tells the engine which services there are.
    pub(super) fn anticipate(&mut self) {
        let live = self.services.values().filter(|service| !service.removed);
        let templates: Vec<_> = live.map(|service| service.deployment.template.clone()).collect();
        self.engine.anticipate(&templates);
    }

    pub(super) fn put(&mut self, now: Instant, deployment: Deployment) {
        let id = deployment.id;
        // First the switch, so that no packet for a new address finds nothing.
        self.packets.command(Command::Attach(service_port(&deployment)));
        let Some(service) = self.services.get_mut(&id) else {
            info!(service = deployment.settings.key, ipv4 = ?deployment.addresses.ipv4,
                ipv6 = ?deployment.addresses.ipv6, "service configured");
            self.metrics.instances.with_label_values(&[state_label(&State::Cold)]).inc();
            self.services.insert(id, Service::new(deployment, self.first_generation));
            return;
        };
        let same = service.deployment.boots_the_same(&deployment);
        service.removed = false;
        service.deployment = deployment;
        service.lifecycle.set_timing(service.deployment.timing());
        if !same && service.lifecycle.generation().is_some() {
            info!(service = service.key(), "service changed; its guest is stopped");
            self.stop(now, id, StopReason::Changed, None);
        }
    }

    /// Stops every service for good: the daemon goes down.
    pub fn shut_down(&mut self, now: Instant) {
        let all: Vec<ServiceId> = self.services.keys().copied().collect();
        all.into_iter().for_each(|id| self.remove(now, id, StopReason::Shutdown));
    }

    pub(super) fn remove(&mut self, now: Instant, id: ServiceId, reason: StopReason) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.removed = true;
        self.packets.command(Command::Detach(id));
        self.stop(now, id, reason, None);
    }
}

fn service_port(deployment: &Deployment) -> ServicePort {
    let settings = &deployment.settings;
    ServicePort {
        service: deployment.id,
        ipv4: deployment.addresses.ipv4,
        ipv6: deployment.addresses.ipv6,
        mac: deployment.template.mac,
        wake_on_packet: settings.wake.packet,
        wake_on_echo: settings.wake.ping,
        image: deployment.template.image.plan.digest.short(),
        hold: HoldPolicy {
            mode: settings.hold.mode,
            time: settings.hold.time,
            flows: settings.hold.flows,
            bytes: settings.hold.bytes,
            buffer: settings.hold.buffer,
            overflow: settings.hold.overflow,
        },
    }
}
