//! Servers that make it hard for their clients.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::Cell;
use core::time::Duration;

use unikernel::http::{Body, Http, Request, Response, Site};
use unikernel::net::Addressing;
use unikernel::server::Server;
use unikernel::{Guest, hypercall, println};

use crate::faults;
use crate::plain::number;

/// Answers everything with one line.
struct Line;

impl Site for Line {
    fn respond(&self, _: &Request<'_>) -> Response {
        Response::ok("text/plain; charset=utf-8", Body::Octets(b"served by trial\n".to_vec()))
    }
}

/// Tells clones apart, and shows what is kept when the guest sleeps.
struct Memory {
    guest: &'static Guest,
    count: Cell<u64>,
}

impl Site for Memory {
    fn respond(&self, _: &Request<'_>) -> Response {
        let count = self.count.get() + 1;
        self.count.set(count);
        let generation = self.guest.generation().unwrap_or(0);
        let random = self.guest.entropy().word();
        let text = format!("generation={generation} random={random:016x} count={count}\n");
        Response::text(text.into_bytes())
    }
}

/// Answers nothing.
struct Crash(&'static Guest);

impl Site for Crash {
    fn respond(&self, _: &Request<'_>) -> Response {
        let _ = faults::undefined(self.0, "");
        Line.respond(&Request {
            method: "GET",
            target: "/",
            head: &[],
            content_length: 0,
            keep_alive: false,
            expects_continue: false,
        })
    }
}

fn server(guest: &'static Guest) -> Result<Server, String> {
    let port = guest.net("service").ok_or("no network device")?;
    let addressing =
        Addressing::from_flags(guest.command_line()).map_err(|error| error.to_string())?;
    Ok(Server::new(guest, port, &addressing))
}

pub(crate) fn remember(guest: &'static Guest, _: &str) -> Result<(), String> {
    let mut server = server(guest)?;
    let site = Rc::new(Memory { guest, count: Cell::new(0) });
    server.listen(80, move || Http::new(Rc::clone(&site)));
    server.run();
    Ok(())
}

pub(crate) fn slow_listen(guest: &'static Guest, value: &str) -> Result<(), String> {
    let slow = Duration::from_millis(number(value)?);
    let mut server = server(guest)?;
    // The stack is up and answers every SYN with RST, because nothing listens.
    if server.serve_until(Some(guest.clock.now() + slow)) {
        server.listen(80, || Http::new(Line));
        println!("listening");
        server.run();
    }
    Ok(())
}

pub(crate) fn silent(guest: &'static Guest, value: &str) -> Result<(), String> {
    let mut server = server(guest)?;
    server.listen(80, || Http::new(Line));
    let end = guest.clock.now() + Duration::from_millis(number(value)?);
    // Frames that wait end every poll at once, so this spins as an overloaded guest would; it is still
    // asleep for whoever waits for its first poll.
    while guest.clock.now() < end {
        if hypercall::poll(Duration::from_millis(1)).shutdown {
            return Ok(());
        }
    }
    println!("listening");
    server.run();
    Ok(())
}

pub(crate) fn crash_after(guest: &'static Guest, value: &str) -> Result<(), String> {
    let alive = Duration::from_millis(number(value)?);
    let mut server = server(guest)?;
    server.listen(80, || Http::new(Line));
    if server.serve_until(Some(guest.clock.now() + alive)) {
        return faults::undefined(guest, "");
    }
    Ok(())
}

pub(crate) fn crash_on_request(guest: &'static Guest, _: &str) -> Result<(), String> {
    let mut server = server(guest)?;
    server.listen(80, move || Http::new(Crash(guest)));
    server.run();
    Ok(())
}
