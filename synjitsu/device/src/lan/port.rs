//! The port: a packet socket, the core, and what both wait for, behind one descriptor.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policies::{Instant, ServiceId};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use synjitsu::lan::offload::{self, Left, Segments};
use synjitsu::lan::{Lan, LanConfig, Mac, SegmentSink, services_mac};

use super::filter;
use super::handle::{self, LanHandle, Mailbox, Told};
use super::interface::{Interface, is_wireless};
use super::socket::{Failed, PacketSocket, Received};
use super::watch::Watch;
use super::{LanError, LanReport, LanSettings, ServicesMac};
use crate::{NetworkPort, Sent};

/// The longest frame that the kernel merges without being asked to, and its headers.
const LONGEST: usize = 64 * 1024 + 256;
/// Frames that are looked at in one call; those that are for the segment itself give no packet.
const MOST: usize = 64;
const ETHERNET_HEADER: usize = 14;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Services on an Ethernet segment; see the [module's page](super).
pub struct LanPort {
    settings: LanSettings,
    interface: Interface,
    lan: Lan,
    socket: PacketSocket,
    /// Groups that the socket has joined; `None` for all that there are.
    joined: Option<Vec<Mac>>,
    /// Waits for the socket, the watch, the mailbox and the timer.
    epoll: OwnedFd,
    watch: Watch,
    mailbox: Mailbox,
    timer: OwnedFd,
    /// When the timer rings.
    armed: Option<Instant>,
    services: HashMap<ServiceId, Vec<IpAddr>>,
    /// Each frame is read to here, behind the kernel's header.
    frame: Vec<u8>,
    length: usize,
    /// How far the packet in it was cut.
    cutting: Option<Segments>,
    lost: Lost,
    completed: Completed,
    clock: fn() -> Instant,
    on_report: Box<dyn FnMut(LanReport) + Send>,
}

/// Frames that went neither way.
#[derive(Debug, Default, Clone, Copy)]
struct Lost {
    unreadable: u64,
    untaken: u64,
}

/// Frames that needed more than to be read.
#[derive(Debug, Default, Clone, Copy)]
struct Completed {
    /// Cut into segments.
    cut: u64,
    /// Given their checksum.
    summed: u64,
}

impl fmt::Debug for LanPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, interface, .. } = self;
        f.debug_struct("LanPort").field("settings", settings).field("interface", interface).finish()
    }
}

/// The socket, as the core sees it.
struct Wire<'a> {
    socket: &'a PacketSocket,
    lost: &'a mut Lost,
}

impl SegmentSink for Wire<'_> {
    fn transmit(&mut self, parts: [&[u8]; 3]) {
        if !self.socket.transmit(parts) {
            self.lost.untaken += 1;
        }
    }
}

