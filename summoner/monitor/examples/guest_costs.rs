//! What a guest costs this machine besides its instructions: how often it leaves, and how many pages it touches, until it
//! waits for the first time and for each of its first requests; and how long those take as its port sees them.
//!
//! `cargo run --release -p monitor --example guest_costs -- [ROUNDS]`. The built-in guest runs in this process, and a small
//! client speaks TCP with it. Pages are those of guest memory that exist afterwards, in groups: what the image put into
//! memory exists from the beginning, so the pages of its code are not told. Times are medians.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor::hypercall::ShutdownRequest;
use monitor::protocol::{BootRequest, MAX_MESSAGE, PrepareRequest, Report, Start, recv_report};
use monitor::{Host, Pause, Shell};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MEMORY: u64 = 8 << 20;
const PAGE: u64 = 4096;
const REQUESTS: usize = 3;
const GUEST: [u8; 4] = [10, 0, 0, 2];
const CLIENT: [u8; 4] = [10, 0, 0, 9];

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    match measure(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize) -> Result<()> {
    let mut lives = (0..rounds).map(|_| live(REQUESTS)).collect::<Result<Vec<_>>>()?;
    let quiet = live(0)?;
    let life = lives.last().ok_or("no rounds")?;
    println!(
        "exits: {} to the first wait and the end, {} more for {REQUESTS} requests",
        quiet.exits,
        life.exits - quiet.exits
    );
    println!("{:<26}{:>10}{:>14}", "pages of guest memory", "at ready", "per request");
    for (index, (group, ready)) in life.pages[0].iter().enumerate() {
        let more: Vec<_> = life
            .pages
            .windows(2)
            .map(|pair| (pair[1][index].1 - pair[0][index].1).to_string())
            .collect();
        println!("{group:<26}{ready:>10}{:>14}", more.join(" + "));
    }
    println!("{:<26}{:>10}{:>10}{:>10}", "µs, median", "first", "second", "third");
    for step in ["SYN to SYN-ACK", "request to response"] {
        print!("{step:<26}");
        for request in 0..REQUESTS {
            let time = |life: &mut Life| {
                let [syn, get] = life.times[request];
                if step.starts_with("SYN") { syn } else { get }
            };
            let mut times: Vec<Duration> = lives.iter_mut().map(time).collect();
            times.sort_unstable();
            print!("{:>10}", times[times.len() / 2].as_micros());
        }
        println!();
    }
    Ok(())
}

/// What was seen of one guest.
struct Life {
    exits: u64,
    /// Pages by group: at its first wait, and after each request.
    pages: Vec<Vec<(&'static str, u64)>>,
    /// From SYN to SYN-ACK, and from the request to the response, of each.
    times: Vec<[Duration; 2]>,
}

fn live(requests: usize) -> Result<Life> {
    let image = images::builtin::HELLO;
    let plan = images::plan(image)?;
    let data = plan.segments.last().map_or(0, |segment| segment.gpa);
    let groups = [
        ("boot information", 0x1_0000, 0x10_0000),
        ("data and zeroes", data, plan.kernel_end),
        ("heap", plan.kernel_end, MEMORY - (256 << 10)),
        ("stack", MEMORY - (256 << 10), MEMORY),
        ("ring", MEMORY, MEMORY + (2 << 20)),
    ];
    let file = memfd_create("image", MemfdFlags::CLOEXEC)?;
    std::fs::File::from(file.try_clone()?).write_all(image)?;
    let (control, reports) = pair()?;
    let (port, theirs) = pair()?;
    let request = BootRequest {
        start: Start::Image,
        command_line: "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        generation: 1,
        entropy: [1; 32],
    };
    let shell =
        Shell::new(&Host::open()?)?.prepare(PrepareRequest { plan, memory: MEMORY }, &file)?;
    let shutdown = ShutdownRequest::new()?;
    let mut vm = shell.boot(&request, theirs, None, Arc::new(reports), shutdown.clone())?;
    let memory = guest_memory()?;
    let guest = std::thread::spawn(move || {
        while !matches!(vm.run(), Pause::Ended(_)) {}
        vm.exits()
    });
    let mut buffer = vec![0; MAX_MESSAGE];
    while !matches!(recv_report(control.as_fd(), &mut buffer)?, Some(Report::Ready(_))) {}
    let look = || -> Result<Vec<_>> {
        let count = |&(name, start, end)| Ok((name, resident(memory, start, end)?));
        groups.iter().map(count).collect()
    };
    let mut life = Life { exits: 0, pages: vec![look()?], times: Vec::new() };
    for number in 0..requests {
        life.times.push(Client::new(&port, number).request()?);
        life.pages.push(look()?);
    }
    shutdown.make();
    life.exits = guest.join().map_err(|_| "the guest's thread panicked")?;
    Ok(life)
}

/// Where guest memory lies in this process: the largest mapping without a file.
fn guest_memory() -> Result<u64> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut best = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), 4) = (words.next(), words.count()) else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let size = MEMORY + (4 << 20);
        // Neighbouring mappings are told as one; the newest lies lowest.
        if end - start >= size && (best == (0, 0) || end - start < best.1 - best.0) {
            best = (start, end);
        }
    }
    Ok(best.0)
}

