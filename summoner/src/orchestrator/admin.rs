//! Administrators' requests.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use lifecycle::{Event, State, Timing};
use policies::stop::StopMode;
use policies::{Instant, ServiceId};
use synjitsu::Command;
use tokio::sync::oneshot;

use super::Orchestrator;
use super::request::{Request, ServiceStatus, SnapshotStatus};
use super::service::{Service, StopReason, state_label};
use super::timeline::Timeline;
use super::wakes::Wake;
use crate::engine::InstanceId;
use crate::snapshots::{Entry, Kind};

/// A list that waits until the switch has told of the activity of each service.
#[derive(Debug)]
pub(super) struct PendingList {
    /// Which report of each: an answer that was on its way already may be older than what the asker has seen.
    waiting: HashMap<ServiceId, u64>,
    reply: oneshot::Sender<Vec<ServiceStatus>>,
}

impl Orchestrator {
    /// An administrator asks.
    pub fn handle_request(&mut self, now: Instant, request: Request) {
        match request {
            Request::List(reply) => self.list(now, reply),
            Request::Wake { name, reply } => match self.find(&name) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(id) => self.wake_for(now, id, reply),
            },
            Request::Stop { name, reply } => match self.find(&name) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(id) => {
                    let (sender, stopped) = oneshot::channel();
                    self.stop(now, id, StopReason::Admin, Some(sender));
                    // Waiting for the process to be gone is not for this task.
                    tokio::spawn(async move {
                        let _ = reply
                            .send(stopped.await.map_err(|_| "the daemon is going down".to_owned()));
                    });
                }
            },
            Request::Logs { name, follow, reply } => {
                let lines = self.find(&name).map(|id| {
                    let Some(service) = self.services.get_mut(&id) else { return Vec::new() };
                    if let Some(follower) = follow {
                        service.console.follow(follower);
                    }
                    service.console.lines()
                });
                let _ = reply.send(lines);
            }
            Request::Snapshots(reply) => {
                let entries = self.snapshots.list();
                let rows = entries.into_iter().map(|entry| self.snapshot_status(entry)).collect();
                let _ = reply.send(rows);
            }
            Request::RemoveSnapshots { name, reply } => {
                let _ = reply.send(self.remove_snapshots(&name));
            }
            Request::RebuildSnapshot { name, reply } => match self.find(&name) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(id) => self.rebuild_snapshot(now, id, reply),
            },
        }
        self.admit(now);
    }

    fn snapshot_status(&self, entry: Entry) -> SnapshotStatus {
        let Entry { service: name, kind, key, size, stored, created } = entry;
        let live = |service: &&Service| !service.removed && service.key() == name;
        let stale = match self.services.values().find(live) {
            None => Some("no such service"),
            Some(service) if service.deployment.template.key != key => {
                Some("its image, its settings, the machine or the program has changed since")
            }
            Some(service) if kind == Kind::Ready && !service.deployment.settings.snapshot => {
                Some("its service has `snapshot = false`")
            }
            Some(_) => None,
        };
        SnapshotStatus {
            service: name,
            kind: kind.label().to_owned(),
            size,
            stored,
            created: created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            stale: stale.map(str::to_owned),
        }
    }

    fn remove_snapshots(&mut self, name: &str) -> Result<u32, String> {
        let service = match self.find(name) {
            Ok(id) => {
                self.engine.discard(id);
                self.services.get(&id).map_or(name, Service::key)
            }
            // What is left of a service that is not configured any more goes by its key.
            Err(_) if self.snapshots.list().iter().any(|entry| entry.service == name) => name,
            Err(error) => return Err(error),
        };
        self.snapshots.remove(service, None).map_err(|error| crate::report(&error))
    }

    /// All in one go, so that no wake in between can bring back what is to be replaced.
    fn rebuild_snapshot(
        &mut self,
        now: Instant,
        id: ServiceId,
        reply: oneshot::Sender<Result<Timeline, String>>,
    ) {
        let Some(service) = self.services.get_mut(&id) else { return };
        let template = &service.deployment.template;
        if !template.wants_snapshot() {
            let why = if template.snapshot {
                "its image does not say that it renews its random numbers when it is cloned"
            } else {
                "it has `snapshot = false`"
            };
            let name = &template.name;
            return drop(reply.send(Err(format!("nothing is kept of service `{name}`: {why}"))));
        }
        if service.lifecycle.generation().is_some() && service.stop_reason.is_none() {
            service.stop_reason = Some(StopReason::Admin);
        }
        self.engine.discard(id);
        // Destroyed, however it is stopped otherwise: a suspension would keep what is to be given up.
        let timing = service.deployment.timing();
        service.lifecycle.set_timing(Timing { stop: StopMode::Destroy, ..timing });
        let draining =
            matches!(service.lifecycle.state(), State::Draining { deadline: Some(_), .. });
        let instance = service.lifecycle.generation();
        self.drive(now, id, Event::Stop);
        if let (true, Some(generation)) = (draining, instance) {
            // One under way is cut short.
            self.engine.stop(InstanceId { service: id, generation }, StopMode::Destroy);
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        service.lifecycle.set_timing(timing);
        if let Err(error) = self.snapshots.remove(service.key(), None) {
            return drop(reply.send(Err(crate::report(&error))));
        }
        self.wake_for(now, id, reply);
    }

    fn wake_for(
        &mut self,
        now: Instant,
        id: ServiceId,
        reply: oneshot::Sender<Result<Timeline, String>>,
    ) {
        self.wake(now, id, &Wake::by_admin());
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.is_running() {
            let _ = reply.send(Ok(service.timeline.clone()));
        } else {
            service.wake_waiters.push(reply);
        }
    }

    /// Stops a service; `stopped` is told when its instance is gone, or the service is cold.
    pub(super) fn stop(
        &mut self,
        now: Instant,
        id: ServiceId,
        reason: StopReason,
        stopped: Option<oneshot::Sender<()>>,
    ) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.lifecycle.generation().is_some() && service.stop_reason.is_none() {
            service.stop_reason = Some(reason);
        }
        service.stop_waiters.extend(stopped);
        for waiter in service.wake_waiters.drain(..) {
            let _ = waiter.send(Err("the service was stopped".to_owned()));
        }
        self.drive(now, id, Event::Stop);
        self.forget_if_over(id);
    }

    fn find(&self, name: &str) -> Result<ServiceId, String> {
        let wanted = name.trim_end_matches('.').to_ascii_lowercase();
        let named = |service: &Service| {
            service.key() == name
                || service.deployment.settings.names.iter().any(|owner| {
                    owner.to_ascii().trim_end_matches('.').eq_ignore_ascii_case(&wanted)
                })
        };
        let live = |service: &Service| !service.removed && named(service);
        self.services.iter().find(|(_, service)| live(service)).map(|(id, _)| *id).ok_or_else(
            || {
                format!(
                    "there is no service `{name}`; `summoner ps` lists the services and their names"
                )
            },
        )
    }

    fn list(&mut self, now: Instant, reply: oneshot::Sender<Vec<ServiceStatus>>) {
        let mut waiting = HashMap::new();
        // Those without a guest too: the switch may hold packets for them.
        for (id, service) in self.services.iter_mut().filter(|(_, service)| !service.removed) {
            service.reports_asked += 1;
            waiting.insert(*id, service.reports_asked);
            self.packets.command(Command::Report(*id));
        }
        self.lists.push(PendingList { waiting, reply });
        self.answer_lists(now);
    }

    /// The switch has told the activity of a service; of one that is gone there is nothing more to wait for.
    pub(super) fn list_heard_of(&mut self, now: Instant, id: ServiceId) {
        let heard = self.services.get(&id).map_or(u64::MAX, |service| service.reports_heard);
        for list in &mut self.lists {
            if list.waiting.get(&id).is_some_and(|wanted| *wanted <= heard) {
                list.waiting.remove(&id);
            }
        }
        self.answer_lists(now);
    }

    fn answer_lists(&mut self, now: Instant) {
        if !self.lists.iter().any(|list| list.waiting.is_empty()) {
            return;
        }
        let mut rows: Vec<ServiceStatus> = self
            .services
            .values()
            .filter(|service| !service.removed)
            .map(|service| status(now, service))
            .collect();
        rows.sort_by(|a, b| a.service.cmp(&b.service));
        for list in std::mem::take(&mut self.lists) {
            if list.waiting.is_empty() {
                let _ = list.reply.send(rows.clone());
            } else {
                self.lists.push(list);
            }
        }
    }
}

fn status(now: Instant, service: &Service) -> ServiceStatus {
    let running = service.timeline.generation.is_some();
    let timeline =
        if running { Some(service.timeline.clone()) } else { service.last_timeline.clone() };
    ServiceStatus {
        service: service.key().to_owned(),
        names: service.deployment.settings.names.iter().map(ToString::to_string).collect(),
        ipv4: service.deployment.addresses.ipv4,
        ipv6: service.deployment.addresses.ipv6,
        state: state_label(service.lifecycle.state()).to_owned(),
        generation: service.lifecycle.generation().map(|generation| generation.0),
        process: service.process,
        ready_at: service.timeline.ready,
        memory: service.memory_held,
        last_used: service.activity.last_packet.max(service.deployment.signal.last_query()),
        open_connections: service.activity.open_connections,
        held: service.held,
        refused_wakes: service.refused_wakes,
        timeline,
        now,
    }
}
