//! What administrators may do with snapshots, and what becomes of them when services change.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::sync::oneshot;

use super::*;
use crate::snapshots::{Kind, Reason};

const GRACE: Duration = Duration::from_secs(5);
const SUSPEND: StopMode = StopMode::Suspend { grace: GRACE };

/// Two services that are suspended when they are idle, and whose image may be cloned.
fn stage() -> Stage {
    let mut stage = Stage::new(2, WIDE);
    for service in stage.orchestrator.services.values_mut() {
        service.deployment.settings.stop = SUSPEND;
        service.lifecycle.set_timing(service.deployment.timing());
        template(service).image = image(images::Features::RENEWAL);
    }
    stage
}

/// What the instances of a service have in common, to be changed before there are any.
fn template(service: &mut Service) -> &mut Template {
    Arc::get_mut(&mut service.deployment.template).expect("nobody else has it yet")
}

/// The built-in image, as if it said this about itself.
fn image(takes: images::Features) -> Arc<LoadedImage> {
    let mut image = LoadedImage::load(&ImageRef::Builtin("hello".to_owned())).unwrap();
    image.plan.takes = takes.into();
    Arc::new(image)
}

fn keep(stage: &Stage, service: &str, kind: Kind, key: SnapshotKey) {
    let body = memfd_create("state", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&body, 8192).unwrap();
    stage.orchestrator.snapshots.save(service, &key, kind, body.as_fd(), 8192).unwrap();
}

/// The key of every deployment here.
const KEY: SnapshotKey = SnapshotKey::from_bytes([0; 32]);

fn kept(stage: &Stage) -> Vec<(String, Kind)> {
    let entries = stage.orchestrator.snapshots.list();
    entries.into_iter().map(|entry| (entry.service, entry.kind)).collect()
}

