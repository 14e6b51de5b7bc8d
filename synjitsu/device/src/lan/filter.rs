//! The classic BPF program that keeps everything from a packet socket that is not for a service.
//!
//! It runs in the kernel for each frame on the interface, those of the host's own traffic too, so that only what passes it
//! costs the daemon anything. It is no guard: the core looks at everything again.

use std::net::IpAddr;

use libc::sock_filter;
use synjitsu::lan::{Mac, Prefix};

/// As many addresses of a family are looked for one by one; of more than that, their prefixes.
pub(super) const EXACT: usize = 64;

/// All of a frame, however long.
const PASS: u32 = u32::MAX;
const DROP: u32 = 0;

// Instructions, and where the kernel keeps what is not in the frame (linux/filter.h, linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const ANCILLARY: u32 = 0xffff_f000;
const PACKET_TYPE: u32 = ANCILLARY + 4;
const VLAN_TAG: u32 = ANCILLARY + 44;
const VLAN_TAG_PRESENT: u32 = ANCILLARY + 48;
/// `PACKET_OUTGOING`, of the packet type.
const OUTGOING: u32 = 4;

const ETHER_TYPE: u32 = 12;
const ARP: u32 = 0x0806;
const ARP_SENDER: u32 = 14 + 14;
const ARP_TARGET: u32 = 14 + 24;
const IPV4: u32 = 0x0800;
const IPV4_DESTINATION: u32 = 14 + 16;
const IPV6: u32 = 0x86dd;
const IPV6_NEXT_HEADER: u32 = 14 + 6;
const IPV6_DESTINATION: u32 = 14 + 24;

/// The program that passes what is for `addresses`, sent to `mac` or to a group that concerns them.
pub(super) fn program(mac: Mac, addresses: &[IpAddr], prefixes: &[Prefix]) -> Vec<sock_filter> {
    let four = Wanted::of(addresses, prefixes, IpAddr::is_ipv4);
    let six = Wanted::of(addresses, prefixes, IpAddr::is_ipv6);
    let mut program = Program::default();
    // Older kernels deliver the host's own frames, whatever they are asked.
    program.load(LOAD_WORD, PACKET_TYPE);
    program.drop_if(OUTGOING);
    // A frame of a virtual LAN looks like one without. Number 0 means none, but a priority (IEEE 802.1Q).
    program.load(LOAD_WORD, VLAN_TAG_PRESENT);
    program.push(JUMP_IF_EQUAL, 4, 0, 0);
    program.load(LOAD_WORD, VLAN_TAG);
    program.push(AND, 0, 0, 0xfff);
    program.drop_unless(0);

    program.load(LOAD_HALF, ETHER_TYPE);
    let not_arp = program.jump_unless(ARP);
    program.load(LOAD_OCTET, 0);
    program.push(AND, 0, 0, 1);
    let group = program.jump_unless(0);
    program.drop_unless_to(mac);
    program.land(group);
    four.pass_if_at(&mut program, ARP_TARGET);
    four.pass_if_at(&mut program, ARP_SENDER);
    program.finish(DROP);

    program.land(not_arp);
    program.load(LOAD_HALF, ETHER_TYPE);
    let not_ipv4 = program.jump_unless(IPV4);
    program.drop_unless_to(mac);
    four.pass_if_at(&mut program, IPV4_DESTINATION);
    program.finish(DROP);

    program.land(not_ipv4);
    program.load(LOAD_HALF, ETHER_TYPE);
    program.drop_unless(IPV6);
    program.load(LOAD_HALF, 0);
    let station = program.jump_unless(0x3333);
    six.pass_groups(&mut program);
    program.finish(DROP);
    program.land(station);
    program.drop_unless_to(mac);
    six.pass_if_at(&mut program, IPV6_DESTINATION);
    program.finish(DROP);
    program.0
}

/// Addresses of one family, as words in network order.
enum Wanted {
    Exactly(Vec<Vec<u32>>),
    /// Words and masks.
    Within(Vec<Vec<(u32, u32)>>),
}

