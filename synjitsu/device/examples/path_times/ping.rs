//! A datagram there and back, one at a time.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::load::take_places;
use crate::settings::Place;
use crate::stamps::{
    GUEST_HAS, GUEST_SENDS, HAVE_FROM_UPLINK, READ_FROM_UPLINK, WRITE_TO_UPLINK, nanos,
};
use crate::table::{Lengths, head, line};
use crate::world::{World, address};

/// Round trips before the other kind gets its turn.
const BATCH: usize = 100;
/// The pause between two round trips that do not follow each other at once.
const PAUSE: Duration = Duration::from_millis(1);

const HOPS: [&str; 6] = [
    "client's send; the switch wakes up",
    "read from the TUN device",
    "core; write to the port; the guest wakes up",
    "guest's own work",
    "guest's send; the switch wakes up; read; core",
    "write to the TUN device; the client wakes up",
];

pub(crate) fn run(world: &World, what: &str) {
    let settings = world.settings();
    let what = what.to_owned();
    // In a thread of its own, so that its place is its own.
    let pings = move || {
        let loopback = echo_over_loopback(settings.place);
        take_places(settings.place);
        let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        client.connect((address(1), 7)).unwrap();
        series(settings.rounds, &loopback, &client, None, &format!("{what}, at once"));
        series(settings.rounds, &loopback, &client, Some(PAUSE), &format!("{what}, one each ms"));
    };
    std::thread::spawn(pings).join().unwrap();
}

fn series(
    rounds: u16,
    loopback: &UdpSocket,
    client: &UdpSocket,
    pause: Option<Duration>,
    what: &str,
) {
    let mut baseline = Lengths::default();
    let mut whole = Lengths::default();
    let mut hops: [Lengths; 6] = Default::default();
    for round in 0..=rounds {
        for _ in 0..BATCH {
            let (sent, back) = ping(loopback, pause);
            if round > 0 {
                baseline.add(back - sent);
            }
        }
        for _ in 0..BATCH {
            let (sent, back) = ping(client, pause);
            if round == 0 {
                continue;
            }
            let marks = [
                sent,
                READ_FROM_UPLINK.get(),
                HAVE_FROM_UPLINK.get(),
                GUEST_HAS.get(),
                GUEST_SENDS.get(),
                WRITE_TO_UPLINK.get(),
                back,
            ];
            whole.add(back - sent);
            for (hop, pair) in hops.iter_mut().zip(marks.windows(2)) {
                // Whoever is woken may be awake before the waker has read its clock.
                hop.add(pair[1].saturating_sub(pair[0]));
            }
        }
    }
    head(&format!("a datagram there and back, {what}"));
    let of = line("loopback between two threads", &mut baseline, None);
    line("through the switch", &mut whole, Some(of));
    for (name, hop) in HOPS.iter().zip(&mut hops) {
        line(&format!("  {name}"), hop, None);
    }
}

/// Sends and waits for the answer; when it was sent and when it was back.
fn ping(socket: &UdpSocket, pause: Option<Duration>) -> (u64, u64) {
    if let Some(pause) = pause {
        std::thread::sleep(pause);
    }
    let mut buffer = [0; 64];
    let sent = nanos();
    socket.send(b"how long does this take?").unwrap();
    socket.recv(&mut buffer).unwrap();
    (sent, nanos())
}

/// A socket that is connected to a thread that sends everything back.
fn echo_over_loopback(place: Place) -> UdpSocket {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    server.connect(client.local_addr().unwrap()).unwrap();
    std::thread::spawn(move || {
        take_places(place);
        let mut buffer = [0; 64];
        // Ends when the client's socket is closed: the port is unreachable then.
        while let Ok(length) = server.recv(&mut buffer) {
            if server.send(&buffer[..length]).is_err() {
                return;
            }
        }
    });
    client
}