fn ask<T>(
    stage: &mut Stage,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> oneshot::Receiver<T> {
    let (reply, answer) = oneshot::channel();
    let now = stage.now;
    stage.orchestrator.handle_request(now, request(reply));
    stage.settle();
    answer
}

fn rebuild(stage: &mut Stage, name: &str) -> oneshot::Receiver<Result<Timeline, String>> {
    ask(stage, |reply| Request::RebuildSnapshot { name: name.to_owned(), reply })
}

#[test]
fn a_rebuilt_service_boots_and_is_not_resumed() {
    let mut stage = stage();
    keep(&stage, "service0", Kind::Ready, KEY);
    keep(&stage, "service1", Kind::Ready, KEY);
    let mut answer = rebuild(&mut stage, "service0.jit.test");
    let [instance] = stage.alive[..] else { panic!("it was cold and boots") };
    assert_eq!(kept(&stage), [("service1".to_owned(), Kind::Ready)]);
    assert!(answer.try_recv().is_err(), "not ready yet");
    stage.ready(instance);
    assert!(answer.try_recv().unwrap().is_ok());

    // Now it runs: its state is given up, and not kept for the next one.
    keep(&stage, "service0", Kind::Ready, KEY);
    let mut answer = rebuild(&mut stage, "service0");
    let [next] = stage.alive[..] else { panic!("the old one is destroyed, and a new one boots") };
    assert!(next.generation > instance.generation);
    assert_eq!(kept(&stage).len(), 1);
    stage.ready(next);
    assert!(answer.try_recv().unwrap().is_ok());

    // The stop mode is the old one again.
    stage.advance(Duration::from_secs(2));
    assert_eq!((stage.state(0), stage.alive.len()), ("draining", 1), "it is being suspended");
}

#[test]
fn a_suspension_under_way_is_cut_short() {
    let mut stage = stage();
    stage.packet(0);
    let instance = stage.alive[0];
    stage.ready(instance);
    stage.advance(Duration::from_secs(2));
    assert_eq!((stage.state(0), &stage.alive[..]), ("draining", &[instance][..]));
    let mut answer = rebuild(&mut stage, "service0");
    let [next] = stage.alive[..] else { panic!("the old one is gone at once") };
    assert!(next.generation > instance.generation);
    stage.ready(next);
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn nothing_to_rebuild_is_told() {
    let mut stage = stage();
    let error = rebuild(&mut stage, "nobody").try_recv().unwrap().unwrap_err();
    assert!(error.contains("nobody"), "{error}");
    let service = stage.orchestrator.services.get_mut(&ServiceId(0)).unwrap();
    template(service).snapshot = false;
    let error = rebuild(&mut stage, "service0").try_recv().unwrap().unwrap_err();
    assert!(error.contains("snapshot = false") && stage.alive.is_empty(), "{error}");
    let service = stage.orchestrator.services.get_mut(&ServiceId(1)).unwrap();
    template(service).image = image(images::Features::FRESHNESS);
    let error = rebuild(&mut stage, "service1").try_recv().unwrap().unwrap_err();
    assert!(error.contains("cloned") && stage.alive.is_empty(), "{error}");
}

#[test]
fn the_list_says_what_will_not_be_used_and_why() {
    let mut stage = stage();
    keep(&stage, "service0", Kind::Ready, KEY);
    keep(&stage, "service0", Kind::Suspended, SnapshotKey::from_bytes([9; 32]));
    keep(&stage, "gone", Kind::Suspended, KEY);
    let rows = ask(&mut stage, Request::Snapshots).try_recv().unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.service.as_str(), row.kind.as_str(), row.size, row.stale.is_some()))
        .collect();
    let expected = [
        ("gone", "suspended", 8192, true),
        ("service0", "ready", 8192, false),
        ("service0", "suspended", 8192, true),
    ];
    assert_eq!(told, expected);
    assert!(rows[0].stale.as_ref().unwrap().contains("no such service"));
    assert!(rows[2].stale.as_ref().unwrap().contains("changed"));

    let remove = |stage: &mut Stage, name: &str| {
        let name = name.to_owned();
        ask(stage, |reply| Request::RemoveSnapshots { name, reply }).try_recv().unwrap()
    };
    assert_eq!(remove(&mut stage, "service0.jit.test."), Ok(2));
    assert_eq!(remove(&mut stage, "service0"), Ok(0));
    assert_eq!(remove(&mut stage, "gone"), Ok(1), "also what no service has any more");
    assert!(remove(&mut stage, "gone").unwrap_err().contains("gone"));
    assert_eq!(kept(&stage), []);
}

#[test]
fn a_service_that_goes_or_keeps_nothing_any_more_takes_its_ready_guest_along() {
    let mut stage = stage();
    for service in ["service0", "service1"] {
        Kind::ALL.into_iter().for_each(|kind| keep(&stage, service, kind, KEY));
    }
    let mut left = stage.orchestrator.services[&ServiceId(0)].deployment.clone();
    let (now, limits) = (stage.now, stage.limits.clone());
    stage.orchestrator.configure(now, &limits, vec![left.clone()]);
    let suspended = |service: &str| (service.to_owned(), Kind::Suspended);
    let ready = ("service0".to_owned(), Kind::Ready);
    assert_eq!(kept(&stage), [ready, suspended("service0"), suspended("service1")]);
    left.settings.snapshot = false;
    stage.orchestrator.configure(now, &limits, vec![left]);
    assert_eq!(kept(&stage), [suspended("service0"), suspended("service1")]);
}

#[test]
fn what_is_rejected_is_counted() {
    let stage = stage();
    keep(&stage, "service0", Kind::Ready, SnapshotKey::from_bytes([9; 32]));
    let rejected = stage.orchestrator.snapshots.find("service0", &KEY).unwrap_err();
    assert_eq!(rejected.reason, Reason::Key);
    stage.orchestrator.metrics.snapshot_rejected(&rejected);
    let page = stage.orchestrator.metrics.render();
    let line = r#"summoner_snapshots_rejected_total{kind="ready",reason="key"} 1"#;
    assert!(page.contains(line), "{page}");
}
