//! A switch with many services, whose guests are threads of this process.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use policies::{Generation, ServiceId};
use synjitsu::{
    Command, Event, HoldLimits, HoldMode, HoldPolicy, Overflow, ServicePort, Switch, SwitchConfig,
};
use synjitsu_device::{
    BulkTun, Driver, DriverCommand, DriverConfig, DriverHandle, guest_port, netlink,
};

use crate::guest::{self, Guests};
use crate::settings::Settings;
use crate::stamps::{Stamped, clock};

const NAME: &str = "path0";

pub(crate) struct World {
    driver: Driver,
    pub(crate) events: Receiver<Event>,
    settings: Settings,
    generation: u64,
    /// The guests that answer, all in one thread.
    guests: Guests,
}

impl World {
    /// Services, all asleep.
    pub(crate) fn new(settings: Settings) -> Self {
        let tun = BulkTun::create(NAME).unwrap();
        netlink::configure(NAME, &[(Ipv4Addr::new(10, 9, 0, 1).into(), 16)], 1500).unwrap();
        let hold = HoldLimits { flows: 10_000, bytes: 1 << 24 };
        let gateway_mac = [2, 0, 0, 0, 0, 1];
        let switch = Switch::new(SwitchConfig {
            gateway_mac,
            mtu: 1500,
            hold,
            prefix_hold: hold,
            secret: [0; 16],
        });
        let (sender, events) = channel();
        let on_event = move |event| {
            let _ = sender.send(event);
        };
        let config = DriverConfig { vigil: settings.vigil };
        let driver = Driver::spawn_with(config, switch, Stamped(tun), clock, on_event).unwrap();
        for service in 1..=settings.guests {
            let [high, low] = service.to_be_bytes();
            driver.handle().send(DriverCommand::Switch(Command::Attach(ServicePort {
                service: ServiceId(service.into()),
                ipv4: Some(address(service)),
                ipv6: None,
                mac: [2, 0, 0, 1, high, low],
                wake_on_packet: true,
                wake_on_echo: true,
                image: 1,
                hold: HoldPolicy {
                    mode: HoldMode::Syn,
                    time: Duration::from_secs(5),
                    flows: 1000,
                    bytes: 1 << 20,
                    buffer: 1 << 14,
                    overflow: Overflow::Drop,
                },
            })));
        }
        let guests = Guests::start();
        Self { driver, events, settings, generation: 0, guests }
    }

    pub(crate) fn handle(&self) -> DriverHandle {
        self.driver.handle()
    }

    pub(crate) const fn settings(&self) -> Settings {
        self.settings
    }

    /// Opens the port of one service, whose guest is a thread of its own.
    pub(crate) fn open(&mut self, service: u16) {
        let end = self.open_port(service);
        guest::spawn(end, self.settings.place);
    }

    /// Opens the ports of all other services; their guests share a thread.
    pub(crate) fn open_all(&mut self) {
        for service in 2..=self.settings.guests {
            let end = self.open_port(service);
            self.guests.attach(end);
        }
        self.settle();
    }

    /// Opens the port of a service whose guest is among those that share a thread.
    pub(crate) fn open_shared(&mut self, service: u16) {
        let end = self.open_port(service);
        self.guests.attach(end);
    }

    /// A new generation opens its port; the one before it is closed by that.
    fn open_port(&mut self, service: u16) -> OwnedFd {
        let (port, end) = guest_port::pair().unwrap();
        self.generation += 1;
        let (service, generation) = (ServiceId(service.into()), Generation(self.generation));
        self.handle().send(DriverCommand::Open { service, generation, port });
        end
    }

    /// Closes the port that was opened last.
    pub(crate) fn close(&mut self, service: u16, generation: u64) {
        self.handle().send(DriverCommand::Switch(Command::Close {
            service: ServiceId(service.into()),
            generation: Generation(generation),
            only_if_idle_since: None,
        }));
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Waits until the switch has done all that it was told, and forgets what it said.
    pub(crate) fn settle(&self) {
        let nobody = ServiceId(0);
        self.handle().send(DriverCommand::Switch(Command::Report(nobody)));
        while !matches!(self.events.recv().unwrap(), Event::Activity { service, .. } if service == nobody)
        {
        }
    }

    pub(crate) fn end(self) {
        self.driver.shutdown().unwrap();
    }
}

pub(crate) fn address(service: u16) -> Ipv4Addr {
    let [high, low] = (service + 256).to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}
