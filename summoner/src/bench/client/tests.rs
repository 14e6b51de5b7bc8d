use std::net::TcpListener;
use std::thread;

use hickory_proto::op::MessageType;
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::A;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A name server that answers one query with the loopback's address, after a datagram that is nobody's answer.
fn name_server(code: ResponseCode) -> (SocketAddr, thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let mut message = Message::from_vec(&buffer[..length]).unwrap();
        let name = message.queries[0].name().clone();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = code;
        message.add_answer(Record::from_rdata(name, 1, RData::A(A::new(127, 0, 0, 1))));
        let id = message.metadata.id;
        message.metadata.id = id.wrapping_add(1);
        socket.send_to(&message.to_vec().unwrap(), from).unwrap();
        message.metadata.id = id;
        socket.send_to(&message.to_vec().unwrap(), from).unwrap();
    });
    (address, answering)
}

/// A web server that answers one request in two pieces.
fn web_server(pieces: [&'static str; 2]) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let length = stream.read(&mut request).unwrap();
        for piece in pieces {
            // A client that has seen enough may be gone before the second piece.
            let _ = stream.write_all(piece.as_bytes());
        }
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (port, serving)
}

fn ask(port: u16, expected: &str) -> Ask {
    let manner = Manner { port, path: "/page".to_owned(), ipv6: false };
    let name = Name::from_ascii("web.bench.test.").unwrap();
    Ask::new(&name, &manner, Some(expected.to_owned())).unwrap()
}

fn request(code: ResponseCode, pieces: [&'static str; 2], expected: &str) -> (Outcome, String) {
    let (server, answering) = name_server(code);
    let (port, serving) = web_server(pieces);
    let mut client = Client::new(server, PATIENCE, 1).unwrap();
    let outcome = client.request(&ask(port, expected), now());
    answering.join().unwrap();
    if outcome.address.is_none() {
        // Nobody came to the web server; it must end too.
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
    (outcome, serving.join().unwrap())
}

#[test]
fn a_page_in_pieces_is_read_whole_and_stamps_ascend() {
    let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhe", "llo me"];
    let (outcome, request) = request(ResponseCode::NoError, pieces, "hello m");
    let stamps = outcome.result.unwrap();
    assert!(stamps.started <= stamps.answered && stamps.answered <= stamps.connected);
    assert!(stamps.connected <= stamps.first_byte && stamps.first_byte <= stamps.last_byte);
    assert_eq!(outcome.syn_retransmissions, 0);
    assert_eq!(request, "GET /page HTTP/1.1\r\nHost: web.bench.test\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_page_of_somebody_else_is_a_failure() {
    let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"];
    let (outcome, _) = request(ResponseCode::NoError, pieces, "goodbye");
    assert_eq!(outcome.result, Err(Failure::WrongPage));
}

#[test]
fn a_page_cut_short_is_a_failure() {
    let pieces = ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "hello"];
    let (outcome, _) = request(ResponseCode::NoError, pieces, "hello");
    assert_eq!(outcome.result, Err(Failure::Truncated));
}

#[test]
fn an_answer_with_an_error_code_is_a_failure() {
    let (outcome, _) = request(ResponseCode::Refused, ["", ""], "");
    assert_eq!(outcome.result, Err(Failure::DnsNoAddress));
    assert_eq!(outcome.address, None);
}

#[test]
fn a_refused_connection_is_a_failure() {
    // Bound, so that nobody else has it, but not listened on.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap();
    let port = SocketAddr::try_from(address).unwrap().port();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let mut client = Client::new(server, PATIENCE, 1).unwrap();
    let outcome = client.request_at(&ask(port, ""), Ipv4Addr::LOCALHOST.into(), now());
    assert_eq!(outcome.result, Err(Failure::ConnectRefused));
}

#[test]
fn a_late_start_makes_the_figures_worse() {
    let (port, serving) = web_server(["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""]);
    let mut client = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), PATIENCE, 1).unwrap();
    let late = Duration::from_secs(5);
    let intended = Instant::from_nanos(now().as_nanos() - 5_000_000_000);
    let outcome = client.request_at(&ask(port, ""), Ipv4Addr::LOCALHOST.into(), intended);
    let stamps = outcome.result.unwrap();
    assert!(stamps.started >= late && stamps.first_byte >= late, "{stamps:?}");
    serving.join().unwrap();
}
