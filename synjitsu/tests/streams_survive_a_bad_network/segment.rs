//! TCP segments with all their options, to and from IP packets.
//!
//! Taking one apart is strict: whatever a correct sender would not have built is refused.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{IpSlice, PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

/// What was found wrong, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Refuses with a text unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use ensure;

/// A TCP segment.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    /// As in the header: not scaled.
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// Left and right edges.
    pub(crate) sack: Vec<(u32, u32)>,
    /// Value and echo.
    pub(crate) timestamps: Option<(u32, u32)>,
    /// No-operations before the options: where stacks align them, they differ.
    pub(crate) padding: u8,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// Octets of payload.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.payload.len()).expect("a segment is short")
    }

    /// The sequence numbers that the segment takes.
    pub(crate) fn space(&self) -> u32 {
        self.length() + u32::from(self.syn) + u32::from(self.fin)
    }

    /// Octets of options, with the padding at their end.
    pub(crate) fn options_length(&self) -> usize {
        let blocks = if self.sack.is_empty() { 0 } else { 2 + 8 * self.sack.len() };
        let length = usize::from(self.padding)
            + self.mss.map_or(0, |_| 4)
            + self.window_scale.map_or(0, |_| 3)
            + if self.sack_permitted { 2 } else { 0 }
            + self.timestamps.map_or(0, |_| 10)
            + blocks;
        length.next_multiple_of(4)
    }

    /// Whether this asks for a connection.
    pub(crate) const fn is_first_syn(&self) -> bool {
        self.syn && self.ack.is_none() && !self.rst
    }

    /// What a host without such a connection answers (RFC 9293, section 3.10.7.1).
    pub(crate) fn reset(&self) -> Option<Self> {
        let reset = Self { rst: true, ..Self::default() };
        match self.ack {
            _ if self.rst => None,
            Some(ack) => Some(Self { seq: ack, ..reset }),
            None => Some(Self { ack: Some(self.seq.wrapping_add(self.space())), ..reset }),
        }
    }

    /// The IP packet that carries this from one end to the other.
    pub(crate) fn packet(&self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                PacketBuilder::ipv6(from.octets(), to.octets(), 64)
            }
            _ => panic!("one packet, one family"),
        };
        let mut tcp = ip.tcp(from.port(), to.port(), self.seq, self.window);
        if let Some(ack) = self.ack {
            tcp = tcp.ack(ack);
        }
        if self.syn {
            tcp = tcp.syn();
        }
        if self.fin {
            tcp = tcp.fin();
        }
        if self.rst {
            tcp = tcp.rst();
        }
        if !self.payload.is_empty() {
            tcp = tcp.psh();
        }
        let tcp = tcp.options(&self.options()).expect("the options fit");
        let mut packet = Vec::with_capacity(tcp.size(self.payload.len()));
        tcp.write(&mut packet, &self.payload).expect("a segment fits into a packet");
        packet
    }

    fn options(&self) -> Vec<TcpOptionElement> {
        let mut options = vec![TcpOptionElement::Noop; usize::from(self.padding)];
        options.extend(self.mss.map(TcpOptionElement::MaximumSegmentSize));
        if self.sack_permitted {
            options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
        }
        options
            .extend(self.timestamps.map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)));
        options.extend(self.window_scale.map(TcpOptionElement::WindowScale));
        if let Some((first, more)) = self.sack.split_first() {
            let mut blocks = [None; 3];
            for (to, from) in blocks.iter_mut().zip(more) {
                *to = Some(*from);
            }
            options.push(TcpOptionElement::SelectiveAcknowledgement(*first, blocks));
        }
        options
    }

    /// Takes an IP packet apart: source, destination and what they say.
    pub(crate) fn parse(packet: &[u8]) -> Checked<(SocketAddr, SocketAddr, Self)> {
        let sliced =
            SlicedPacket::from_ip(packet).map_err(|error| format!("no packet: {error}"))?;
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            return Err(format!("not a TCP segment: {packet:?}"));
        };
        let ip = IpSlice::from_slice(packet).map_err(|error| format!("no packet: {error}"))?;
        if let Some(ip) = ip.ipv4() {
            let header = ip.header().to_header();
            ensure!(header.calc_header_checksum() == header.header_checksum, "IP checksum");
            ensure!(usize::from(header.total_len) == packet.len(), "octets after the packet");
            ensure!(header.time_to_live > 1, "hop limit");
        }
        let (source, destination) = (ip.source_addr(), ip.destination_addr());
        let sum = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                tcp.calc_checksum_ipv4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                tcp.calc_checksum_ipv6(source.octets(), destination.octets())
            }
            _ => return Err("two families in one packet".into()),
        };
        ensure!(Ok(tcp.checksum()) == sum, "TCP checksum {:#x}, not {sum:x?}", tcp.checksum());
        ensure!(!tcp.urg() && !tcp.ece() && !tcp.cwr() && !tcp.ns(), "a flag nobody asked for");
        let mut segment = Self {
            seq: tcp.sequence_number(),
            ack: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            window: tcp.window_size(),
            payload: tcp.payload().to_vec(),
            ..Self::default()
        };
        segment.take_options(
            tcp.options_iterator()
                .collect::<Result<_, _>>()
                .map_err(|error| format!("options {:?}: {error}", tcp.options()))?,
        )?;
        let from = SocketAddr::new(source, tcp.source_port());
        Ok((from, SocketAddr::new(destination, tcp.destination_port()), segment))
    }

    fn take_options(&mut self, options: Vec<TcpOptionElement>) -> Checked {
        for option in options {
            match option {
                TcpOptionElement::Noop => {}
                TcpOptionElement::MaximumSegmentSize(mss) => {
                    ensure!(self.syn, "MSS without SYN");
                    ensure!(self.mss.replace(mss).is_none(), "two MSS");
                }
                TcpOptionElement::WindowScale(scale) => {
                    ensure!(self.syn, "window scale without SYN");
                    ensure!(scale <= 14, "window scale {scale}");
                    ensure!(self.window_scale.replace(scale).is_none(), "two window scales");
                }
                TcpOptionElement::SelectiveAcknowledgementPermitted => {
                    ensure!(self.syn, "SACK-permitted without SYN");
                    self.sack_permitted = true;
                }
                TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                    ensure!(!self.syn, "SACK in a SYN");
                    ensure!(self.sack.is_empty(), "two SACK options");
                    self.sack.push(first);
                    self.sack.extend(more.into_iter().flatten());
                }
                TcpOptionElement::Timestamp(value, echo) => {
                    ensure!(self.timestamps.replace((value, echo)).is_none(), "two timestamps");
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [(self.syn, "SYN "), (self.fin, "FIN "), (self.rst, "RST ")];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            out.write_str(name)?;
        }
        write!(out, "seq {}+{}", self.seq, self.payload.len())?;
        if let Some(ack) = self.ack {
            write!(out, " ack {ack}")?;
        }
        write!(out, " win {}", self.window)?;
        if let Some(mss) = self.mss {
            write!(out, " mss {mss}")?;
        }
        if let Some(scale) = self.window_scale {
            write!(out, " wscale {scale}")?;
        }
        if self.sack_permitted {
            write!(out, " sackOK")?;
        }
        if !self.sack.is_empty() {
            write!(out, " sack {:?}", self.sack)?;
        }
        if let Some((value, echo)) = self.timestamps {
            write!(out, " ts {value}/{echo}")?;
        }
        Ok(())
    }
}
