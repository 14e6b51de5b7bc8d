//! SIGHUP adds, changes and removes services; the others go on, and a bad file changes nothing.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use support::{PATIENCE, World, hello, http_get};

fn wait_for_log(world: &World, text: &str, count: usize) {
    let start = Instant::now();
    while world.log().matches(text).count() < count {
        assert!(start.elapsed() < PATIENCE, "never logged: {text}\n{}", world.log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn and_a_bad_file_changes_nothing() {
    let stays = hello("stays", "idle = \"60s\"");
    let Some(world) = World::start(&(stays.clone() + &hello("goes", "idle = \"60s\""))) else {
        return;
    };
    let address = world.resolve("stays");
    for name in ["stays", "goes"] {
        assert_eq!(http_get((world.resolve(name), 80).into(), "/").unwrap().status, 200);
    }
    let before = world.wait_for_state("stays", "running");

    world.configure("", &(stays.clone() + &hello("comes", "idle = \"60s\"")));
    world.signal(Signal::SIGHUP);
    wait_for_log(&world, "configuration reloaded", 1);
    assert_eq!(world.query("goes", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(http_get((world.resolve("comes"), 80).into(), "/").unwrap().status, 200);
    let after = world.service("stays");
    assert_eq!(
        (after.process, after.generation, after.ipv4),
        (before.process, before.generation, before.ipv4)
    );

    world.configure(
        "",
        &(stays.clone() + "[services.bad]\nimage = \"builtin:hello\"\nidel = \"1s\"\n"),
    );
    world.signal(Signal::SIGHUP);
    wait_for_log(&world, "the old one stays in force", 1);
    assert!(world.log().contains("idel"), "it does not say why:\n{}", world.log());
    assert_eq!(world.query("comes", RecordType::A).metadata.response_code, ResponseCode::NoError);
    assert_eq!(world.query("bad", RecordType::A).metadata.response_code, ResponseCode::NXDomain);

    // More memory is another machine: this guest is stopped, and the next client gets the new one.
    world.configure("", &hello("stays", "idle = \"60s\"\nmemory = \"16MiB\""));
    world.signal(Signal::SIGHUP);
    wait_for_log(&world, "configuration reloaded", 2);
    assert_eq!(http_get((address, 80).into(), "/").unwrap().status, 200);
    let changed = world.service("stays");
    assert_eq!(changed.memory, 16 << 20);
    assert!(changed.generation > before.generation);
}
