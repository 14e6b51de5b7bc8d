//! The orchestrator against a world that is played: the fake engine, a fake switch, a clock that jumps.

mod snapshots;
mod wakes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use policies::budget::{Limit, Rate, WakeLimits};
use policies::stop::StopMode;
use proptest::prelude::*;
use synjitsu::{Event as PacketEvent, Trigger};
use synjitsu_device::guest_port::GuestPort;

use super::*;
use crate::config::addresses::Assigned;
use crate::config::{self, ImageRef, Wakes};
use crate::dns::ServiceSignal;
use crate::engine::fake::{Fake, Order};
use crate::engine::{Stamps, Template};
use crate::image::LoadedImage;
use crate::snapshots::SnapshotKey;

/// The switch as the orchestrator sees it.
#[derive(Debug, Clone, Default)]
struct FakeSwitch {
    state: Arc<Mutex<SwitchState>>,
}

#[derive(Debug, Default)]
struct SwitchState {
    open: HashMap<ServiceId, Generation>,
    /// Ports are kept: a dropped one would look like a dead switch to the guest.
    ports: Vec<GuestPort>,
    last_packet: HashMap<ServiceId, Instant>,
    answers: Vec<PacketEvent>,
    attached: Vec<ServiceId>,
}

impl PacketPath for FakeSwitch {
    fn command(&self, command: Command) {
        let mut state = self.state.lock().unwrap();
        match command {
            Command::Attach(port) => state.attached.push(port.service),
            Command::Detach(service) => {
                state.attached.retain(|attached| *attached != service);
                state.open.remove(&service);
            }
            Command::Open { .. } => unreachable!("ports are opened with their socket"),
            Command::Report(service) => {
                let generation = state.open.get(&service).copied();
                let last_packet = state.last_packet.get(&service).copied();
                state.answers.push(PacketEvent::Activity {
                    service,
                    generation,
                    last_packet,
                    open_connections: 0,
                    held: 0,
                });
            }
            Command::Close { service, generation, only_if_idle_since } => {
                if state.open.get(&service) != Some(&generation) {
                    return;
                }
                let last = state.last_packet.get(&service).copied().unwrap_or(Instant::ZERO);
                let event = if only_if_idle_since.is_some_and(|since| last > since) {
                    PacketEvent::CloseRefused { service, generation }
                } else {
                    state.open.remove(&service);
                    PacketEvent::Closed { service, generation }
                };
                state.answers.push(event);
            }
        }
    }

    fn open(&self, instance: InstanceId, port: GuestPort) {
        let mut state = self.state.lock().unwrap();
        let before = state.open.insert(instance.service, instance.generation);
        assert_eq!(before, None, "a port was opened twice");
        state.ports.push(port);
    }
}

/// The orchestrator and the world around it, which knows the truth.
struct Stage {
    orchestrator: Orchestrator,
    engine: Fake,
    switch: FakeSwitch,
    now: Instant,
    signals: Vec<Arc<ServiceSignal>>,
    /// Instances whose process exists.
    alive: Vec<InstanceId>,
    /// Services that were woken and have had no running guest since.
    wanted: Vec<ServiceId>,
    limits: Limits,
    /// Instances that were ever summoned.
    summoned: usize,
    /// Goes with the stage.
    _folder: tempfile::TempDir,
}

