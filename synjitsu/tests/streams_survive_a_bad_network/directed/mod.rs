//! Single situations, segment by segment.

mod early;
mod opening;
mod translated;

use std::net::SocketAddr;

use synjitsu::{HoldMode, HoldPolicy, ServicePort};

use crate::segment::Segment;
use crate::support::{self, World, addresses};

/// What one client may send early here.
const BUFFER: u32 = 4096;

/// One client and the guest of one service, and what each of them was sent.
struct Ladder {
    world: World,
    v6: bool,
    generation: u64,
}

impl Ladder {
    /// The service sleeps.
    fn new(v6: bool) -> Self {
        let hold = HoldPolicy { mode: HoldMode::Handshake, buffer: BUFFER, ..support::port().hold };
        let world = World::with(ServicePort { hold, ..support::port() });
        Self { world, v6, generation: 0 }
    }

    /// The client has got an answer to `syn` and has acknowledged it; the switch's initial number is returned.
    fn answered(syn: &Segment) -> (Self, u32) {
        let mut ladder = Self::new(false);
        let iss = ladder.client(syn)[0].seq;
        ladder.client(&ack(syn.seq.wrapping_add(1), iss.wrapping_add(1)));
        (ladder, iss)
    }

    /// The guest has accepted the connection with `answer`, which is completed to a SYN-ACK; all is handed over.
    fn handed_over(syn: &Segment, answer: &Segment) -> (Self, u32) {
        let (mut ladder, iss) = Self::answered(syn);
        ladder.open();
        ladder.guest_got();
        let ack = Some(syn.seq.wrapping_add(1));
        ladder.guest(&Segment { syn: true, ack, ..answer.clone() });
        ladder.client_got();
        ladder.guest_got();
        (ladder, iss)
    }

    fn ends(&self, port: u16) -> (SocketAddr, SocketAddr) {
        let (client, service) = addresses(self.v6);
        (SocketAddr::new(client, port), SocketAddr::new(service, 80))
    }

    fn open(&mut self) {
        self.generation += 1;
        self.world.open(self.generation);
    }

    fn close(&mut self) {
        self.world.close(self.generation);
    }

    /// The client sends a segment; returns what it gets for it.
    fn client(&mut self, segment: &Segment) -> Vec<Segment> {
        self.client_at(40_000, segment)
    }

    fn client_at(&mut self, port: u16, segment: &Segment) -> Vec<Segment> {
        let (client, service) = self.ends(port);
        self.world.uplink(&segment.packet(client, service));
        self.client_got()
    }

    /// The guest sends a segment; returns what it gets for it.
    fn guest(&mut self, segment: &Segment) -> Vec<Segment> {
        let (client, service) = self.ends(40_000);
        self.world.guest_packet(self.generation, &segment.packet(service, client));
        self.guest_got()
    }

    fn client_got(&mut self) -> Vec<Segment> {
        let packets = self.world.clients_got();
        packets.iter().map(|packet| Segment::parse(packet).unwrap().2).collect()
    }

    fn guest_got(&mut self) -> Vec<Segment> {
        let packets = self.world.guest_got_packets(self.generation);
        packets.iter().map(|packet| Segment::parse(packet).unwrap().2).collect()
    }

    fn held(&mut self) -> u32 {
        self.world.activity().2
    }
}

/// What a usual client offers.
fn syn(seq: u32) -> Segment {
    Segment {
        seq,
        syn: true,
        window: 64_000,
        mss: Some(1460),
        window_scale: Some(3),
        sack_permitted: true,
        timestamps: Some((7, 0)),
        ..Segment::default()
    }
}

/// What a usual guest answers with.
fn offer(seq: u32) -> Segment {
    let (mss, window_scale, sack_permitted) = (Some(1460), Some(2), true);
    Segment { seq, window: 20_000, mss, window_scale, sack_permitted, ..Segment::default() }
}

fn ack(seq: u32, ack: u32) -> Segment {
    Segment { seq, ack: Some(ack), window: 1000, ..Segment::default() }
}

fn data(seq: u32, number: u32, octets: &[u8]) -> Segment {
    Segment { payload: octets.to_vec(), ..ack(seq, number) }
}

fn rst(seq: u32) -> Segment {
    Segment { seq, rst: true, ..Segment::default() }
}
