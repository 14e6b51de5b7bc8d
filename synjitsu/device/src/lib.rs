//! The packet path's driver: moves frames between the kernel, the guests' ports and the sans-I/O [`synjitsu::Switch`].
//!
//! ```text
//!   TUN (bulk_tun, offload, tun, netlink) <--> driver, one thread, epoll <--> guest ports (socket pairs, a frame a message)
//!                                                 |
//!                                        synjitsu::Switch
//! ```
//!
//! Everything that touches the system for the packet path's sake is here: devices, addresses, namespaces.

mod bulk_tun;
pub mod datagrams;
mod driver;
mod error;
pub mod faulty;
pub mod guest_port;
pub mod lan;
pub mod namespace;
pub mod netlink;
mod offload;
mod port;
mod relay;
mod tap;
pub mod tcp_info;
mod tun;

pub use bulk_tun::BulkTun;
pub use driver::{Driver, DriverCommand, DriverConfig, DriverHandle};
pub use error::DeviceError;
pub use guest_port::GuestPort;
pub use port::{NetworkPort, Sent};
pub use relay::Relay;
pub use tap::Tap;
pub use tun::Tun;
