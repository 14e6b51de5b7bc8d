//! Who may wake what: budgets, seen from the outside.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::RecordType;
use policies::access::{AccessList, Prefix};
use policies::budget::Credibility;
use tokio::sync::oneshot;

use super::*;
use crate::dns::QueryWake;

/// One token each, and the next one in an hour.
fn tight() -> Wakes {
    let rate = Rate::new(1, Duration::from_secs(3600)).unwrap();
    let one = Limit { rate, burst: 1 };
    let limits = WakeLimits { forgeable: one, proven: one, prefix: Limit { rate, burst: 10 } };
    Wakes { limits, dry_run: false, access: Arc::default() }
}

fn stage(services: u32, wakes: Wakes) -> Stage {
    Stage::with_budget(services, Limits { admission: WIDE, wakes })
}

fn network(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, number, 1).into()
}

fn trigger(stage: &mut Stage, service: u32, trigger: Trigger, source: IpAddr) {
    let at = stage.now;
    let event = PacketEvent::Wake { service: ServiceId(service), trigger, source, at };
    stage.orchestrator.handle_packets(at, event);
    stage.settle();
}

/// A query whose answer waits for the guest.
fn query(stage: &mut Stage, service: u32, credibility: Credibility) -> oneshot::Receiver<()> {
    let (sender, ready) = oneshot::channel();
    let wake = QueryWake {
        service: ServiceId(service),
        received_at: stage.now,
        qtype: RecordType::A,
        source: network(9),
        credibility,
        ready: Some(sender),
    };
    let now = stage.now;
    stage.orchestrator.handle_query(now, wake);
    stage.settle();
    ready
}

fn over_budget(stage: &Stage, labels: [&str; 4]) -> u64 {
    stage.orchestrator.metrics.wakes_over_budget.with_label_values(&labels).get()
}

#[test]
fn a_query_over_budget_boots_nothing_and_does_not_wait() {
    let mut stage = stage(2, tight());
    let mut first = query(&mut stage, 0, Credibility::Forgeable);
    assert_eq!(stage.state(0), "summoning");
    assert_eq!(first.try_recv(), Err(oneshot::error::TryRecvError::Empty), "its guest boots");
    let mut second = query(&mut stage, 1, Credibility::Forgeable);
    assert_eq!((stage.state(1), stage.summoned), ("cold", 1));
    assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Closed), "answered at once");
    assert_eq!(over_budget(&stage, ["forgeable", "total", "query", "refused"]), 1);
    let service = &stage.orchestrator.services[&ServiceId(1)];
    assert_eq!((service.refused_wakes, &service.timeline), (1, &Timeline::default()));
    // By TCP: its source is known.
    let _third = query(&mut stage, 1, Credibility::Proven);
    assert_eq!(stage.state(1), "summoning");
}

#[test]
fn whoever_finishes_a_handshake_is_not_refused_for_what_others_forge() {
    let mut stage = stage(3, tight());
    trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    for service in [1, 2] {
        for number in 0..50 {
            trigger(&mut stage, service, Trigger::TcpSyn, network(number));
            trigger(&mut stage, service, Trigger::Udp, network(number));
            trigger(&mut stage, service, Trigger::IcmpEcho, network(number));
        }
    }
    assert_eq!([0, 1, 2].map(|service| stage.state(service)), ["summoning", "cold", "cold"]);
    trigger(&mut stage, 1, Trigger::TcpHandshake, network(60));
    assert_eq!(stage.state(1), "summoning");
    let cause = stage.orchestrator.services[&ServiceId(1)].timeline.cause;
    assert_eq!(cause, Some(Cause::TcpHandshake));
    // Proven ones have an end too.
    trigger(&mut stage, 2, Trigger::TcpHandshake, network(61));
    assert_eq!((stage.state(2), stage.summoned), ("cold", 2));
    assert_eq!(over_budget(&stage, ["proven", "total", "tcp_handshake", "refused"]), 1);
    assert_eq!(over_budget(&stage, ["forgeable", "total", "udp", "refused"]), 100);
}

#[test]
fn only_a_wake_that_leads_to_a_boot_pays() {
    let mut stage = stage(1, tight());
    trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    for _ in 0..5 {
        trigger(&mut stage, 0, Trigger::TcpSyn, network(2));
    }
    stage.ready(stage.alive[0]);
    for _ in 0..5 {
        let mut ready = query(&mut stage, 0, Credibility::Forgeable);
        assert_eq!(ready.try_recv(), Ok(()), "it runs, so there is nothing to wait for");
    }
    assert_eq!(stage.orchestrator.services[&ServiceId(0)].refused_wakes, 0);
    // An administrator pays nothing.
    stage.advance(Duration::from_secs(2));
    assert_eq!(stage.state(0), "cold");
    trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    assert_eq!(stage.state(0), "cold", "the token is spent");
    let (reply, _answer) = oneshot::channel();
    let now = stage.now;
    stage.orchestrator.handle_request(now, Request::Wake { name: "service0".to_owned(), reply });
    stage.settle();
    assert_eq!((stage.state(0), stage.summoned), ("summoning", 2));
}

#[test]
fn a_wake_during_a_back_off_pays_once() {
    let mut two = tight();
    two.limits.forgeable.burst = 2;
    let mut stage = stage(2, two);
    trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    stage.exit(stage.alive[0]);
    assert_eq!(stage.state(0), "backoff");
    for _ in 0..5 {
        trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    }
    stage.advance(Duration::from_secs(1));
    assert_eq!((stage.state(0), stage.summoned), ("summoning", 2));
    trigger(&mut stage, 1, Trigger::TcpSyn, network(1));
    assert_eq!(stage.state(1), "cold", "both tokens are spent, and not more than both");
    assert_eq!(stage.orchestrator.services[&ServiceId(0)].refused_wakes, 0);
}

