//! Counters, gauges and histograms, and the HTTP page that shows them.
//!
//! Label sets are closed: a service's key is configured by the operator; a client's address or a query
//! name is never a label.

use std::time::Duration;

use policies::response_rate::ResponseClass;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tracing::warn;

use crate::dns::{DnsMetrics, Limited};
use crate::snapshots::Rejected;

/// From 50 µs to 300 s: a pooled snapshot is at one end, a cold boot on a loaded board at the other.
const SECONDS: [f64; 21] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Everything that the daemon counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `summoner_dns_queries_total{qtype,rcode}`
    pub queries: IntCounterVec,
    /// `summoner_dns_wakes_dropped_total`: wakes by query that found the queue full.
    pub wakes_dropped: IntCounter,
    /// `summoner_dns_wakes_withheld_total{reason}`: queries for a service that neither woke it nor counted as use.
    pub wakes_withheld: IntCounterVec,
    /// `summoner_dns_connections{transport}`: that are open.
    pub connections: IntGaugeVec,
    /// `summoner_dns_connections_closed_total{transport,reason}`
    pub connections_closed: IntCounterVec,
    /// `summoner_dns_rate_limited_total{class,result}`: responses beyond the rate of their source's network.
    pub rate_limited: IntCounterVec,
    /// `summoner_dns_transfers_total{qtype,result}`
    pub transfers: IntCounterVec,
    /// `summoner_dns_notifies_total{result}`
    pub notifies: IntCounterVec,
    /// `summoner_template_queries_total{result}`: queries for services that were not made yet.
    pub template_queries: IntCounterVec,
    /// `summoner_template_services_total{template,result}`: services `made` and `forgotten`, and those that could not be.
    pub template_services_made: IntCounterVec,
    /// `summoner_template_services{template}`: services that are made.
    pub template_services: IntGaugeVec,
    /// `summoner_wakes_total{service,trigger,result}`
    pub wakes: IntCounterVec,
    /// `summoner_wakes_over_budget_total{credibility,budget,trigger,result}`: wakes that would have cost a boot, and were
    /// refused; in a dry run only counted.
    pub wakes_over_budget: IntCounterVec,
    /// `summoner_wake_prefixes{credibility}`: source prefixes whose budget is not whole.
    pub wake_prefixes: IntGaugeVec,
    /// `summoner_summon_phase_seconds{phase}`
    pub phases: HistogramVec,
    /// `summoner_summon_seconds{until}`: from the wake until `ready` or `first_byte`.
    pub summons: HistogramVec,
    /// `summoner_holds_total{service,outcome}`
    pub holds: IntCounterVec,
    /// `summoner_hold_seconds{outcome}`: how long a client's first packet waited.
    pub hold_seconds: HistogramVec,
    /// `summoner_instances{state}`: services by the state of their lifecycle.
    pub instances: IntGaugeVec,
    /// `summoner_stops_total{service,reason}`
    pub stops: IntCounterVec,
    /// `summoner_shells_taken_total{source}`: `made`, `ready` or `parked`.
    pub shells: IntCounterVec,
    /// `summoner_snapshots_kept_total{kind}`
    pub snapshots_kept: IntCounterVec,
    /// `summoner_snapshots_rejected_total{kind,reason}`: found, not used and removed; the service booted from its image.
    pub snapshots_rejected: IntCounterVec,
    /// `summoner_packet_events_lost_total{event}`: what the switch told and the orchestrator was too slow to hear, `wake`
    /// or `statistic`.
    pub packet_events_lost: IntCounterVec,
    /// `summoner_switch_events_total{event}`: the packet path's own counters.
    pub switch: IntCounterVec,
}

