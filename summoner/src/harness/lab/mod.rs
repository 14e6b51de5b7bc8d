//! Two real TCP stacks with a switch and a bad link between them, in network namespaces of their own.
//!
//! ```text
//!   client's namespace       a bad link                      guest's namespace
//!   kernel's TCP -- TUN --- (Faulty) --- Driver, Switch --- port, Relay --- TAP -- kernel's TCP, an exchange's server
//! ```
//!
//! The guest is a kernel as well: what the switch does to connections meets another stack than the unikernels' own.
//! When its port opens is the caller's choice. For tests and for `bench --holding`.

pub mod exchange;
mod pattern;
mod server;
pub mod stack;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use policies::{Generation, ServiceId};
use synjitsu::{Command, Event, HoldLimits, HoldPolicy, ServicePort, Switch, SwitchConfig};
use synjitsu_device::faulty::{Faulty, Link, LinkWatch};
use synjitsu_device::namespace::Namespace;
use synjitsu_device::{
    DeviceError, Driver, DriverCommand, GuestPort, Relay, Tap, Tun, guest_port, netlink,
};

use exchange::PATIENCE;
use server::Problems;
use stack::TcpOptions;

/// The client's address, which is the gateway of the guest's network.
const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 9, 0, 1), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1));
/// The service's address.
const SERVICE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 9, 0, 7), Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 7));
const PREFIX_LENGTHS: (u8, u8) = (16, 64);
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVICE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const ID: ServiceId = ServiceId(7);
/// Of the server in the guest.
const PORT: u16 = 4000;

/// Between two looks at what nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Which addresses a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a lab is made of.
#[derive(Debug, Clone, Copy)]
pub struct LabSetup {
    /// The link between the client and the switch, as the switch sees it.
    pub link: Link,
    /// How clients are held.
    pub hold: HoldPolicy,
    /// The largest packet on the client's link and on the guest's.
    pub mtu: (u16, u16),
    /// The client's stack.
    pub client: TcpOptions,
    /// The guest's stack.
    pub guest: TcpOptions,
}