impl Wanted {
    fn of(addresses: &[IpAddr], prefixes: &[Prefix], family: fn(&IpAddr) -> bool) -> Self {
        let exact: Vec<_> = addresses.iter().filter(|address| family(address)).collect();
        if exact.len() <= EXACT {
            return Self::Exactly(exact.into_iter().map(|address| words(*address)).collect());
        }
        let masked = |prefix: &Prefix| {
            let bits = u32::from(prefix.length());
            let words = words(prefix.address()).into_iter().zip(0_u32..);
            let mask = |word: u32| {
                let left = bits.saturating_sub(word * 32).min(32);
                u32::MAX.checked_shl(32 - left).unwrap_or(0)
            };
            words.map(|(word, number)| (word, mask(number))).collect()
        };
        Self::Within(prefixes.iter().filter(|net| family(&net.address())).map(masked).collect())
    }

    /// Passes the frame if a wanted address is `at` there; goes on if not.
    fn pass_if_at(&self, program: &mut Program, at: u32) {
        let all = |word: &u32| (*word, u32::MAX);
        let rows: Vec<Vec<(u32, u32)>> = match self {
            Self::Exactly(addresses) => {
                addresses.iter().map(|words| words.iter().map(all).collect()).collect()
            }
            Self::Within(prefixes) => prefixes.clone(),
        };
        for row in rows {
            // The last word first: it is where addresses of one prefix differ.
            let mut others = Vec::new();
            let placed: Vec<_> = row.into_iter().zip((at..).step_by(4)).collect();
            for ((word, mask), offset) in placed.into_iter().rev() {
                if mask == 0 {
                    continue;
                }
                program.load(LOAD_WORD, offset);
                if mask != u32::MAX {
                    program.push(AND, 0, 0, mask);
                }
                others.push(program.jump_unless(word));
            }
            program.finish(PASS);
            for other in others {
                program.land(other);
            }
        }
    }

    /// Passes what is sent to the groups in which addresses are looked for, and messages about them to everybody.
    fn pass_groups(&self, program: &mut Program) {
        let nobody = matches!(self, Self::Exactly(addresses) if addresses.is_empty());
        if nobody {
            return;
        }
        // ff02::1:ff00:0/104 and ff02::1.
        for (offset, word) in [(0, 0xff02_0000), (4, 0)] {
            program.load(LOAD_WORD, IPV6_DESTINATION + offset);
            program.drop_unless(word);
        }
        program.load(LOAD_WORD, IPV6_DESTINATION + 8);
        let everybody = program.jump_unless(1);
        program.load(LOAD_WORD, IPV6_DESTINATION + 12);
        match self {
            Self::Exactly(addresses) => {
                for last in addresses.iter().filter_map(|words| words.last()) {
                    program.pass_if(0xff00_0000 | last & 0xff_ffff);
                }
            }
            Self::Within(_) => {
                program.push(AND, 0, 0, 0xff00_0000);
                program.pass_if(0xff00_0000);
            }
        }
        program.finish(DROP);
        program.land(everybody);
        program.drop_unless(0);
        program.load(LOAD_WORD, IPV6_DESTINATION + 12);
        program.drop_unless(1);
        program.load(LOAD_OCTET, IPV6_NEXT_HEADER);
        // ICMPv6; and hop-by-hop options, by which routers ask for groups (RFC 3810).
        program.pass_if(58);
        program.pass_if(0);
    }
}

fn words(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => {
            let word = |four: &[u8]| u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
            address.octets().chunks_exact(4).map(word).collect()
        }
    }
}

/// A jump whose goal is not known yet.
#[must_use]
struct Jump(usize);

#[derive(Default)]
struct Program(Vec<sock_filter>);