/// How many pages of a range of guest memory exist.
fn resident(memory: u64, start: u64, end: u64) -> Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let pages = usize::try_from((end - start) / PAGE)?;
    let mut entries = vec![0; pages * 8];
    std::fs::File::open("/proc/self/pagemap")?
        .read_exact_at(&mut entries, (memory + start) / PAGE * 8)?;
    let (entries, _) = entries.as_chunks::<8>();
    // Bit 63: present (Documentation/admin-guide/mm/pagemap.rst).
    Ok(entries.iter().filter(|entry| u64::from_le_bytes(**entry) >> 63 == 1).count() as u64)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// A TCP client with one connection, which nothing goes wrong with.
struct Client<'a> {
    port: &'a OwnedFd,
    source: u16,
    sequence: u32,
    acknowledged: u32,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

impl<'a> Client<'a> {
    fn new(port: &'a OwnedFd, number: usize) -> Self {
        let source = 40_000 + u16::try_from(number).unwrap_or(0);
        Self { port, source, sequence: 1000, acknowledged: 0 }
    }

    fn request(&mut self) -> Result<[Duration; 2]> {
        let start = Instant::now();
        self.send(SYN, b"")?;
        self.receive_with(SYN)?;
        let syn = start.elapsed();
        // As a kernel does: the acknowledgement, then the request.
        self.send(ACK, b"")?;
        let start = Instant::now();
        self.send(PSH | ACK, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        self.receive_with(FIN)?;
        let get = start.elapsed();
        self.send(FIN | ACK, b"")?;
        self.receive_with(ACK)?;
        Ok([syn, get])
    }

    /// Receives until a segment has this flag.
    fn receive_with(&mut self, flag: u8) -> Result<()> {
        let mut frame = [0; 2048];
        loop {
            let (_, length) = recv(self.port, &mut frame, RecvFlags::empty())?;
            if length < 54 || frame[12..14] != [8, 0] || frame[23] != 6 {
                continue;
            }
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let tcp = &frame[34..14 + total];
            let header = usize::from(tcp[12] >> 4) * 4;
            let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            let length = u32::try_from(tcp.len() - header)?;
            let flags = tcp[13];
            self.acknowledged = sequence.wrapping_add(length + u32::from(flags & (SYN | FIN) != 0));
            if flags & flag != 0 {
                return Ok(());
            }
        }
    }

    fn send(&mut self, flags: u8, text: &[u8]) -> Result<()> {
        let mut tcp = Vec::new();
        tcp.extend(self.source.to_be_bytes());
        tcp.extend(80_u16.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledged.to_be_bytes());
        tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(text);
        let length = u16::try_from(tcp.len())?;
        let mut pseudo = [CLIENT, GUEST].concat();
        pseudo.extend([0, 6]);
        pseudo.extend(length.to_be_bytes());
        pseudo.extend(&tcp);
        tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        let mut ip = vec![0x45, 0];
        ip.extend((length + 20).to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        ip.extend([CLIENT, GUEST].concat());
        let sum = checksum(&ip).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0][..], &ip, &tcp].concat();
        send(self.port, &frame, SendFlags::empty())?;
        let counted = u32::from(flags & (SYN | FIN) != 0) + u32::try_from(text.len())?;
        self.sequence = self.sequence.wrapping_add(counted);
        Ok(())
    }
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}
