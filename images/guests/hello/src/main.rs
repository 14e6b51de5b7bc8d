//! `hello`: the default service. A page that says what served it, and a few tools for tests and load.
//!
//! HTTP/1.1 on port 80: `/` the page, `/healthz`, `/echo` (a GET's own head, or a POST's body), `/bytes/N`
//! (N octets of a pattern). A TCP echo on port 7 (RFC 862), and discard on port 9 (RFC 863). Answers pings.
//!
//! Flags: `--ipv4=ADDRESS/LENGTH --ipv4-gateway=ADDRESS --ipv6=ADDRESS/LENGTH --ipv6-gateway=ADDRESS
//! --name=NAME`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod discard;
mod echo;

use alloc::rc::Rc;

use hello::HelloSite;
use unikernel::http::Http;
use unikernel::net::Addressing;
use unikernel::server::Server;
use unikernel::{Guest, println};

use crate::discard::Discard;
use crate::echo::Echo;

unikernel::main!(main, net = "service");

/// Exit status: a flag cannot be used (`EX_USAGE`).
const USAGE: i32 = 64;

/// Exit status: there is no network device (`EX_UNAVAILABLE`).
const UNAVAILABLE: i32 = 69;

fn main(guest: &'static Guest) -> i32 {
    let Some(port) = guest.net("service") else {
        println!("the host attached no network device to the manifest's entry `service`");
        return UNAVAILABLE;
    };
    let addressing = match Addressing::from_flags(guest.command_line()) {
        Ok(addressing) => addressing,
        Err(error) => {
            println!("{error}");
            return USAGE;
        }
    };
    let name = guest.command_line().value("name").unwrap_or("hello");
    let addresses = addressing.cidrs().map(|cidr| cidr.address().into()).collect();
    let site = Rc::new(HelloSite::new(guest, name, addresses));
    let mut server = Server::new(guest, port, &addressing);
    let http = Rc::clone(&site);
    server.listen(80, move || Http::new(Rc::clone(&http)));
    server.listen(7, Echo::default);
    server.listen(9, Discard::default);
    let listening = site.set_listening();
    let page = Rc::clone(&site);
    server
        .when_quiet(move || println!("{page}: listening {} µs after entry", listening.as_micros()));
    server.run();
    println!("{site}: shut down after {} requests", site.requests());
    0
}