fn deployment(number: u32, idle: Duration, image: &Arc<LoadedImage>) -> Deployment {
    let settings = config::Service {
        image: ImageRef::Builtin("hello".to_owned()),
        idle,
        minimum_uptime: Duration::ZERO,
        stop: StopMode::Destroy,
        ..example(&format!("service{number}"))
    };
    let template = Arc::new(Template {
        service: ServiceId(number),
        name: settings.key.clone(),
        image: image.clone(),
        memory: settings.memory,
        command_line: String::new(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        snapshot: settings.snapshot,
        stop: settings.stop,
        key: SnapshotKey::from_bytes([0; 32]),
    });
    Deployment {
        id: ServiceId(number),
        settings,
        addresses: Assigned::default(),
        signal: ServiceSignal::new(),
        template,
    }
}

/// A service with the defaults of a configuration that names only its image.
fn example(key: &str) -> config::Service {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("summoner.toml");
    let text =
        format!("[zone]\napex = \"jit.test\"\n[services.{key}]\nimage = \"builtin:hello\"\n");
    std::fs::write(&file, text).unwrap();
    config::load(Some(&file), &[]).unwrap().services[key].clone()
}

impl Stage {
    fn new(services: u32, admission: admission::Limits) -> Self {
        Self::with_budget(services, Limits { admission, wakes: free() })
    }

    fn with_budget(services: u32, limits: Limits) -> Self {
        let image = Arc::new(
            LoadedImage::load(&ImageRef::Builtin("hello".to_owned()))
                .expect("the built-in image is good"),
        );
        let (engine, switch) = (Fake::default(), FakeSwitch::default());
        let folder = tempfile::tempdir().unwrap();
        let mut orchestrator = Orchestrator::new(Parts {
            engine: Box::new(engine.clone()),
            packets: Box::new(switch.clone()),
            metrics: Metrics::new(),
            snapshots: Arc::new(Store::open(folder.path()).unwrap()),
            limits: limits.clone(),
            first_generation: Generation(1),
        });
        let deployments: Vec<_> = (0..services)
            .map(|number| deployment(number, Duration::from_secs(1), &image))
            .collect();
        let signals = deployments.iter().map(|deployment| deployment.signal.clone()).collect();
        let now = Instant::from_nanos(1_000_000_000);
        orchestrator.configure(now, &limits, deployments);
        let (alive, wanted) = (Vec::new(), Vec::new());
        Self {
            orchestrator,
            engine,
            switch,
            now,
            signals,
            alive,
            wanted,
            limits,
            summoned: 0,
            _folder: folder,
        }
    }

    fn state(&self, service: u32) -> &'static str {
        state_label(self.orchestrator.services[&ServiceId(service)].lifecycle.state())
    }

    /// A client's packet: forwarded if the port is open, else held and a wake.
    fn packet(&mut self, service: u32) {
        let id = ServiceId(service);
        let open = {
            let mut state = self.switch.state.lock().unwrap();
            let open = state.open.contains_key(&id);
            if open {
                state.last_packet.insert(id, self.now);
            }
            open
        };
        if !open {
            self.wanted.push(id);
            let source = std::net::Ipv4Addr::LOCALHOST.into();
            let event =
                PacketEvent::Wake { service: id, trigger: Trigger::TcpSyn, source, at: self.now };
            self.orchestrator.handle_packets(self.now, event);
        }
        self.settle();
    }

    fn ready(&mut self, instance: InstanceId) {
        let what =
            Happening::Ready(Stamps { loaded: self.now, entered: self.now, ready: self.now });
        self.orchestrator.handle_engine(self.now, EngineEvent { instance, what });
        self.settle();
    }

    fn exit(&mut self, instance: InstanceId) {
        self.alive.retain(|alive| *alive != instance);
        if self.state(instance.service.0) == "summoning" {
            self.boot_failed(instance.service);
        }
        let what = Happening::Exited { at: self.now, ending: Ending::Failed("killed".to_owned()) };
        self.orchestrator.handle_engine(self.now, EngineEvent { instance, what });
        self.settle();
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        let boots = |stage: &Self| -> Vec<ServiceId> {
            let ids = stage.orchestrator.services.keys().copied();
            ids.filter(|id| stage.state(id.0) == "summoning").collect()
        };
        let before = boots(self);
        self.orchestrator.handle_timeout(self.now);
        let after = boots(self);
        before.into_iter().filter(|id| !after.contains(id)).for_each(|id| self.boot_failed(id));
        self.settle();
    }

    /// Whoever waited for it has had their answer; their packet, sent again, would be a new wake.
    fn boot_failed(&mut self, service: ServiceId) {
        self.wanted.retain(|wanted| *wanted != service);
    }

    /// Carries out the orders and delivers the switch's answers, then looks whether all is well.
    fn settle(&mut self) {
        loop {
            let orders = self.engine.take_orders();
            let answers = std::mem::take(&mut self.switch.state.lock().unwrap().answers);
            if orders.is_empty() && answers.is_empty() {
                break;
            }
            for order in orders {
                self.obey(order);
            }
            for answer in answers {
                self.orchestrator.handle_packets(self.now, answer);
            }
            self.check();
        }
        self.check();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Summon(instance) => {
                let twin = self.alive.iter().find(|alive| alive.service == instance.service);
                assert_eq!(twin, None, "two instances of one service");
                self.alive.push(instance);
                self.summoned += 1;
            }
            Order::Stop(instance, StopMode::Destroy) => {
                if self.alive.contains(&instance) {
                    self.alive.retain(|alive| *alive != instance);
                    let what = Happening::Exited { at: self.now, ending: Ending::Destroyed };
                    self.orchestrator.handle_engine(self.now, EngineEvent { instance, what });
                }
            }
            Order::Stop(_, StopMode::Shutdown { .. } | StopMode::Suspend { .. }) => {}
        }
    }

    fn check(&mut self) {
        let count = u32::try_from(self.alive.len()).unwrap();
        let limits = self.limits.admission;
        assert!(count <= limits.instances, "{count} instances");
        let booting = self
            .orchestrator
            .services
            .values()
            .filter(|service| matches!(service.lifecycle.state(), State::Summoning { .. }));
        assert!(
            booting.count() <= usize::try_from(limits.booting).unwrap(),
            "too many boots at once"
        );
        let state = self.switch.state.lock().unwrap();
        for (service, generation) in &state.open {
            // An open port without a guest exists only until the exit is handled, which settle() did.
            let instance = InstanceId { service: *service, generation: *generation };
            assert!(self.alive.contains(&instance), "the port of a dead guest is open");
        }
        self.wanted.retain(|service| !state.open.contains_key(service));
    }

    /// Lets the world behave until nothing is wanted any more.
    fn everybody_is_served_in_the_end(&mut self) {
        for _ in 0..1000 {
            if self.wanted.is_empty() {
                return;
            }
            for instance in self.alive.clone() {
                self.ready(instance);
            }
            match self.orchestrator.poll_timeout() {
                Some(at) if at > self.now => self.advance(at.saturating_since(self.now)),
                _ => self.advance(Duration::from_millis(1)),
            }
        }
        let states: BTreeMap<_, _> = self.wanted.iter().map(|id| (id, self.state(id.0))).collect();
        panic!("never served: {states:?}");
    }
}

