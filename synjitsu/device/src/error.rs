//! What can go wrong with devices and namespaces.

use std::io;
use std::net::IpAddr;

/// Why something about the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// `/dev/net/tun` cannot be opened.
    #[error(
        "cannot open /dev/net/tun; the kernel needs TUN support (modprobe tun), and the user access to it"
    )]
    OpenTun(#[source] io::Error),
    /// The TUN device cannot be made.
    #[error("cannot make the TUN device `{name}`: {reason}")]
    MakeTun {
        /// Its name.
        name: String,
        /// What to do about it.
        reason: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The name cannot be a device's.
    #[error("`{0}` cannot be the name of a network device: it must have 1 to 15 octets and no NUL")]
    Name(String),
    /// A request to the kernel's routing socket failed.
    #[error("the kernel refused to {what} (needs root, or CAP_NET_ADMIN in the network namespace)")]
    Netlink {
        /// What was asked for.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel answered something else than expected.
    #[error("the kernel's answer to the request to {what} cannot be understood: {found}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What came.
        found: String,
    },
    /// There is no device of that name.
    #[error("there is no network device `{0}`")]
    NoDevice(String),
    /// An address has an impossible prefix length.
    #[error("{address}/{prefix_len} is no address with a prefix length")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// The length.
        prefix_len: u8,
    },
    /// No network namespace can be made.
    #[error("cannot make a network namespace; run as root")]
    Namespace(#[source] io::Error),
    /// A network namespace cannot be entered.
    #[error("cannot enter a network namespace that this process made")]
    EnterNamespace(#[source] io::Error),
    /// No user namespace can be made.
    #[error(
        "cannot make a user and network namespace; run as root, or allow user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    UserNamespace(#[source] io::Error),
    /// The mapping of users cannot be written.
    #[error("cannot write {file}; are user namespaces restricted?")]
    UserMap {
        /// The file.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A guest's port cannot be made.
    #[error("cannot make a guest's port; is the limit on open files (ulimit -n) reached?")]
    GuestPort(#[source] io::Error),
    /// A link between ports cannot be made.
    #[error("cannot make a link between two ports: {what}")]
    Link {
        /// Which part.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The driver's thread cannot be set up.
    #[error("cannot start the packet path's thread: {what}")]
    Driver {
        /// Which part.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
