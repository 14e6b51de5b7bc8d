//! The packet path's core: holds the first packets of clients while a guest boots, replays them when it
//! listens, and otherwise carries packets between the uplink and the guests.
//!
//! [`Switch`] is a value without I/O, clock, lock or thread. A driver hands in frames and commands together
//! with the time, takes what is to be sent by its [`FrameSink`], fetches [`Event`]s, and comes back at
//! [`Switch::poll_timeout`]. The uplink carries bare IP packets, a guest's port Ethernet frames.
//!
//! # A port
//!
//! Each service has a port. While it is closed, the switch alone answers the service's clients; while it is
//! open for a generation, the guest of that boot does, and only its frames are taken. [`Command::Open`] is the
//! commit point between the two, and a command or frame of an older generation changes nothing.
//!
//! # A TCP flow
//!
//! In mode [`HoldMode::Syn`]:
//!
//! ```text
//!                    SYN, port closed                       SYN, port open,
//!                           |                               guest not seen listening
//!                           v            Open                      |
//!     wake <------------ waiting -------------------> replayed <---+
//!     (once a second)       ^  |                       |  |  ^ |
//!                           |  |      Close            |  |  | | RST or silence of the guest:
//!                           +--|-----------------------+  |  +-+ not shown, SYN given to it again
//!                              |                          |
//!       hold time over: RST <--+---> client's RST:        | SYN-ACK of the guest passes untouched
//!       Expired or Refused     |     ClientGone           v
//!                              |                       tracked ----> both FINs acknowledged, a RST,
//!       another ISN: replaced -+                          |          or silence (RFC 5382)
//!       ClientGone                                        |
//!                                                         +--------> Close: RST to the client
//! ```
//!
//! In mode [`HoldMode::Handshake`] the client is answered when its flow begins to wait, and shown to the guest only when it has
//! answered in turn. The guest's SYN-ACK is not passed on: what the client has sent is relayed until the guest
//! has it all, and the tracked flow is translated by constants from then on. If there is no room, or too many clients have not
//! answered, a cookie takes the place of the waiting flow.
//!
//! Exactly one side answers a client at any time: the switch for `waiting` and `replayed` flows, the guest for `tracked` ones.
//! A SYN to a port on which the guest was seen to
//! listen, or that has been open for longer than the hold time, is not held: it goes to the guest, and a RST
//! is the guest's own word. A copy of it is kept until the guest has answered; if the port closes before, it is
//! `waiting` for the next instance. Only a guest with many half-open connections gets none that may be forged.
//!
//! The first flow of each instance has its milestones told, whether it was held or not.
//!
//! UDP datagrams and echo requests for a closed port are kept too, and given to the guest once. Everything
//! that is kept is bounded, per service, per source prefix and in total, by number and by octets.
//!
//! # Required reading
//!
//! RFC 9293 (TCP; 3.4 sequence numbers, 3.10.7 segment arrives), RFC 5961 (blind attacks), RFC 4987 (SYN cookies), RFC 6528
//! (initial sequence numbers), RFC 1624 (checksums), RFC 5382 (how long to remember a connection), RFC 826 and 4861 (neighbours). Holding a SYN for a server that boots comes from Jitsu's Synjitsu (NSDI'15).

#![forbid(unsafe_code)]

mod budget;
mod config;
mod counters;
mod event;
mod flow;
mod frame;
mod handshake;
mod hold;
mod icmp;
pub mod lan;
mod neighbour;
mod port;
mod replay;
mod reset;
mod seq;
mod shared;
mod sink;
mod switch;
mod tcp;
mod timer;

pub use config::{HoldLimits, HoldMode, HoldPolicy, Overflow, ServicePort, SwitchConfig};
pub use counters::Counters;
pub use event::{Command, Event, HoldOutcome, MilestoneKind, Trigger};
pub use sink::{FrameSink, PortId};
pub use switch::Switch;