/// A budget that nobody exceeds.
fn free() -> Wakes {
    let limit = Limit { rate: Rate::per_second(1_000_000).unwrap(), burst: 1_000_000 };
    let limits = WakeLimits { forgeable: limit, proven: limit, prefix: limit };
    Wakes { limits, dry_run: false, access: Arc::default() }
}

const WIDE: admission::Limits =
    admission::Limits { instances: 100, memory: u64::MAX, booting: 100 };

#[test]
fn a_packet_boots_and_an_idle_guest_goes() {
    let mut stage = Stage::new(1, WIDE);
    stage.packet(0);
    stage.packet(0);
    assert_eq!((stage.state(0), stage.alive.len()), ("summoning", 1));
    stage.ready(stage.alive[0]);
    assert_eq!(stage.state(0), "running");
    stage.advance(Duration::from_millis(900));
    stage.packet(0);
    stage.advance(Duration::from_millis(900));
    assert_eq!(stage.state(0), "running", "used 900 ms ago, with an idle time of 1 s");
    stage.advance(Duration::from_millis(200));
    stage.advance(Duration::from_millis(200));
    assert_eq!((stage.state(0), stage.alive.len()), ("cold", 0));
}

#[test]
fn a_query_keeps_a_guest() {
    let mut stage = Stage::new(1, WIDE);
    stage.packet(0);
    stage.ready(stage.alive[0]);
    stage.advance(Duration::from_millis(900));
    assert!(stage.signals[0].note_query(stage.now), "a running guest needs no wake");
    stage.advance(Duration::from_millis(900));
    assert_eq!(stage.state(0), "running");
    stage.advance(Duration::from_millis(200));
    assert_eq!(stage.state(0), "cold");
    assert!(!stage.signals[0].note_query(stage.now), "a cold service needs a wake");
}

