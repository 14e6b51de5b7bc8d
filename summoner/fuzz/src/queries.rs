//! Octets as queries: each is answered once, with a message that can be read, belongs to it, and is not too long, or not at
//! all.

use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode};
use summoner::dns::{Arrival, Outcome, Transport};

use super::server::RESPONDER;

/// Length of a header.
const HEADER: usize = 12;
/// The longest answers by UDP: to a query without an OPT record, and to any.
const SHORT: usize = 512;
const LONG: usize = 1232;

/// Answers a query. The first octet of the input chooses how it comes.
pub fn run(input: &[u8]) {
    let Some((how, query)) = input.split_first() else { return };
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https];
    let transport = transports[usize::from(how % 4)];
    let source: SocketAddr =
        if how & 4 == 0 { "192.0.2.1:53" } else { "[2001:db8::1]:53" }.parse().unwrap();
    let outcome =
        RESPONDER.with(|responder| responder.respond(query, &Arrival::now(source, transport)));
    // Else there is no answer, or more than one message.
    let (Outcome::Send(reply) | Outcome::Wait { reply, .. }) = outcome else { return };
    check(query, &reply.message, transport);
    RESPONDER.with(|responder| responder.sent(reply));
}

fn check(query: &[u8], answer: &[u8], transport: Transport) {
    assert!(query.len() >= HEADER, "without a header there is no id to answer to");
    assert!(query[2] & 0x80 == 0, "an answer is not answered");
    let read = Message::from_vec(answer).expect("an answer can be read");
    assert_eq!(answer[..2], query[..2], "the id");
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert_eq!(read.metadata.op_code, OpCode::from_u8(query[2] >> 3 & 0xf));
    assert_eq!(read.metadata.recursion_desired, query[2] & 1 == 1, "RD is copied");
    // RA, Z, AD.
    assert_eq!(answer[3] & 0xe0, 0, "what only others may say");
    let asked = Message::from_vec(query);
    let with_opt = asked.as_ref().is_ok_and(|asked| asked.edns.is_some());
    match transport {
        Transport::Udp => assert!(answer.len() <= if with_opt { LONG } else { SHORT }),
        Transport::Tcp | Transport::Tls | Transport::Https => {
            assert!(!read.metadata.truncation, "nobody is sent from TCP to TCP");
        }
    }
    assert!(read.edns.is_none() || with_opt, "an OPT record that nobody asked for");
    if let ([question], Ok(asked)) = (read.queries.as_slice(), &asked) {
        assert_eq!(asked.queries.len(), 1);
        let length = question.name().iter().map(|label| 1 + label.len()).sum::<usize>() + 5;
        assert_eq!(
            answer[HEADER..HEADER + length],
            query[HEADER..HEADER + length],
            "the question is the client's, octet for octet"
        );
    }
}
