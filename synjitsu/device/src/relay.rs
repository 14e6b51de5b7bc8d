//! A wire between two ports: whatever one has goes to the other one.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::{DeviceError, NetworkPort};

/// Frames that are moved in one direction before the other one is looked at.
const MOST: usize = 64;
/// The longest frame that is carried whole.
const LONGEST_FRAME: usize = 64 * 1024;

const TOKEN_LEFT: u64 = 0;
const TOKEN_RIGHT: u64 = 1;
const TOKEN_STOP: u64 = 2;

/// A thread that carries frames between two ports, which it closes at its end. It ends when either port does, or when
/// this is dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Joins two ports.
    ///
    /// # Errors
    /// When the thread or what it waits with cannot be made.
    pub fn spawn<L, R>(left: L, right: R) -> Result<Self, DeviceError>
    where
        L: NetworkPort + Send + 'static,
        R: NetworkPort + Send + 'static,
    {
        let failed = |what| move |error: Errno| DeviceError::Link { what, source: error.into() };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = Arc::new(eventfd(0, flags).map_err(failed("eventfd"))?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll"))?;
        epoll::add(&epoll, &left, EventData::new_u64(TOKEN_LEFT), EventFlags::IN)
            .map_err(failed("port"))?;
        epoll::add(&epoll, &right, EventData::new_u64(TOKEN_RIGHT), EventFlags::IN)
            .map_err(failed("port"))?;
        epoll::add(&epoll, &stop, EventData::new_u64(TOKEN_STOP), EventFlags::IN)
            .map_err(failed("eventfd"))?;
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || carry(&epoll, left, right))
            .map_err(|source| DeviceError::Link { what: "thread", source })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Adding one to a counter that is zero; the thread cannot miss it.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic there was told already.
            let _ = thread.join();
        }
    }
}

fn carry(epoll: &OwnedFd, mut left: impl NetworkPort, mut right: impl NetworkPort) {
    let mut ready = Vec::with_capacity(3);
    let mut buffer = vec![0; LONGEST_FRAME];
    loop {
        ready.clear();
        match epoll::wait(epoll, spare_capacity(&mut ready), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        for event in &ready {
            let moved = match event.data.u64() {
                TOKEN_LEFT => step(&mut left, &mut right, &mut buffer),
                TOKEN_RIGHT => step(&mut right, &mut left, &mut buffer),
                _ => return,
            };
            // One of them is closed or broken: so is the wire.
            if moved.is_err() {
                return;
            }
        }
    }
}

/// Carries what is there, up to a bound.
fn step(
    from: &mut impl NetworkPort,
    to: &mut impl NetworkPort,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut moved = 0;
    while moved < MOST || from.has_more() {
        let Some(length) = from.receive(buffer)? else { break };
        moved += 1;
        match to.transmit(&buffer[..length], &[]) {
            // A full queue loses frames, as on any network.
            Ok(_) => {}
            // So does a device that finds a frame damaged.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    // What it does not take is lost as well.
    to.flush();
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::net::{RecvFlags, SendFlags, recv, send};

    use super::*;
    use crate::guest_port;

    fn receive(end: &OwnedFd) -> Vec<u8> {
        let mut buffer = [0; 64];
        let (_, length) = recv(end, &mut buffer, RecvFlags::empty()).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn frames_go_both_ways_until_one_end_closes() {
        let (left, one) = guest_port::pair().unwrap();
        let (right, other) = guest_port::pair().unwrap();
        let relay = Relay::spawn(left, right).unwrap();
        send(&one, b"there", SendFlags::empty()).unwrap();
        assert_eq!(receive(&other), b"there");
        send(&other, b"back", SendFlags::empty()).unwrap();
        assert_eq!(receive(&one), b"back");
        drop(one);
        assert_eq!(receive(&other), b"", "the other end is closed too");
        drop(relay);
    }

    #[test]
    fn dropping_it_closes_both() {
        let (left, one) = guest_port::pair().unwrap();
        let (right, other) = guest_port::pair().unwrap();
        drop(Relay::spawn(left, right).unwrap());
        assert_eq!((receive(&one), receive(&other)), (Vec::new(), Vec::new()));
    }
}
