//! What can go wrong with a segment.

use std::io;

use crate::DeviceError;

/// Why the services cannot be attached to a segment.
#[derive(Debug, thiserror::Error)]
pub enum LanError {
    /// There is no such interface.
    #[error(
        "there is no network interface `{name}`; there are {others}: correct `network.attach`, or plug it in"
    )]
    NoInterface {
        /// Its name.
        name: String,
        /// Those that there are.
        others: String,
    },
    /// It has no Ethernet addresses.
    #[error(
        "the interface `{name}` is not an Ethernet one ({kind}); `network.attach` needs a wired or wireless network card, a \
         bridge, or the like"
    )]
    NotEthernet {
        /// Its name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// Its frames belong to another interface.
    #[error(
        "the interface `{name}` is a port of a {kind}: attach to that one instead, it has what comes in here"
    )]
    Port {
        /// Its name.
        name: String,
        /// Of what.
        kind: String,
    },
    /// It carries shorter packets only.
    #[error(
        "the interface `{name}` carries packets of up to {has} octets, and `network.mtu` is {wanted}; set it to {has} or less"
    )]
    Mtu {
        /// Its name.
        name: String,
        /// The configured one.
        wanted: u16,
        /// Its own.
        has: u32,
    },
    /// The kernel does not let this process have the interface's frames.
    #[error(
        "cannot open a packet socket on `{name}`: run as root, or with CAP_NET_RAW (setcap cap_net_raw,cap_net_admin+ep; \
         AmbientCapabilities= in a systemd unit)"
    )]
    Permission {
        /// The interface.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The packet socket cannot be set up.
    #[error("cannot attach to the interface `{name}`: {what}")]
    Socket {
        /// The interface.
        name: String,
        /// Which step failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel did not answer a question about it.
    #[error("cannot look up the interface `{name}`")]
    LookUp {
        /// Its name.
        name: String,
        /// Why.
        source: DeviceError,
    },
}
