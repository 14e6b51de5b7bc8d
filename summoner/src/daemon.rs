//! Wiring: builds every part, connects them, says where they listen, runs, drains.

mod templates;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use policies::admission;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use synjitsu::{HoldLimits, Switch, SwitchConfig};
use synjitsu_device::datagrams::{self, Listener};
use synjitsu_device::lan::{LanError, LanHandle};
use synjitsu_device::{DeviceError, Driver};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::admin::{self, AdminError};
use crate::config::{self, Attach, Config, ConfigError};
use crate::deploy::{self, Deployer};
use crate::dns::stream::tls::{Identity, TlsError};
use crate::dns::transfer::notify;
use crate::dns::{self, Published, Streams};
use crate::dnssec::{KeyFolder, Signer};
use crate::engine::hvt::{EngineError, Hvt, StockSettings};
use crate::metrics::Metrics;
use crate::orchestrator::run::{Configuration, Inputs, run};
use crate::orchestrator::{Change, Deployment, Limits, Orchestrator, Parts};
use crate::publish::{PublishError, Publisher};
use crate::snapshots::{Machine, Store, StoreError};
use crate::state::{State, StateError};
use crate::templates::{Instances, QUEUE, Request};
use crate::{clock, entropy, metrics_page, packet_events, uplink};
use templates::all;

