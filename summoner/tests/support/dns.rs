//! Questions by hand: octets and messages over kernel sockets, and other people's clients.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use hickory_proto::op::Message;

use super::{DNS, PATIENCE};

/// A UDP socket that does not wait for ever.
pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The octets that answer `octets`.
pub(crate) fn over_udp(octets: &[u8]) -> Vec<u8> {
    let socket = socket();
    socket.send_to(octets, DNS).unwrap();
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// The message that answers `message`.
pub(crate) fn ask(message: &Message) -> Message {
    Message::from_vec(&over_udp(&message.to_vec().unwrap())).unwrap()
}

/// One question and its answer on a connection.
pub(crate) fn over_tcp(stream: &mut TcpStream, message: &Message) -> Message {
    let octets = message.to_vec().unwrap();
    stream.write_all(&u16::try_from(octets.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&octets).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

/// What `dig` or a like program prints about the daemon.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).arg("@127.0.0.1").args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
