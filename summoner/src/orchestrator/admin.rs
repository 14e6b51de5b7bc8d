//! Administrators' requests.

use std::collections::HashMap;

use lifecycle::Event;
use policies::{Instant, ServiceId};
use synjitsu::Command;
use tokio::sync::oneshot;

use super::Orchestrator;
use super::request::{Request, ServiceStatus};
use super::service::{Service, StopReason, state_label};
use super::timeline::Cause;

/// A list that waits until the switch has told the activity of each running instance.
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
        }
        self.admit(now);
    }

    fn wake_for(
        &mut self,
        now: Instant,
        id: ServiceId,
        reply: oneshot::Sender<Result<super::timeline::Timeline, String>>,
    ) {
        self.wake(now, id, Cause::Admin);
        let Some(service) = self.services.get_mut(&id) else { return };
        if service.is_running() {
            let _ = reply.send(Ok(service.timeline.clone()));
        } else {
            service.wake_waiters.push(reply);
        }
    }

    /// Stops a service; `stopped` is told when it is cold.
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
        for (id, service) in self.services.iter_mut().filter(|(_, service)| service.is_running()) {
            service.reports_asked += 1;
            waiting.insert(*id, service.reports_asked);
            self.packets.command(Command::Report(*id));
        }
        self.lists.push(PendingList { waiting, reply });
        self.answer_lists(now);
    }

    /// The switch has told the activity of a service.
    pub(super) fn list_heard_of(&mut self, now: Instant, id: ServiceId) {
        let Some(heard) = self.services.get(&id).map(|service| service.reports_heard) else {
            return;
        };
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
        timeline,
        now,
    }
}