#[test]
fn a_full_house_lets_the_next_one_in_when_one_goes() {
    let mut stage = Stage::new(3, admission::Limits { instances: 1, memory: u64::MAX, booting: 1 });
    for service in [2, 0, 1] {
        stage.packet(service);
    }
    assert_eq!([0, 1, 2].map(|service| stage.state(service)), ["wanted", "wanted", "summoning"]);
    stage.everybody_is_served_in_the_end();
}

#[test]
fn a_stop_is_over_when_its_guest_is_gone_although_somebody_wants_the_next() {
    let mut stage = Stage::new(1, WIDE);
    stage.packet(0);
    stage.ready(stage.alive[0]);
    let (reply, mut stopped) = tokio::sync::oneshot::channel();
    let now = stage.now;
    stage.orchestrator.stop(now, ServiceId(0), StopReason::Admin, Some(reply));
    // The order to end is not carried out yet.
    let wake = PacketEvent::Wake {
        service: ServiceId(0),
        trigger: Trigger::TcpSyn,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        at: now,
    };
    stage.orchestrator.handle_packets(now, wake);
    assert_eq!((stage.state(0), stopped.try_recv().is_ok()), ("draining", false));
    stage.settle();
    assert_eq!((stage.state(0), stopped.try_recv().is_ok()), ("summoning", true));
}

#[test]
fn a_list_does_not_wait_for_a_service_that_went() {
    let mut stage = Stage::new(3, WIDE);
    let (reply, mut rows) = tokio::sync::oneshot::channel();
    let (now, limits) = (stage.now, stage.limits.clone());
    stage.orchestrator.handle_request(now, Request::List(reply));
    let of = |service: &Service| service.deployment.clone();
    let kept = stage.orchestrator.services.values().map(of).filter(|kept| kept.id.0 > 0).collect();
    stage.orchestrator.configure(now, &limits, kept);
    assert!(rows.try_recv().is_err(), "the switch has not answered yet");
    stage.settle();
    assert_eq!(rows.try_recv().unwrap().len(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Packet(u32),
    Ready(usize),
    Exit(usize),
    Advance(u64),
    Reconfigure(u8),
    Stop(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u32).prop_map(Step::Packet),
        4 => (0..4_usize).prop_map(Step::Ready),
        1 => (0..4_usize).prop_map(Step::Exit),
        3 => (0..3_000_u64).prop_map(Step::Advance),
        1 => (0..2_u8).prop_map(Step::Reconfigure),
        1 => (0..4_u32).prop_map(Step::Stop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens, no limit is exceeded, no service has two instances, no dead guest's port is open, and
    /// whoever wants a guest gets one as soon as the world lets it.
    #[test]
    fn no_order_of_events_breaks_a_promise(
        steps in proptest::collection::vec(step(), 1..120),
        instances in 1..4_u32,
        booting in 1..3_u32,
    ) {
        let mut stage = Stage::new(4, admission::Limits { instances, memory: u64::MAX, booting });
        for step in steps {
            match step {
                Step::Packet(service) => stage.packet(service),
                Step::Ready(index) => {
                    if let Some(instance) = stage.alive.get(index).copied() {
                        stage.ready(instance);
                    }
                }
                Step::Exit(index) => {
                    if let Some(instance) = stage.alive.get(index).copied() {
                        stage.exit(instance);
                    }
                }
                Step::Advance(millis) => stage.advance(Duration::from_millis(millis)),
                Step::Reconfigure(memory) => {
                    let deployments = stage.orchestrator.services.values().map(|service| {
                        let mut deployment = service.deployment.clone();
                        deployment.settings.memory = (u64::from(memory) + 4) << 21;
                        deployment
                    });
                    let deployments = deployments.collect();
                    // Who is stopped for a change and still has a client packet in hold wakes again.
                    let (now, limits) = (stage.now, stage.limits.clone());
                    stage.orchestrator.configure(now, &limits, deployments);
                    stage.wanted.clear();
                    stage.settle();
                }
                Step::Stop(service) => {
                    let id = ServiceId(service);
                    let now = stage.now;
                    stage.orchestrator.stop(now, id, StopReason::Admin, None);
                    stage.wanted.retain(|wanted| *wanted != id);
                    stage.settle();
                }
            }
        }
        stage.everybody_is_served_in_the_end();
    }
}
