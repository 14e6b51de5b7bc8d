//! Many cold services at once: one SYN to each of a hundred.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use synjitsu::Event;

use crate::stamps::nanos;
use crate::table::{Lengths, head, line};
use crate::world::{World, address};

const WIDTH: u16 = 100;

pub(crate) fn run(world: &mut World, rounds: u16) {
    let width = WIDTH.min(world.settings().guests - 1);
    let (mut first, mut last, mut each) =
        (Lengths::default(), Lengths::default(), Lengths::default());
    for _ in 0..rounds {
        world.settle();
        let lengths = connect_to_all(world, width);
        first.add(lengths.iter().min().copied().unwrap_or(0));
        last.add(lengths.iter().max().copied().unwrap_or(0));
        lengths.iter().for_each(|length| each.add(*length));
        let newest = world.generation();
        for (service, generation) in (2..2 + width).zip(newest + 1 - u64::from(width)..) {
            world.close(service, generation);
        }
        world.settle();
    }
    head(&format!("{width} TCP connections to as many closed ports at once"));
    let of = line("the first", &mut first, None);
    line("each", &mut each, Some(of));
    line("the last", &mut last, Some(of));
}

fn connect_to_all(world: &mut World, width: u16) -> Vec<u64> {
    let client = std::thread::spawn(move || {
        let begun = nanos();
        let sockets: Vec<OwnedFd> = (2..2 + width).map(begin).collect();
        let mut waiting: Vec<&OwnedFd> = sockets.iter().collect();
        let mut lengths = Vec::new();
        while !waiting.is_empty() {
            let mut asked: Vec<_> =
                waiting.iter().map(|socket| PollFd::new(*socket, PollFlags::OUT)).collect();
            poll(&mut asked, None).unwrap();
            let now = nanos();
            let connected: Vec<bool> =
                asked.iter().map(|asked| !asked.revents().is_empty()).collect();
            let mut connected = connected.into_iter();
            waiting.retain(|_| {
                let connected = connected.next() == Some(true);
                if connected {
                    lengths.push(now - begun);
                }
                !connected
            });
        }
        lengths
    });
    // As the owner does: the ports are opened in the order in which they were asked for, here that of the services.
    for service in 2..2 + width {
        while !matches!(world.events.recv().unwrap(), Event::Wake { .. }) {}
        world.open_shared(service);
    }
    client.join().unwrap()
}

fn begin(service: u16) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO)).unwrap();
    assert_eq!(connect(&socket, &SocketAddr::from((address(service), 80))), Err(Errno::INPROGRESS));
    socket
}