impl Metrics {
    /// A set of metrics in a registry of its own.
    ///
    /// # Panics
    /// Never: names and labels are constants, and their validity is tested.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let histograms = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            register(&registry, HistogramVec::new(options, labels))
        };
        Self {
            queries: counters(
                "summoner_dns_queries_total",
                "DNS queries by type and result code",
                &["qtype", "rcode"],
            ),
            rate_limited: counters(
                "summoner_dns_rate_limited_total",
                "Responses beyond dns.rate_limit, by kind and what became of them (slipped, dropped, dry_run)",
                &["class", "result"],
            ),
            wakes_dropped: register(
                &registry,
                IntCounter::new(
                    "summoner_dns_wakes_dropped_total",
                    "Wakes by query that found the queue full; the client's packet wakes instead",
                ),
            ),
            wakes_withheld: counters(
                "summoner_dns_wakes_withheld_total",
                "Queries for a service that neither woke it nor counted as use, by reason: denied (limits.wakes.deny), refresh (wake_on_refresh = false)",
                &["reason"],
            ),
            connections: gauges(
                "summoner_dns_connections",
                "Open DNS connections by transport (tcp, tls, https)",
                &["transport"],
            ),
            connections_closed: counters(
                "summoner_dns_connections_closed_total",
                "DNS connections that ended, by transport and reason (client, idle, displaced, broken, handshake, nonsense)",
                &["transport", "reason"],
            ),
            transfers: counters(
                "summoner_dns_transfers_total",
                "Zone transfers by type (AXFR, IXFR) and what was sent (whole, changes, serial, refused)",
                &["qtype", "result"],
            ),
            notifies: counters(
                "summoner_dns_notifies_total",
                "Words of a change to secondaries, by what became of them (heard, refused, unheard)",
                &["result"],
            ),
            template_queries: counters(
                "summoner_template_queries_total",
                "Queries for services that templates had not made yet, by what came of them: unproven (told to ask by TCP), denied, asked, queue_full",
                &["result"],
            ),
            template_services_made: counters(
                "summoner_template_services_total",
                "Services of templates, by what became of them: made, over_budget, full, no_address, no_image, unknown, unpublished, forgotten",
                &["template", "result"],
            ),
            template_services: gauges(
                "summoner_template_services",
                "Services that templates have made",
                &["template"],
            ),
            wakes: counters(
                "summoner_wakes_total",
                "Wakes by service, trigger and what became of them",
                &["service", "trigger", "result"],
            ),
            wakes_over_budget: counters(
                "summoner_wakes_over_budget_total",
                "Wakes beyond limits.wakes, by whether their source is proven, the budget that was used up (total, prefix), trigger, and what became of them (refused, dry_run)",
                &["credibility", "budget", "trigger", "result"],
            ),
            wake_prefixes: gauges(
                "summoner_wake_prefixes",
                "Source prefixes that have used some of their budget of wakes",
                &["credibility"],
            ),
            phases: histograms(
                "summoner_summon_phase_seconds",
                "Length of each phase of a summon",
                &["phase"],
            ),
            summons: histograms(
                "summoner_summon_seconds",
                "From the wake until the guest was ready, or its first byte left for a held client",
                &["until"],
            ),
            holds: counters(
                "summoner_holds_total",
                "Held first packets by service and outcome",
                &["service", "outcome"],
            ),
            hold_seconds: histograms(
                "summoner_hold_seconds",
                "How long a first packet was held",
                &["outcome"],
            ),
            instances: gauges("summoner_instances", "Services by lifecycle state", &["state"]),
            stops: counters(
                "summoner_stops_total",
                "Ends of instances by service and reason",
                &["service", "reason"],
            ),
            shells: counters(
                "summoner_shells_taken_total",
                "Shells taken for an instance, by where they came from",
                &["source"],
            ),
            snapshots_kept: counters(
                "summoner_snapshots_kept_total",
                "Snapshots written, by kind",
                &["kind"],
            ),
            snapshots_rejected: counters(
                "summoner_snapshots_rejected_total",
                "Snapshots that were not used and removed, by kind and reason",
                &["kind", "reason"],
            ),
            packet_events_lost: counters(
                "summoner_packet_events_lost_total",
                "Events of the packet path that found the queue full: wakes, which are told again, and statistics",
                &["event"],
            ),
            switch: counters(
                "summoner_switch_events_total",
                "The packet path's counters, as of the last look",
                &["event"],
            ),
            registry,
        }
    }

    /// Counts a phase's or a whole summon's length.
    pub fn observe(histogram: &HistogramVec, label: &str, length: Duration) {
        histogram.with_label_values(&[label]).observe(length.as_secs_f64());
    }

    /// Logs and counts a snapshot that is not used.
    pub fn snapshot_rejected(&self, rejected: &Rejected) {
        let Rejected { service, kind, reason } = rejected;
        warn!(service, %kind, reason = reason.label(), "a snapshot is not used and is removed: {reason}");
        self.snapshots_rejected.with_label_values(&[kind.label(), reason.label()]).inc();
    }

    /// Takes over the packet path's counters.
    pub fn set_switch_counters(&self, counters: impl IntoIterator<Item = (&'static str, u64)>) {
        for (event, value) in counters {
            let counter = self.switch.with_label_values(&[event]);
            // Two pages made at once may both see the growth; one of them is too early by as much, and the next right.
            counter.inc_by(value.saturating_sub(counter.get()));
        }
    }

    /// The page in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        // The encoder fails on families without metrics or names only, which a registry does not give.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl DnsMetrics for Metrics {
    fn queries(&self, qtype: &'static str, rcode: &'static str) -> IntCounter {
        self.queries.with_label_values(&[qtype, rcode])
    }

    fn wake_dropped(&self) {
        self.wakes_dropped.inc();
    }

    fn unmade(&self, result: &'static str) {
        self.template_queries.with_label_values(&[result]).inc();
    }

    fn wake_withheld(&self, reason: &'static str) {
        self.wakes_withheld.with_label_values(&[reason]).inc();
    }

    fn transfer(&self, qtype: &'static str, result: &'static str) {
        self.transfers.with_label_values(&[qtype, result]).inc();
    }

    fn notified(&self, result: &'static str) {
        self.notifies.with_label_values(&[result]).inc();
    }

    fn connection_opened(&self, transport: &'static str) {
        self.connections.with_label_values(&[transport]).inc();
    }

    fn connection_closed(&self, transport: &'static str, reason: &'static str) {
        self.connections.with_label_values(&[transport]).dec();
        self.connections_closed.with_label_values(&[transport, reason]).inc();
    }

    fn rate_limited(&self, class: ResponseClass, limited: Limited, count: u64) {
        self.rate_limited.with_label_values(&[class.label(), limited.label()]).inc_by(count);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("metric names and labels are valid constants");
    registry.register(Box::new(collector.clone())).expect("metric names are distinct constants");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_and_shown() {
        let metrics = Metrics::new();
        metrics.queries.with_label_values(&["A", "NOERROR"]).inc();
        Metrics::observe(&metrics.phases, "boot", Duration::from_micros(300));
        let page = metrics.render();
        assert!(
            page.contains(r#"summoner_dns_queries_total{qtype="A",rcode="NOERROR"} 1"#),
            "{page}"
        );
        assert!(
            page.contains(r#"summoner_summon_phase_seconds_bucket{phase="boot",le="0.0005"} 1"#)
        );
        assert!(page.contains(r#"le="300""#) && page.contains(r#"le="0.00005""#), "{page}");
    }
}