impl LanPort {
    /// Attaches to an interface. `clock` is `CLOCK_MONOTONIC`; `on_report` is called by whoever owns the port.
    ///
    /// # Errors
    /// When the interface is missing or unsuitable, or the process may not; the message says what to do.
    pub fn open(
        settings: LanSettings,
        clock: fn() -> Instant,
        on_report: impl FnMut(LanReport) + Send + 'static,
    ) -> Result<(Self, LanHandle), LanError> {
        let failed = |what| {
            let name = settings.interface.clone();
            move |error: io::Error| LanError::Socket { name, what, source: error }
        };
        let system = |what| {
            let failed = failed(what);
            move |error: rustix::io::Errno| failed(error.into())
        };
        // The watch first: what changes after the look is heard.
        let watch = Watch::new().map_err(failed("rtnetlink"))?;
        let interface = Interface::look_up(&settings.interface)?;
        if u32::from(settings.mtu) > interface.mtu {
            let (name, wanted) = (settings.interface.clone(), settings.mtu);
            return Err(LanError::Mtu { name, wanted, has: interface.mtu });
        }
        let gateways = settings.gateways.clone().map_or_else(|| interface.gateways(), Ok);
        let gateways = gateways
            .map_err(|source| LanError::LookUp { name: settings.interface.clone(), source })?;
        let mac = choose_mac(&settings, &interface);
        let lan = Lan::new(LanConfig { mac, on_link: settings.on_link.clone(), gateways });
        let socket = open_socket(&settings, &interface, &lan, mac)?;
        let (handle, mailbox) = handle::new().map_err(system("eventfd"))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(system("timerfd"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("epoll"))?;
        let all = [socket.as_fd(), watch.as_fd(), mailbox.as_fd(), timer.as_fd()];
        for (token, descriptor) in (0..).zip(all) {
            epoll::add(&epoll, descriptor, EventData::new_u64(token), EventFlags::IN)
                .map_err(system("epoll"))?;
        }
        let port = Self {
            settings,
            interface,
            lan,
            socket,
            joined: Some(Vec::new()),
            epoll,
            watch,
            mailbox,
            timer,
            armed: None,
            services: HashMap::new(),
            frame: vec![0; LONGEST],
            length: 0,
            cutting: None,
            lost: Lost::default(),
            completed: Completed::default(),
            clock,
            on_report: Box::new(on_report),
        };
        Ok((port, handle))
    }

    /// The link-layer address of the services.
    #[must_use]
    pub fn mac(&self) -> Mac {
        choose_mac(&self.settings, &self.interface)
    }

    /// Does what was told and what is due.
    fn attend(&mut self, now: Instant) {
        if self.mailbox.has_mail() {
            while let Some(Told { service, addresses }) = self.mailbox.take() {
                if addresses.is_empty() {
                    self.services.remove(&service);
                } else {
                    self.services.insert(service, addresses);
                }
                self.apply(now, service);
            }
            self.adjust();
        }
        if self.lan.poll_timeout().is_some_and(|due| due <= now) {
            let mut wire = Wire { socket: &self.socket, lost: &mut self.lost };
            self.lan.handle_timeout(now, &mut wire);
        }
        self.tell();
    }

    /// Claims a service's addresses, but those that the host has itself.
    fn apply(&mut self, now: Instant, service: ServiceId) {
        let wanted = self.services.get(&service).map_or(&[][..], Vec::as_slice);
        let (taken, free): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|address| self.interface.addresses.contains(*address));
        for address in taken {
            (self.on_report)(LanReport::HostHasIt { address });
        }
        let mut wire = Wire { socket: &self.socket, lost: &mut self.lost };
        self.lan.set_addresses(now, service, &free, &mut wire);
    }

    /// Has the filter and the card pass what the services' addresses need.
    fn adjust(&mut self) {
        let result = set_filter(&self.socket, &self.lan, &self.settings, self.mac())
            .and_then(|()| join_groups(&self.socket, &self.lan, &mut self.joined));
        if let Err((what, source)) = result {
            self.trouble(what, source);
        }
    }

    /// Looks whether the link, the host's addresses or its routers have changed.
    fn look_around(&mut self, now: Instant) {
        let heard = self.watch.listen(self.interface.index);
        if !heard.anything {
            return;
        }
        let Ok(found) = Interface::look_up(&self.settings.interface) else {
            if std::mem::replace(&mut self.interface.running, false) {
                (self.on_report)(LanReport::LinkDown);
            }
            return;
        };
        let before = std::mem::replace(&mut self.interface, found);
        if self.settings.gateways.is_none()
            && let Ok(gateways) = self.interface.gateways()
        {
            self.lan.set_gateways(gateways);
        }
        let moved = (before.index, before.mac) != (self.interface.index, self.interface.mac);
        if moved && !self.reopen() {
            // So that the next change is one again.
            self.interface = Interface { running: false, ..before };
            return;
        }
        if before.addresses != self.interface.addresses {
            let services: Vec<_> = self.services.keys().copied().collect();
            services.into_iter().for_each(|service| self.apply(now, service));
            self.adjust();
        }
        let was_away = moved || heard.down || !before.running;
        if before.running && (heard.down || !self.interface.running) {
            (self.on_report)(LanReport::LinkDown);
        }
        if self.interface.running && was_away {
            (self.on_report)(LanReport::LinkUp);
            let mut wire = Wire { socket: &self.socket, lost: &mut self.lost };
            self.lan.handle_link_up(now, &mut wire);
        }
        self.tell();
    }

