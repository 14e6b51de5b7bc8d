//! TCP clients on a guest's wire: the same stack, as the other side.

use std::collections::VecDeque;

use unikernel::smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use unikernel::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use unikernel::smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use unikernel::smoltcp::time::Instant;
use unikernel::smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address};

use super::{GUEST_MAC, Host};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// The flags by which a guest is the one that clients call.
pub(crate) const FLAGS: &str = "--ipv4=10.0.0.2/24";

/// Clients, each with one connection.
pub(crate) struct Clients {
    interface: Interface,
    wire: ClientWire,
    sockets: SocketSet<'static>,
    pub(crate) handles: Vec<SocketHandle>,
    /// What each has received.
    pub(crate) answers: Vec<Vec<u8>>,
    micros: i64,
}

#[derive(Default)]
struct ClientWire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Clients {
    /// So many clients, which begin to connect.
    pub(crate) fn connecting(count: u16) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        config.random_seed = 1;
        let mut wire = ClientWire::default();
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(Ipv4Address::new(10, 0, 0, 9).into(), 24)).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let handles = (0..count)
            .map(|number| {
                let buffer = || SocketBuffer::new(vec![0; 4096]);
                let mut socket = Socket::new(buffer(), buffer());
                let there = (Ipv4Address::new(10, 0, 0, 2), 80);
                socket.connect(interface.context(), there, 40_000 + number).unwrap();
                sockets.add(socket)
            })
            .collect();
        let answers = vec![Vec::new(); usize::from(count)];
        let mut clients = Self { interface, wire, sockets, handles, answers, micros: 0 };
        // Who the guest is, is known: it is about the guest's frames here, not the client's.
        clients.wire.incoming.push_back(arp_reply());
        clients.step();
        clients
    }

    /// Takes what the guest has sent, and puts on the wire what there is to say.
    pub(crate) fn exchange(&mut self, host: &mut Host) {
        self.wire.incoming.extend(host.from_guest.drain(..));
        self.step();
        host.to_guest.extend(self.wire.outgoing.drain(..));
    }

    fn step(&mut self) {
        self.micros += 10;
        let now = Instant::from_micros(self.micros);
        while self.interface.poll(now, &mut self.wire, &mut self.sockets) != PollResult::None {}
        for (handle, answer) in self.handles.iter().zip(&mut self.answers) {
            let socket = self.sockets.get_mut::<Socket<'static>>(*handle);
            while let Ok(octets) = socket.recv(|octets| (octets.len(), octets.to_vec()))
                && !octets.is_empty()
            {
                answer.extend(octets);
            }
        }
    }

    /// Lets time pass for the clients, for what they put off.
    pub(crate) fn wait(&mut self, micros: i64) {
        self.micros += micros;
    }

    pub(crate) fn socket(&mut self, client: usize) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handles[client])
    }

    pub(crate) fn count_in(&mut self, state: State) -> usize {
        (0..self.handles.len()).filter(|&client| self.socket(client).state() == state).count()
    }

    pub(crate) fn say(&mut self, client: usize, text: &str) {
        assert_eq!(self.socket(client).send_slice(text.as_bytes()).unwrap(), text.len());
    }

    pub(crate) fn answer(&self, client: usize) -> String {
        String::from_utf8_lossy(&self.answers[client]).into_owned()
    }
}

/// The guest is at its address (RFC 826).
fn arp_reply() -> Vec<u8> {
    let mut frame = MAC.to_vec();
    frame.extend(GUEST_MAC);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(GUEST_MAC);
    frame.extend([10, 0, 0, 2]);
    frame.extend(MAC);
    frame.extend([10, 0, 0, 9]);
    frame
}

impl Device for ClientWire {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Taken, Room<'_>)> {
        Some((Taken(self.incoming.pop_front()?), Room(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        Some(Room(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(crate) struct Taken(Vec<u8>);

impl RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub(crate) struct Room<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}

/// What a TCP segment from the guest says: flags, sequence number, octets of payload.
pub(crate) fn segment(frame: &[u8]) -> Option<(u8, u32, usize)> {
    let is_tcp = frame.get(12..14)? == [8, 0] && frame.get(23)? == &6;
    let packet = &frame[14..];
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let tcp = &packet[usize::from(packet[0] & 0xf) * 4..];
    let header = usize::from(tcp[12] >> 4) * 4;
    let sequence = u32::from_be_bytes(tcp[4..8].try_into().ok()?);
    is_tcp.then(|| (tcp[13], sequence, total - (packet.len() - tcp.len()) - header))
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;