/// Wakes by query that may wait for the orchestrator; beyond, the client's packet has to wake.
const QUERY_QUEUE: usize = 4096;
/// Events of the engine that may wait; beyond, monitors wait.
const ENGINE_QUEUE: usize = 1024;
/// Requests that may wait.
const REQUEST_QUEUE: usize = 64;

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There is no usable hypervisor.
    #[error(transparent)]
    Kvm(#[from] monitor::probe::ProbeError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The snapshots cannot be kept.
    #[error(transparent)]
    Snapshots(#[from] StoreError),
    /// The configuration cannot be deployed.
    #[error(transparent)]
    Deploy(#[from] deploy::DeployError),
    /// The zones cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The network cannot be set up.
    #[error("cannot set up the service network")]
    Network(#[from] DeviceError),
    /// The services cannot be attached to a segment.
    #[error(transparent)]
    Segment(#[from] LanError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}; is it taken, or does the port need root?")]
    Bind {
        /// Who wanted to listen.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No guest can be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The runtime cannot be set up.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// DNS ended.
    #[error("the DNS server ended")]
    Dns(#[from] dns::ServeError),
    /// The switch ended.
    #[error("the switch ended, and nothing can be reached without it: {0}")]
    Switch(String),
}

/// Where a configuration comes from, so that it can be read again.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: Option<PathBuf>,
    /// What flags said: key and value.
    pub overrides: Vec<(String, String)>,
}

impl Source {
    /// Reads and checks it.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(self.path.as_deref(), &self.overrides)
    }
}

/// Runs a daemon for `config` until `shutdown`; `source` is read again on SIGHUP.
///
/// Every address that it serves is printed on standard output, `ready` last.
///
/// # Errors
/// When a part cannot be set up (nothing is left behind), or one that all depends on fails.
pub async fn serve(
    source: Source,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DaemonError> {
    let kvm = monitor::probe::check()?;
    raise_open_files();
    let state = State::open(&config.state_dir)?;
    let signer = Signer::new(KeyFolder::of(&config.state_dir));
    let mut publisher = Publisher::new(state.clone(), signer);
    let mut deployer = Deployer::new(state, Machine::this());
    let snapshots = Arc::new(Store::open(&config.state_dir)?);
    let deployments = deployer.deploy(&config)?;
    let first = publisher.publish(&config, &deployments, SystemTime::now())?;
    let published = Arc::new(ArcSwap::from_pointee(first));
    let metrics = Metrics::new();

    let sockets = bind_dns(&config.dns).await?;
    let identity = sockets.streams.identity.clone();
    let admin = admin::bind(&config.admin.socket)?;
    let page = bind_metrics(config.metrics.listen).await?;
    let hangups = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;

    let (packet_events, packets) = packet_events::channel(&metrics.packet_events_lost);
    let (alive, switch_ended) = oneshot::channel();
    let (driver, lan) = start_switch(&config, packet_events, alive)?;
    let (engine_events, engine) = mpsc::channel(ENGINE_QUEUE);
    let (wakes, queries) = mpsc::channel(QUERY_QUEUE);
    let (request_sender, requests) = mpsc::channel(REQUEST_QUEUE);
    let (configuration_sender, configurations) = mpsc::channel(1);
    let (changes_sender, changes) = mpsc::channel(1);
    let (template_requests, asked_for) = mpsc::channel(QUEUE);

    let limits = limits(&config);
    let stock =
        StockSettings { ready: config.limits.ready_shells, parked: config.limits.parked_shells };
    let hvt = Hvt::start(stock, snapshots.clone(), metrics.clone(), engine_events).await?;
    let stocked = hvt.stocked();
    let mut orchestrator = Orchestrator::new(Parts {
        engine: Box::new(hvt),
        packets: Box::new(uplink::Path { driver: driver.handle(), lan: lan.clone() }),
        metrics: metrics.clone(),
        snapshots: snapshots.clone(),
        limits: limits.clone(),
        first_generation: deployer.first_generation(),
    });
    orchestrator.configure(clock::now(), &limits, deployments.clone());

    forget_made(&snapshots);
    check_snapshots(snapshots.clone(), metrics.clone());
    announce(&config, &sockets, &kvm);
    let (stop, stopped) = watch::channel(false);
    let settings = Arc::new(config.dns.settings.clone());
    let counted = Arc::new(metrics.clone());
    let responder = dns::Responder::new(published.clone(), wakes, counted, settings)
        .that_makes(template_requests);
    let dns_server = tokio::spawn(dns::serve_apart(responder, sockets, until(stopped.clone())));
    let mut helpers = tokio::task::JoinSet::new();
    helpers.spawn(admin::serve(admin, request_sender));
    let listen = config.dns.listen.clone();
    helpers.spawn(notify::run(published.clone(), Arc::new(metrics.clone()), listen));
    if let Some(listener) = page {
        let switch = driver.handle();
        let (counted, metrics) = (metrics.clone(), metrics.clone());
        let refresh = move || {
            let segment = lan.as_ref().map(LanHandle::counters).unwrap_or_default();
            counted.set_switch_counters(switch.counters().into_iter().chain(segment));
        };
        helpers.spawn(metrics_page::serve(listener, metrics, refresh));
    }
    let reloader = Reloader {
        source,
        running: config,
        configured: deployments,
        instances: Instances::default(),
        deployer,
        publisher,
        published,
        configuration_sender,
        changes: changes_sender,
        metrics,
        identity,
    };
    helpers.spawn(reloader.run(hangups, asked_for));
    stocked.await;
    println!("ready");

    let inputs = Inputs { queries, packets, engine, requests, configurations, changes };
    let outcome = tokio::spawn(run(orchestrator, inputs, until(stopped)));
    let result = tokio::select! {
        () = shutdown => Ok(()),
        _ = switch_ended => Err(DaemonError::Switch(String::new())),
    };
    info!("going down");
    let _ = stop.send(true);
    if let Err(panic) = outcome.await {
        error!(%panic, "the orchestrator failed");
    }
    if let Err(error) = snapshots.close() {
        warn!(error = %crate::report(&error), "suspended instances may not survive a restart of the machine");
    }
    match dns_server.await {
        Ok(served) => served?,
        Err(panic) => error!(%panic, "the DNS server failed"),
    }
    helpers.shutdown().await;
    match (result, driver.shutdown()) {
        (Err(DaemonError::Switch(_)), Err(panic)) => Err(DaemonError::Switch(panic)),
        (result, _) => result,
    }
}

/// Removes what is kept of services that templates made in a former life of the daemon: they are not there any more.
fn forget_made(snapshots: &Store) {
    for entry in snapshots.list() {
        if crate::templates::is_made(&entry.service)
            && let Err(error) = snapshots.remove(&entry.service, None)
        {
            warn!(service = entry.service, error = %crate::report(&error), "a snapshot of a former service stays");
        }
    }
}

/// Reads all snapshots once in a thread of its own, so that no summon has to.
fn check_snapshots(snapshots: Arc<Store>, metrics: Metrics) {
    drop(tokio::task::spawn_blocking(move || {
        snapshots.check_all().iter().for_each(|rejected| metrics.snapshot_rejected(rejected));
    }));
}

/// A service takes up to three descriptors: its control socket, its port, its snapshot. The soft limit of most systems is
/// for programs that use select(2), and may be raised up to the hard one by anybody.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, limit = ?limit.current, "the limit on open files cannot be raised; hundreds of services may not fit");
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn limits(config: &Config) -> Limits {
    let config::Limits { instances, memory, booting, ref wakes, .. } = config.limits;
    let admission = admission::Limits { instances, memory, booting };
    Limits { admission, wakes: wakes.clone() }
}

/// The certificate is read first: what cannot be served need not be listened for.
async fn bind_dns(config: &config::Dns) -> Result<dns::Sockets, DaemonError> {
    let identity = match &config.identity {
        Some(files) => Some(Arc::new(Identity::load(&files.certificate, &files.key)?)),
        None => None,
    };
    let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = config.workers.unwrap_or_else(processors);
    let (mut udp, mut tcp) = (Vec::new(), Vec::new());
    for &address in &config.listen {
        let failed = |source| DaemonError::Bind { what: "DNS", address, source };
        let listener = datagrams::listen(address, workers).map_err(failed)?;
        // With port 0 the kernel chooses one: TCP takes the same.
        tcp.push(listen("DNS", listener.address).await?);
        udp.push(listener);
    }
    let mut tls = Vec::new();
    for &address in &config.tls {
        tls.push(listen("DNS over TLS", address).await?);
    }
    let mut https = Vec::new();
    for &address in &config.https.listen {
        https.push(listen("DNS over HTTPS", address).await?);
    }
    let config::Tcp { connections, prefix_connections, idle } = config.tcp;
    let https_path = config.https.path.clone();
    let streams =
        Streams { tcp, tls, https, https_path, identity, connections, prefix_connections, idle };
    Ok(dns::Sockets { udp, streams })
}

async fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<std::net::TcpListener, DaemonError> {
    let failed = |source| DaemonError::Bind { what, address, source };
    TcpListener::bind(address).await.and_then(TcpListener::into_std).map_err(failed)
}

async fn bind_metrics(listen: Option<SocketAddr>) -> Result<Option<TcpListener>, DaemonError> {
    let Some(address) = listen else { return Ok(None) };
    let failed = |source| DaemonError::Bind { what: "metrics", address, source };
    TcpListener::bind(address).await.map(Some).map_err(failed)
}

fn start_switch(
    config: &Config,
    mut events: packet_events::Sender,
    alive: oneshot::Sender<Infallible>,
) -> Result<(Driver, Option<LanHandle>), DaemonError> {
    let network = &config.network;
    let mut secret = [0; 16];
    entropy::fill(&mut secret);
    let limits = &config.limits;
    let switch = Switch::new(SwitchConfig {
        gateway_mac: deploy::GATEWAY_MAC,
        mtu: network.mtu,
        hold: HoldLimits { flows: limits.hold_flows, bytes: limits.hold_bytes },
        prefix_hold: HoldLimits {
            flows: limits.prefix_hold_flows,
            bytes: limits.prefix_hold_bytes,
        },
        secret,
    });
    let on_event = move |event| {
        // Owned by the thread: that it is dropped is the sign that the thread has ended.
        let _ = &alive;
        events.send(event);
    };
    match &network.attach {
        Attach::Tun { interface } => {
            let tun = uplink::open_tun(network, interface)?;
            Ok((Driver::spawn(switch, tun, clock::now, on_event)?, None))
        }
        Attach::Lan { interface, mac, gateways } => {
            let (port, lan) = uplink::open_lan(network, interface, *mac, gateways.clone())?;
            Ok((Driver::spawn(switch, port, clock::now, on_event)?, Some(lan)))
        }
    }
}

fn announce(config: &Config, sockets: &dns::Sockets, kvm: &monitor::probe::KvmInfo) {
    let services = match config.services.len() {
        1 => "1 service".to_owned(),
        count => format!("{count} services"),
    };
    println!(
        "summoner {}: zone {}, {services}, {kvm}",
        env!("CARGO_PKG_VERSION"),
        config.zone.apex
    );
    for Listener { address, .. } in &sockets.udp {
        println!("dns      {address} (udp, tcp)");
    }
    let Streams { tls, https, .. } = &sockets.streams;
    for (listeners, what) in [(tls, "tls"), (https, "https")] {
        for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
            println!("dns      {address} ({what})");
        }
    }
    let ipv6 = config.network.ipv6.map(|net| format!(" and {net}")).unwrap_or_default();
    println!("network  {}{ipv6} on {}", config.network.ipv4, config.network.attach.interface());
    println!("admin    {}", config.admin.socket.display());
    if let Some(address) = config.metrics.listen {
        println!("metrics  http://{address}/metrics");
    }
}

/// The one task that changes what there is: reads the configuration again when asked to, and puts it into force if it is
/// good; makes and forgets the services of templates.
struct Reloader {
    source: Source,
    running: Config,
    /// The services of `running`.
    configured: Vec<Deployment>,
    /// Those that its templates have made.
    instances: Instances,
    deployer: Deployer,
    publisher: Publisher,
    published: Arc<ArcSwap<Published>>,
    configuration_sender: mpsc::Sender<Configuration>,
    identity: Option<Arc<Identity>>,
    changes: mpsc::Sender<Change>,
    metrics: Metrics,
}

impl Reloader {
    async fn run(
        mut self,
        mut hangups: tokio::signal::unix::Signal,
        mut asked_for: mpsc::Receiver<Request>,
    ) {
        loop {
            let due = self.instances.poll_timeout();
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(clock::tokio_instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(()) = hangups.recv() => self.reload_all().await,
                Some(first) = asked_for.recv() => self.make(first, &mut asked_for).await,
                () = timer => self.forget().await,
                () = tokio::time::sleep(self.publisher.next_look(SystemTime::now())) => {
                    self.renew_signatures();
                }
            }
        }
    }

    async fn reload_all(&mut self) {
        if let Some(Err(error)) = self.identity.as_ref().map(|identity| identity.reload()) {
            error!(error = %crate::report(&error), "the certificate was not replaced");
        }
        match self.reload().await {
            Ok(()) => info!(services = self.running.services.len(), "configuration reloaded"),
            Err(reason) => {
                error!(%reason, "the new configuration is not used; the old one stays in force");
            }
        }
    }

    fn renew_signatures(&mut self) {
        match self.publisher.refresh(SystemTime::now()) {
            Ok(None) => {}
            Ok(Some(published)) => {
                self.published.store(Arc::new(published));
                info!("the zones have new signatures");
            }
            Err(error) => {
                error!(error = %crate::report(&error), "the zones cannot be signed again; their signatures will expire");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let mut config = self.source.load().map_err(|error| error.to_string())?;
        for setting in self.running.fixed_differences(&config) {
            warn!(setting, "changed, but takes effect only at a restart");
        }
        config.keep_fixed(&self.running);
        let deployments = self.deployer.deploy(&config).map_err(|error| crate::report(&error))?;
        let instances = self.instances.under(&config, &mut self.deployer, &deployments);
        let all = all(&deployments, &instances);
        let published = self.publisher.publish(&config, &all, SystemTime::now());
        let published = published.map_err(|error| crate::report(&error))?;
        // The orchestrator first: a name must not be published before its address is attached.
        let going_down = || "the daemon is going down".to_owned();
        let (done, in_force) = oneshot::channel();
        let configuration = Configuration { limits: limits(&config), services: all, done };
        self.configuration_sender.send(configuration).await.map_err(|_| going_down())?;
        in_force.await.map_err(|_| going_down())?;
        self.published.store(Arc::new(published));
        self.running = config;
        self.configured = deployments;
        self.replace(instances);
        Ok(())
    }
}