    /// The interface is another one of the same name, or has another address: the socket is, too.
    fn reopen(&mut self) -> bool {
        let mac = self.mac();
        self.lan.set_mac(mac);
        match open_socket(&self.settings, &self.interface, &self.lan, mac) {
            Ok(socket) => {
                let _ = epoll::delete(&self.epoll, &self.socket);
                let token = EventData::new_u64(0);
                if let Err(error) = epoll::add(&self.epoll, &socket, token, EventFlags::IN) {
                    self.trouble("epoll", error.into());
                    return false;
                }
                self.socket = socket;
                self.joined = Some(Vec::new());
                self.adjust();
                true
            }
            Err(error) => {
                (self.on_report)(LanReport::Trouble(error));
                false
            }
        }
    }

    fn tell(&mut self) {
        while let Some(event) = self.lan.poll_event() {
            (self.on_report)(LanReport::Segment(event));
        }
    }

    fn trouble(&mut self, what: &'static str, source: io::Error) {
        let name = self.settings.interface.clone();
        (self.on_report)(LanReport::Trouble(LanError::Socket { name, what, source }));
    }

    /// Has the timer ring when the core is due.
    fn arm(&mut self, now: Instant) {
        let due = self.lan.poll_timeout();
        // Rung, it stays ready until it is set again.
        if due == self.armed && self.armed.is_none_or(|at| at > now) {
            return;
        }
        self.armed = due;
        let at = due.map_or(NO_TIME, |due| Timespec {
            tv_sec: i64::try_from(due.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX),
            // Zero would mean never.
            tv_nsec: i64::try_from(due.as_nanos() % 1_000_000_000).unwrap_or(0).max(1),
        });
        let setting = Itimerspec { it_interval: NO_TIME, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)
            .expect("a time is a time, and the descriptor is a timer");
    }

    /// There is nothing to read for now.
    fn rest(&mut self, now: Instant) {
        self.look_around(now);
        self.arm(now);
        let Lost { unreadable, untaken } = self.lost;
        let Completed { cut, summed } = self.completed;
        let own = [
            ("lan_lost_unreadable", unreadable),
            ("lan_lost_untaken", untaken),
            ("lan_cut", cut),
            ("lan_summed", summed),
        ];
        self.mailbox.publish(self.lan.counters().iter().chain(own));
    }

    /// A frame was read; its packet for the switch, if it is one, goes to `buffer`.
    fn take(&mut self, now: Instant, length: usize, buffer: &mut [u8]) -> Option<usize> {
        let Some((header, frame)) = self
            .frame
            .get_mut(..length)
            .and_then(|read| read.split_first_chunk_mut::<{ offload::HEADER }>())
        else {
            self.lost.unreadable += 1;
            return None;
        };
        let left = Left::parse(*header);
        let good = match left {
            Left::Nothing | Left::Segments { .. } => true,
            Left::Checksum { start, offset } => offload::complete_checksum(frame, start, offset),
            Left::Unknown => false,
        };
        if !good {
            self.lost.unreadable += 1;
            return None;
        }
        if matches!(left, Left::Checksum { .. }) {
            self.completed.summed += 1;
        }
        let mut wire = Wire { socket: &self.socket, lost: &mut self.lost };
        let packet = self.lan.handle_frame(now, frame, &mut wire)?;
        if let Left::Segments { size } = left {
            self.cutting = Segments::new(packet, size);
            self.length = length;
            match self.cutting {
                Some(_) => self.completed.cut += 1,
                None => self.lost.unreadable += 1,
            }
            return self.cut(buffer);
        }
        let Some(place) = buffer.get_mut(..packet.len()) else {
            self.lost.unreadable += 1;
            return None;
        };
        place.copy_from_slice(packet);
        Some(packet.len())
    }