impl Program {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.0.push(sock_filter { code, jt, jf, k });
    }

    fn load(&mut self, size: u16, at: u32) {
        self.push(size, 0, 0, at);
    }

    fn finish(&mut self, verdict: u32) {
        self.push(RETURN, 0, 0, verdict);
    }

    fn drop_if(&mut self, value: u32) {
        self.push(JUMP_IF_EQUAL, 0, 1, value);
        self.finish(DROP);
    }

    fn drop_unless(&mut self, value: u32) {
        self.push(JUMP_IF_EQUAL, 1, 0, value);
        self.finish(DROP);
    }

    fn pass_if(&mut self, value: u32) {
        self.push(JUMP_IF_EQUAL, 0, 1, value);
        self.finish(PASS);
    }

    fn drop_unless_to(&mut self, mac: Mac) {
        let [a, b, c, d, e, f] = mac;
        self.load(LOAD_WORD, 0);
        self.drop_unless(u32::from_be_bytes([a, b, c, d]));
        self.load(LOAD_HALF, 4);
        self.drop_unless(u32::from(u16::from_be_bytes([e, f])));
    }

    /// A conditional jump reaches 255 instructions only, this one all of them.
    fn jump_unless(&mut self, value: u32) -> Jump {
        self.push(JUMP_IF_EQUAL, 1, 0, value);
        self.push(JUMP, 0, 0, 0);
        Jump(self.0.len() - 1)
    }

    fn land(&mut self, jump: Jump) {
        let distance = self.0.len() - jump.0 - 1;
        self.0[jump.0].k = u32::try_from(distance).expect("a program is short");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = [2, 0x47, 1, 2, 3, 4];
    const OTHER: Mac = [2, 0, 0, 0, 0, 9];
    const BROADCAST: Mac = [0xff; 6];
    /// BPF_MAXINSNS
    const LONGEST: usize = 4096;

    /// What the kernel would say about a frame with such a tag; loads beyond the end drop it.
    fn run(program: &[sock_filter], frame: &[u8], tag: Option<u32>, kind: u32) -> bool {
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let octets = |count: usize| {
                let start = usize::try_from(k).unwrap();
                let part = frame.get(start..start + count)?;
                Some(part.iter().fold(0, |word, octet| word << 8 | u32::from(*octet)))
            };
            let value = match (code, k) {
                (LOAD_WORD, PACKET_TYPE) => Some(kind),
                (LOAD_WORD, VLAN_TAG_PRESENT) => Some(u32::from(tag.is_some())),
                (LOAD_WORD, VLAN_TAG) => Some(tag.unwrap_or(0)),
                (LOAD_WORD, _) => octets(4),
                (LOAD_HALF, _) => octets(2),
                (LOAD_OCTET, _) => octets(1),
                (AND, _) => Some(accumulator & k),
                (JUMP, _) => {
                    at += usize::try_from(k).unwrap();
                    continue;
                }
                (JUMP_IF_EQUAL, _) => {
                    at += usize::from(if accumulator == k { jt } else { jf });
                    continue;
                }
                (RETURN, _) => return k != DROP,
                _ => panic!("unknown instruction {code:#x}"),
            };
            match value {
                Some(value) => accumulator = value,
                None => return false,
            }
        }
    }

    fn frame(to: Mac, kind: u32, payload: &[u8]) -> Vec<u8> {
        let kind = u16::try_from(kind).unwrap().to_be_bytes();
        [&to, &OTHER, &kind[..], payload].concat()
    }

    fn arp(to: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let mut payload = [0; 28];
        payload[14..18].copy_from_slice(&sender.octets());
        payload[24..28].copy_from_slice(&target.octets());
        frame(to, ARP, &payload)
    }

    fn ip(to: Mac, destination: IpAddr, next: u8) -> Vec<u8> {
        let mut payload = [0; 60];
        match destination {
            IpAddr::V4(address) => {
                payload[16..20].copy_from_slice(&address.octets());
                frame(to, IPV4, &payload)
            }
            IpAddr::V6(address) => {
                payload[6] = next;
                payload[24..40].copy_from_slice(&address.octets());
                frame(to, IPV6, &payload)
            }
        }
    }

    fn addresses(count: u16) -> Vec<IpAddr> {
        let four = (0..count).map(|number| IpAddr::from([10, 0, 1, number.to_be_bytes()[1]]));
        let six = (0..count).map(|n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x77, n).into());
        four.chain(six).collect()
    }

    fn prefixes() -> Vec<Prefix> {
        let prefix = |text: &str, length| Prefix::new(text.parse().unwrap(), length).unwrap();
        vec![prefix("10.0.1.0", 24), prefix("fd00::", 64)]
    }

    #[test]
    fn only_what_is_ours_passes() {
        for count in [1, 64, 65, 200] {
            let all = addresses(count);
            let program = program(OURS, &all, &prefixes());
            assert!(program.len() <= LONGEST, "{} instructions", program.len());
            let passes = |frame: &[u8]| run(&program, frame, None, 0);
            let group = |low: u8| [0x33, 0x33, 0xff, 0x77, 0, low];
            for address in &all {
                assert!(passes(&ip(OURS, *address, 6)));
                assert!(!passes(&ip(OTHER, *address, 6)), "another station's");
                assert!(!run(&program, &ip(OURS, *address, 6), Some(0x2007), 0), "a virtual LAN's");
                assert!(run(&program, &ip(OURS, *address, 6), Some(0x2000), 0), "only a priority");
                assert!(!run(&program, &ip(OURS, *address, 6), None, OUTGOING));
                match address {
                    IpAddr::V4(ours) => {
                        assert!(passes(&arp(BROADCAST, [10, 0, 7, 9].into(), *ours)));
                        assert!(passes(&arp(OURS, [10, 0, 7, 9].into(), *ours)));
                        assert!(passes(&arp(BROADCAST, *ours, [10, 0, 7, 9].into())), "a claim");
                        assert!(!passes(&arp(OTHER, [10, 0, 7, 9].into(), *ours)));
                        assert!(!passes(&ip(BROADCAST, *address, 6)));
                    }
                    IpAddr::V6(ours) => {
                        let low = ours.octets()[15];
                        let asked: Ipv6Addr = format!("ff02::1:ff77:{low:x}").parse().unwrap();
                        assert!(passes(&ip(group(low), asked.into(), 58)));
                    }
                }
            }
            let all_nodes: IpAddr = "ff02::1".parse().unwrap();
            assert!(passes(&ip([0x33, 0x33, 0, 0, 0, 1], all_nodes, 58)));
            assert!(!passes(&ip([0x33, 0x33, 0, 0, 0, 1], all_nodes, 17)));
            for foreign in ["10.0.2.1", "fd01::77:1", "ff02::fb", "ff02::1:2", "ff05::1"] {
                let foreign = foreign.parse().unwrap();
                assert!(!passes(&ip(OURS, foreign, 58)), "{foreign}");
                assert!(!passes(&ip([0x33, 0x33, 0, 0, 0, 0xfb], foreign, 58)), "{foreign}");
            }
            assert!(!passes(&arp(BROADCAST, [10, 0, 7, 9].into(), [10, 0, 7, 1].into())));
            assert!(!passes(&frame(OURS, 0x88cc, &[0; 60])));
        }
    }

    #[test]
    fn few_are_known_one_by_one_and_nobody_not_at_all() {
        let two = program(OURS, &addresses(2), &prefixes());
        assert!(!run(&two, &ip(OURS, "10.0.1.9".parse().unwrap(), 6), None, 0));
        assert!(!run(&two, &ip(OURS, "fd00::77:9".parse().unwrap(), 6), None, 0));
        let none = program(OURS, &[], &prefixes());
        for address in addresses(3) {
            assert!(!run(&none, &ip(OURS, address, 6), None, 0));
        }
        assert!(!run(
            &none,
            &ip([0x33, 0x33, 0, 0, 0, 1], "ff02::1".parse().unwrap(), 58),
            None,
            0
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_frame_gets_a_verdict(octets in proptest::collection::vec(any::<u8>(), 0..80), count in 0..80_u16) {
            let program = program(OURS, &addresses(count), &prefixes());
            let _ = run(&program, &octets, None, 0);
        }
    }
}
