//! The uplink on an Ethernet segment that others live on too.
//!
//! ```text
//!   interface --> filter (BPF) --> packet socket --> offload --> synjitsu::lan::Lan --> bare IP packets --> switch
//!                                                                     ^ ^
//!                                            link watch (rtnetlink) --+ +-- LanHandle: which services there are
//! ```
//!
//! [`LanPort`] is a [`NetworkPort`](crate::NetworkPort), so the loop around the switch takes it like a TUN device. What else
//! it waits for (its timers, what it is told, whether the cable is in) is behind the same descriptor.
//!
//! # Beside the host's own stack
//!
//! Nothing of the host's is changed: not its addresses, not its routes, not its neighbours. The services have a link-layer
//! address of their own, so the host's stack does not take their packets for its own: it would forward them, or answer that
//! they cannot be, where forwarding is on. Where only one address per station is possible (Wi-Fi), theirs is the
//! interface's; the host must not forward between its interfaces then. Either way the host itself does not reach them by this
//! interface, as what it sends does not come back to it (macvlan has the same limit).
//!
//! # Frames that were never on a wire
//!
//! See [`offload`](synjitsu::lan::offload): the socket asks the kernel to say what a sender left to its card
//! (`PACKET_VNET_HDR`), and completes it.

mod error;
mod filter;
mod handle;
mod interface;
mod port;
mod socket;
mod watch;

use std::net::IpAddr;

use synjitsu::lan::{LanEvent, Prefix};

pub use error::LanError;
pub use handle::LanHandle;
pub use port::LanPort;

/// How to attach to a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanSettings {
    /// The interface's name.
    pub interface: String,
    /// Where the services are.
    pub mac: ServicesMac,
    /// What is reached on the segment without a router.
    pub on_link: Vec<Prefix>,
    /// Routers to everything else; `None` for those that the host itself uses through the interface, whatever they are.
    pub gateways: Option<Vec<IpAddr>>,
    /// The longest packet of the services.
    pub mtu: u16,
}

/// Which link-layer address the services have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServicesMac {
    /// Their own, but the interface's on Wi-Fi.
    Auto,
    /// One of their own, always the same for an interface.
    Own,
    /// The interface's.
    Interface,
}

/// What the owner should know.
#[derive(Debug)]
pub enum LanReport {
    /// About an address on the segment.
    Segment(LanEvent),
    /// A service has an address that is the host's own; it cannot be used.
    HostHasIt {
        /// Which.
        address: IpAddr,
    },
    /// The interface carries frames again; the addresses are probed and announced.
    LinkUp,
    /// The interface carries no frames.
    LinkDown,
    /// Something did not work; it is tried again when the interface changes.
    Trouble(LanError),
}
