//! Services are made and forgotten while the daemon runs.

use std::sync::Arc;
use std::time::SystemTime;

use policies::ServiceId;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::Reloader;
use crate::clock;
use crate::orchestrator::{Addition, Change, Deployment};
use crate::templates::{Instances, Made, Making, Request};

/// The services of a configuration, and those that templates have made.
pub(super) fn all(configured: &[Deployment], instances: &Instances) -> Vec<Deployment> {
    let made = instances.iter().map(|made| &made.deployment);
    configured.iter().chain(made).cloned().collect()
}

impl Reloader {
    /// Makes what `first` asks for and what others ask for already: the zone is published once for all of them.
    pub(super) async fn make(&mut self, first: Request, more: &mut mpsc::Receiver<Request>) {
        let mut waiting = Vec::new();
        let mut additions = Vec::new();
        let mut next = Some(first);
        while let Some(Request { template, name, source, credibility, made }) = next.take() {
            match self.prepare(&template, &name) {
                Some(Making::There) => waiting.push(made),
                Some(Making::New(deployment)) => {
                    waiting.push(made);
                    additions.push(Addition { deployment: *deployment, source, credibility });
                }
                // Who asks is told by `made` being dropped.
                None => {}
            }
            next = more.try_recv().ok();
        }
        if !additions.is_empty() {
            self.add(additions).await;
        }
        for made in waiting {
            // Who asked may have gone away.
            let _ = made.send(());
        }
    }

    fn prepare(&mut self, template: &str, name: &hickory_proto::rr::LowerName) -> Option<Making> {
        let Self { running, deployer, configured, instances, .. } = self;
        match instances.make(clock::now(), running, deployer, configured, (template, name)) {
            Ok(making) => Some(making),
            Err(refusal) => {
                // Templates that are gone are no labels.
                if running.templates.contains_key(template) {
                    self.count(template, refusal.label());
                }
                None
            }
        }
    }

    async fn add(&mut self, additions: Vec<Addition>) {
        let keys: Vec<(String, ServiceId)> = additions
            .iter()
            .map(|addition| (addition.deployment.settings.key.clone(), addition.deployment.id))
            .collect();
        // The orchestrator first: a name must not be published before its address is attached.
        let added = self.ask(|done| Change::Add { services: additions, done }).await;
        let (added, refused): (Vec<_>, Vec<_>) =
            keys.into_iter().zip(added).partition(|(_, added)| *added);
        for ((key, _), _) in refused {
            self.drop_made(&key, "over_budget");
        }
        if added.is_empty() {
            return;
        }
        if self.publish() {
            for ((key, _), _) in added {
                self.count(template_of(&key), "made");
            }
        } else {
            let services = added.iter().map(|((_, id), _)| *id).collect();
            let since = clock::now();
            self.ask(|done| Change::Forget { services, since, done }).await;
            for ((key, _), _) in added {
                self.drop_made(&key, "unpublished");
            }
        }
        self.show();
    }

    /// Forgets those that nobody has asked for long enough, and that are cold.
    pub(super) async fn forget(&mut self) {
        let now = clock::now();
        let (keys, services): (Vec<_>, Vec<_>) = self.instances.due(now).into_iter().unzip();
        if keys.is_empty() {
            return;
        }
        let cold = self.ask(|done| Change::AreCold { services, done }).await;
        let cold = keys.iter().zip(cold).filter(|(_, cold)| *cold);
        let leaving: Vec<Made> = cold.filter_map(|(key, _)| self.instances.take(key)).collect();
        if leaving.is_empty() {
            return;
        }
        // First nobody is given its address any more, then it is taken away: who was answered meanwhile keeps it.
        if !self.publish() {
            leaving.into_iter().for_each(|made| self.instances.put_back(made));
            return;
        }
        let services = leaving.iter().map(|made| made.deployment.id).collect();
        let gone = self.ask(|done| Change::Forget { services, since: now, done }).await;
        let mut kept = false;
        for (made, gone) in leaving.into_iter().zip(gone) {
            if gone {
                let key = &made.deployment.settings.key;
                self.deployer.forget(key);
                self.count(template_of(key), "forgotten");
            } else {
                self.instances.put_back(made);
                kept = true;
            }
        }
        if kept {
            self.publish();
        }
        self.show();
    }

    /// After a reload.
    pub(super) fn replace(&mut self, instances: Instances) {
        let before = std::mem::replace(&mut self.instances, instances);
        for made in before.iter() {
            let key = &made.deployment.settings.key;
            if !self.instances.contains(key) {
                self.deployer.forget(key);
            }
        }
        self.metrics.template_services.reset();
        self.show();
    }

    /// Swaps in a zone with what there is now; returns whether that was possible.
    fn publish(&mut self) -> bool {
        let all = all(&self.configured, &self.instances);
        match self.publisher.publish(&self.running, &all, SystemTime::now()) {
            Ok(published) => self.published.store(Arc::new(published)),
            Err(error) => {
                error!(error = %crate::report(&error), "the zone cannot be published with the services of templates");
                return false;
            }
        }
        true
    }

    /// Asks the orchestrator. An empty answer: the daemon goes down.
    async fn ask(&self, change: impl FnOnce(oneshot::Sender<Vec<bool>>) -> Change) -> Vec<bool> {
        let (done, answer) = oneshot::channel();
        if self.changes.send(change(done)).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    fn drop_made(&mut self, key: &str, why: &'static str) {
        self.instances.take(key);
        self.deployer.forget(key);
        self.count(template_of(key), why);
    }

    fn count(&self, template: &str, result: &'static str) {
        self.metrics.template_services_made.with_label_values(&[template, result]).inc();
    }

    fn show(&self) {
        for template in self.running.templates.keys() {
            let count = i64::try_from(self.instances.count(template)).unwrap_or(i64::MAX);
            self.metrics.template_services.with_label_values(&[template]).set(count);
        }
    }
}

/// The template's part of the key of a service that it has made.
fn template_of(key: &str) -> &str {
    key.split_once('.').map_or(key, |(_, template)| template)
}
