//! A TCP connection made: to a guest that runs, and to one whose port is opened by the SYN.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use synjitsu::Event;

use crate::stamps::nanos;
use crate::table::{Lengths, head, line};
use crate::world::{World, address};

const BATCH: usize = 20;

pub(crate) fn run(world: &mut World, rounds: u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let loopback = listener.local_addr().unwrap();
    let accepting = std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if stream.peer_addr().is_ok_and(|peer| peer.port() == END) {
                return;
            }
        }
    });
    let (mut baseline, mut open, mut held) =
        (Lengths::default(), Lengths::default(), Lengths::default());
    let to_open = SocketAddr::from((address(1), 80));
    for round in 0..=rounds {
        for _ in 0..BATCH {
            let lengths = [connect_to(loopback), connect_to(to_open), connect_to_closed(world)];
            if round > 0 {
                for (kind, length) in [&mut baseline, &mut open, &mut held].into_iter().zip(lengths)
                {
                    kind.add(length);
                }
            }
        }
    }
    end(loopback);
    accepting.join().unwrap();
    if rounds == 0 {
        return;
    }
    head("a TCP connection made");
    let of = line("loopback", &mut baseline, None);
    line("to a guest that runs", &mut open, Some(of));
    line("to a port that the SYN has opened", &mut held, Some(of));
}

/// The source port by which the accepting thread knows the end.
const END: u16 = 9;

fn end(loopback: SocketAddr) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, END))).unwrap();
    connect(&socket, &loopback).unwrap();
}

fn connect_to(to: SocketAddr) -> u64 {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    // Closed by a RST, so that no port is used up.
    sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO)).unwrap();
    let begun = nanos();
    connect(&socket, &to).unwrap();
    nanos() - begun
}

/// The owner of the switch learns of the SYN and opens the port, with a guest that listens.
fn connect_to_closed(world: &mut World) -> u64 {
    const SERVICE: u16 = 2;
    world.settle();
    let client = std::thread::spawn(|| connect_to((address(SERVICE), 80).into()));
    while !matches!(world.events.recv().unwrap(), Event::Wake { .. }) {}
    world.open_shared(SERVICE);
    let length = client.join().unwrap();
    world.close(SERVICE, world.generation());
    world.settle();
    length
}