#[test]
fn a_dry_run_only_counts() {
    let mut stage = stage(3, Wakes { dry_run: true, ..tight() });
    for service in 0..3 {
        trigger(&mut stage, service, Trigger::TcpSyn, network(1));
    }
    assert_eq!(stage.summoned, 3);
    assert_eq!(over_budget(&stage, ["forgeable", "total", "tcp_syn", "dry_run"]), 2);
    assert_eq!(over_budget(&stage, ["forgeable", "total", "tcp_syn", "refused"]), 0);
}

#[test]
fn who_is_denied_wakes_nothing_and_pays_nothing() {
    let denied: Prefix = "192.0.1.0/24".parse().unwrap();
    let access = Arc::new(AccessList::new(&[denied], &[]).unwrap());
    let mut stage = stage(2, Wakes { access, ..tight() });
    for how in [Trigger::TcpSyn, Trigger::TcpHandshake] {
        trigger(&mut stage, 0, how, network(1));
    }
    assert_eq!((stage.state(0), stage.summoned), ("cold", 0));
    let labels = ["service0", "tcp_syn", "denied"];
    assert_eq!(stage.orchestrator.metrics.wakes.with_label_values(&labels).get(), 1);
    // The budget of one token is whole, and an administrator is not asked where he is.
    trigger(&mut stage, 1, Trigger::TcpSyn, network(2));
    assert_eq!((stage.state(1), stage.summoned), ("summoning", 1));
    let now = stage.now;
    let (reply, _answer) = oneshot::channel();
    let wake = Request::Wake { name: "service0".to_owned(), reply };
    stage.orchestrator.handle_request(now, wake);
    assert_eq!(stage.state(0), "summoning");
}

#[test]
fn new_limits_hold_at_once() {
    let mut stage = stage(3, tight());
    trigger(&mut stage, 0, Trigger::TcpSyn, network(1));
    trigger(&mut stage, 1, Trigger::TcpSyn, network(1));
    assert_eq!(stage.state(1), "cold");
    let mut wakes = tight();
    wakes.limits.forgeable.burst = 2;
    let now = stage.now;
    let deployments =
        stage.orchestrator.services.values().map(|service| service.deployment.clone()).collect();
    stage.orchestrator.configure(now, &Limits { admission: WIDE, wakes }, deployments);
    stage.settle();
    for service in [1, 2] {
        trigger(&mut stage, service, Trigger::TcpSyn, network(1));
    }
    assert_eq!([1, 2].map(|service| stage.state(service)), ["summoning", "cold"]);
}

#[test]
fn the_gauge_of_prefixes_falls_by_time_alone() {
    let mut wakes = free();
    wakes.limits.prefix.rate = Rate::per_second(1).unwrap();
    let mut stage = stage(5, wakes);
    for service in 0..5 {
        trigger(&mut stage, service, Trigger::TcpSyn, network(u8::try_from(service).unwrap()));
    }
    let metrics = stage.orchestrator.metrics.clone();
    let gauge = || metrics.wake_prefixes.with_label_values(&["forgeable"]).get();
    assert_eq!(gauge(), 5);
    while let Some(at) = stage.orchestrator.poll_timeout().filter(|_| gauge() > 0) {
        stage.advance(at.saturating_since(stage.now));
    }
    assert_eq!(gauge(), 0);
    assert!(stage.now.saturating_since(Instant::ZERO) <= Duration::from_secs(3));
}

#[derive(Debug, Clone)]
enum Step {
    Wake(u32, Trigger, u8),
    Query(u32, Credibility),
    Ready(usize),
    Exit(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let triggers = [Trigger::TcpSyn, Trigger::TcpHandshake, Trigger::Udp, Trigger::IcmpEcho];
    prop_oneof![
        6 => (0..4_u32, 0..4_usize, 0..3_u8).prop_map(move |(service, trigger, number)| {
            Step::Wake(service, triggers[trigger], number)
        }),
        2 => (0..4_u32, 0..2_usize).prop_map(|(service, index)| Step::Query(service, Credibility::ALL[index])),
        4 => (0..4_usize).prop_map(Step::Ready),
        2 => (0..4_usize).prop_map(Step::Exit),
        3 => (0..3_000_u64).prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever wakes, fails and ends: there are no more boots than the budgets had tokens.
    #[test]
    fn boots_stay_within_the_budget(
        steps in prop::collection::vec(step(), 1..150),
        forgeable in (1..5_u32, 0..4_u32),
        proven in (1..5_u32, 0..4_u32),
    ) {
        let limit = |(rate, burst)| Limit { rate: Rate::per_second(rate).unwrap(), burst };
        let limits = WakeLimits {
            forgeable: limit(forgeable),
            proven: limit(proven),
            prefix: limit((1_000_000, 1_000_000)),
        };
        let mut stage = stage(4, Wakes { limits, dry_run: false, access: Arc::default() });
        let start = stage.now;
        for step in steps {
            match step {
                Step::Wake(service, of, number) => trigger(&mut stage, service, of, network(number)),
                Step::Query(service, credibility) => drop(query(&mut stage, service, credibility)),
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
            }
            let passed = stage.now.saturating_since(start).as_nanos();
            let tokens = |limit: Limit| u128::from(limit.burst) + passed / limit.rate.interval().as_nanos();
            let budget = tokens(limits.forgeable) + tokens(limits.proven);
            prop_assert!(u128::try_from(stage.summoned).unwrap() <= budget, "{} boots, budget {budget}", stage.summoned);
        }
    }
}