    /// The next part of a packet that is being cut.
    fn cut(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let segments = self.cutting.as_mut()?;
        let packet = &self.frame[offload::HEADER + ETHERNET_HEADER..self.length];
        let part = segments.next(packet, buffer);
        if part.is_none() || segments.is_done() {
            self.cutting = None;
        }
        // The rest is in no queue of the kernel's, so it has to be told that there is one.
        self.mailbox.keep_ready(self.cutting.is_some());
        part
    }
}

impl AsFd for LanPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl NetworkPort for LanPort {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(length) = self.cut(buffer) {
            return Ok(Some(length));
        }
        let now = (self.clock)();
        self.attend(now);
        for _ in 0..MOST {
            match self.socket.receive(&mut self.frame)? {
                Received::Frame(length) => {
                    if let Some(length) = self.take(now, length, buffer) {
                        self.tell();
                        return Ok(Some(length));
                    }
                }
                Received::Unreadable => self.lost.unreadable += 1,
                Received::Down => {}
                Received::Nothing => break,
            }
        }
        self.tell();
        self.rest(now);
        Ok(None)
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        let now = (self.clock)();
        let before = self.lost.untaken;
        let mut wire = Wire { socket: &self.socket, lost: &mut self.lost };
        self.lan.send(now, head, body, &mut wire);
        // Later than it rings would be looked at when it does.
        if self.lan.poll_timeout().is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            self.arm(now);
        }
        Ok(if self.lost.untaken == before { Sent::Taken } else { Sent::Full })
    }
}

fn choose_mac(settings: &LanSettings, interface: &Interface) -> Mac {
    let own = match settings.mac {
        ServicesMac::Own => true,
        ServicesMac::Interface => false,
        ServicesMac::Auto => !is_wireless(&settings.interface),
    };
    if own { services_mac(interface.mac) } else { interface.mac }
}

fn open_socket(
    settings: &LanSettings,
    interface: &Interface,
    lan: &Lan,
    mac: Mac,
) -> Result<PacketSocket, LanError> {
    let name = || settings.interface.clone();
    let addresses: Vec<_> = lan.addresses().collect();
    let program = filter::program(mac, &addresses, &settings.on_link);
    let opened = PacketSocket::open(interface.index, &program).and_then(|socket| {
        if mac != interface.mac {
            socket.join(mac)?;
        }
        Ok(socket)
    });
    opened.map_err(|(what, source)| match source.raw_os_error() {
        Some(libc::EPERM) => LanError::Permission { name: name(), source },
        _ => LanError::Socket { name: name(), what, source },
    })
}

fn set_filter(
    socket: &PacketSocket,
    lan: &Lan,
    settings: &LanSettings,
    mac: Mac,
) -> Result<(), Failed> {
    let addresses: Vec<_> = lan.addresses().collect();
    socket.set_filter(&filter::program(mac, &addresses, &settings.on_link))
}

/// Joins the groups in which the services' addresses are looked for: each by itself, or all where they are many, since
/// cards have filters for some dozens.
fn join_groups(
    socket: &PacketSocket,
    lan: &Lan,
    joined: &mut Option<Vec<Mac>>,
) -> Result<(), Failed> {
    let Some(before) = joined else { return Ok(()) };
    let groups = lan.groups();
    if groups.len() > filter::EXACT {
        socket.join_all_groups()?;
        *joined = None;
        return Ok(());
    }
    for group in before.iter().filter(|group| !groups.contains(group)) {
        socket.leave(*group)?;
    }
    for group in groups.iter().filter(|group| !before.contains(group)) {
        socket.join(*group)?;
    }
    *before = groups;
    Ok(())
}