/// Why a lab cannot be made, or does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A namespace, a device, the driver.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A kernel's settings.
    #[error("cannot set {key} in a network namespace")]
    Setting {
        /// Which, under `/proc/sys`.
        key: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server in the guest.
    #[error("cannot {what} in the guest's network namespace")]
    Guest {
        /// What it was to do.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The switch does not say what it should.
    #[error("the switch did not tell of {0}")]
    Silent(&'static str),
    /// The switch's thread has ended.
    #[error("the switch's thread has ended; its panic was told before")]
    Ended,
}

impl LabError {
    fn setting((key, source): (&'static str, io::Error)) -> Self {
        Self::Setting { key, source }
    }
}

/// See the [module](self). Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Lab {
    client: Arc<Namespace>,
    guest: Namespace,
    driver: Option<Driver>,
    events: Receiver<Event>,
    watch: LinkWatch,
    tap: Tap,
    /// Between the guest's TAP device and its port, while that is open.
    relay: Option<Relay>,
    generation: u64,
    server: Option<Server>,
    problems: Problems,
    hold: HoldPolicy,
}

impl Lab {
    /// Makes everything; the port is closed and nobody listens in the guest.
    ///
    /// # Errors
    /// When the machine does not allow it: it takes `CAP_NET_ADMIN` and `CAP_SYS_ADMIN` and `/dev/net/tun`.
    pub fn new(setup: &LabSetup) -> Result<Self, LabError> {
        let (client, guest) = (Arc::new(Namespace::new()?), Namespace::new()?);
        let tun = client.within(|| -> Result<Tun, LabError> {
            setup.client.apply().map_err(LabError::setting)?;
            let tun = Tun::create("link0")?;
            netlink::configure("link0", &with_prefixes(CLIENT), setup.mtu.0)?;
            Ok(tun)
        })??;
        let tap = guest.within(|| -> Result<Tap, LabError> {
            setup.guest.apply().map_err(LabError::setting)?;
            let tap = Tap::create("net0")?;
            netlink::set_link_layer_address("net0", SERVICE_MAC)?;
            netlink::configure("net0", &with_prefixes(SERVICE), setup.mtu.1)?;
            Ok(tap)
        })??;
        let uplink = Faulty::new(tun, setup.link)?;
        let watch = uplink.watch();
        let (sender, events) = channel();
        let on_event = move |event| {
            // Nobody listens only at the lab's end.
            let _ = sender.send(event);
        };
        let driver = Driver::spawn(switch(setup), uplink, crate::clock::now, on_event)?;
        let lab = Self {
            client,
            guest,
            driver: Some(driver),
            events,
            watch,
            tap,
            relay: None,
            generation: 0,
            server: None,
            problems: Problems::default(),
            hold: setup.hold,
        };
        lab.attach();
        Ok(lab)
    }

    /// Where clients are.
    #[must_use]
    pub fn client(&self) -> Arc<Namespace> {
        self.client.clone()
    }

    /// What happened on the link.
    #[must_use]
    pub const fn watch(&self) -> &LinkWatch {
        &self.watch
    }

    /// Where the service is, for a client.
    #[must_use]
    pub fn address(&self, family: Family) -> SocketAddr {
        let address = match family {
            Family::V4 => IpAddr::V4(SERVICE.0),
            Family::V6 => IpAddr::V6(SERVICE.1),
        };
        SocketAddr::new(address, PORT)
    }

    /// The switch's counters.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.driver.as_ref().map(|driver| driver.handle().counters()).unwrap_or_default()
    }

    /// Connections that went wrong, as the server in the guest saw it.
    #[must_use]
    pub fn server_problems(&self) -> Vec<String> {
        self.problems.list()
    }

    /// Waits until a packet asks for the service; when it came.
    ///
    /// # Errors
    /// When none does.
    pub fn wait_for_wake(&self) -> Result<policies::Instant, LabError> {
        self.wait("a wake", |event| match event {
            Event::Wake { at, .. } => Some(at),
            _ => None,
        })
    }

    /// Waits until the guest has refused a connection, because its stack is up and nobody listens.
    ///
    /// # Errors
    /// When it never does.
    pub fn wait_for_refusal(&self) -> Result<(), LabError> {
        let begun = Instant::now();
        let refused = |(name, count): &(&str, u64)| *name == "hidden_refusals" && *count > 0;
        while !self.counters().iter().any(refused) {
            if begun.elapsed() > PATIENCE {
                return Err(LabError::Silent("a refusal"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Forgets what the switch said until now.
    pub fn forget_events(&self) {
        while self.events.try_recv().is_ok() {}
    }

    fn wait<T>(
        &self,
        what: &'static str,
        is_it: impl Fn(Event) -> Option<T>,
    ) -> Result<T, LabError> {
        loop {
            match self.events.recv_timeout(PATIENCE).map(&is_it) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(RecvTimeoutError::Timeout) => return Err(LabError::Silent(what)),
                Err(RecvTimeoutError::Disconnected) => return Err(LabError::Ended),
            }
        }
    }

    /// The guest listens from now on; before, its stack refuses.
    ///
    /// # Errors
    /// When it cannot.
    pub fn listen(&mut self) -> Result<(), LabError> {
        let failed = |source| LabError::Guest { what: "listen", source };
        let server = self.guest.within(|| Server::start(&self.problems))?.map_err(failed)?;
        self.server = Some(server);
        Ok(())
    }

    /// Whether the guest listens.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.server.is_some()
    }

    /// The guest's port opens: another boot of it.
    ///
    /// # Errors
    /// When the port cannot be made.
    pub fn open(&mut self) -> Result<(), LabError> {
        let (port, end) = guest_port::pair()?;
        let clone = |source| LabError::Guest { what: "use the device again", source };
        let tap = self.tap.try_clone().map_err(clone)?;
        // The old one must be gone, or the two would share the guest's frames.
        self.relay = None;
        self.relay = Some(Relay::spawn(tap, GuestPort::from(end))?);
        self.generation += 1;
        let generation = Generation(self.generation);
        self.command(DriverCommand::Open { service: ID, generation, port });
        Ok(())
    }

    /// The guest's port closes.
    ///
    /// # Errors
    /// When the switch does not do it.
    pub fn close(&mut self) -> Result<(), LabError> {
        let generation = Generation(self.generation);
        self.command(DriverCommand::Switch(Command::Close {
            service: ID,
            generation,
            only_if_idle_since: None,
        }));
        self.wait("the port's end", |event| matches!(event, Event::Closed { .. }).then_some(()))?;
        self.relay = None;
        Ok(())
    }

    /// The switch forgets the service: whatever is for it is lost, as in a network without a switch that holds.
    pub fn detach(&mut self) {
        self.command(DriverCommand::Switch(Command::Detach(ID)));
        self.relay = None;
    }

    /// The switch knows the service again.
    pub fn attach(&self) {
        self.command(DriverCommand::Switch(Command::Attach(service(self.hold))));
    }

    fn command(&self, command: DriverCommand) {
        if let Some(driver) = &self.driver {
            driver.handle().send(command);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            // A panic was told when it happened.
            let _ = driver.shutdown();
        }
    }
}

fn with_prefixes((ipv4, ipv6): (Ipv4Addr, Ipv6Addr)) -> [(IpAddr, u8); 2] {
    [(ipv4.into(), PREFIX_LENGTHS.0), (ipv6.into(), PREFIX_LENGTHS.1)]
}

fn switch(setup: &LabSetup) -> Switch {
    let hold = HoldLimits { flows: setup.hold.flows, bytes: setup.hold.bytes };
    Switch::new(SwitchConfig {
        gateway_mac: GATEWAY_MAC,
        mtu: setup.mtu.0,
        hold,
        prefix_hold: hold,
        // Nobody attacks a lab, and a run should be like the one before.
        secret: *b"nobody's secret!",
    })
}

const fn service(hold: HoldPolicy) -> ServicePort {
    ServicePort {
        service: ID,
        ipv4: Some(SERVICE.0),
        ipv6: Some(SERVICE.1),
        mac: SERVICE_MAC,
        wake_on_packet: true,
        wake_on_echo: false,
        image: 1,
        hold,
    }
}

/// The server in the guest, until it is dropped.
#[derive(Debug)]
struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens in the calling thread's namespace.
    fn start(problems: &Problems) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
        let (of_thread, problems) = (listener.try_clone()?, problems.clone());
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || server::serve(&of_thread, &problems))?;
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the thread's waiting for clients.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
