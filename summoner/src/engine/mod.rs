//! Engines: what turns an instance's description into a running guest.
//!
//! An engine takes orders at once and tells what became of them by [`EngineEvent`]s, each naming its
//! instance. Two exist: [`hvt`], one monitor process per guest on `/dev/kvm`, and [`fake`], which plays
//! the same part by script so that the orchestrator is tested without a hypervisor.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use policies::stop::StopMode;
use policies::{Generation, Instant, ServiceId};

use crate::image::LoadedImage;

pub use shell::ShellError;

pub mod fake;
pub mod hvt;
mod shell;

/// One instance: which boot of which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId {
    /// The service that the instance serves.
    pub service: ServiceId,
    /// Which of its boots this is.
    pub generation: Generation,
}

/// Everything an engine needs to know to boot an instance.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Who is booted.
    pub id: InstanceId,
    /// What is booted.
    pub image: Arc<LoadedImage>,
    /// Guest memory, in octets; a multiple of 2 MiB.
    pub memory: u64,
    /// The command line that the guest reads, placeholders filled in.
    pub command_line: String,
    /// The link-layer address of the guest's network device.
    pub mac: [u8; 6],
    /// The largest IP packet of the guest's network device, in octets.
    pub mtu: u16,
}

/// What an engine tells about an instance.
#[derive(Debug)]
pub struct EngineEvent {
    /// The instance that it happened to.
    pub instance: InstanceId,
    /// What happened.
    pub what: Happening,
}

/// What can happen to an instance.
#[derive(Debug)]
pub enum Happening {
    /// A shell was found or made for it.
    ShellTaken {
        /// When.
        at: Instant,
        /// Whether the shell was waiting in the pool.
        pooled: bool,
        /// The operating system's number of the monitor process.
        process: u32,
    },
    /// The image is in guest memory.
    Loaded(Instant),
    /// The vCPU runs the guest's first instruction.
    Entered(Instant),
    /// The guest waits for input for the first time.
    Ready(Instant),
    /// The guest wrote to its console.
    Console(Vec<u8>),
    /// The instance's process is gone, and its memory with it. The last event of an instance.
    Exited {
        /// When that was known.
        at: Instant,
        /// How it ended, for people.
        ending: Ending,
    },
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The guest halted by itself.
    Halted {
        /// The status that it gave.
        status: i32,
    },
    /// It was destroyed on our order.
    Destroyed,
    /// Something went wrong; the text is a report, possibly of several lines.
    Failed(String),
}

impl Ending {
    /// The closed set of words for metrics and log fields.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Halted { .. } => "halted",
            Self::Destroyed => "destroyed",
            Self::Failed(_) => "failed",
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Halted { status } => write!(f, "the guest halted with status {status}"),
            Self::Destroyed => f.write_str("destroyed"),
            Self::Failed(report) => f.write_str(report),
        }
    }
}

/// What the orchestrator asks of an engine. Both calls return at once.
pub trait Engine: Send {
    /// Boots an instance; `port` is the guest's end of its network port.
    fn summon(&mut self, spec: InstanceSpec, port: OwnedFd);

    /// Ends an instance. With [`StopMode::Shutdown`] the guest is asked; that it really ends, in time,
    /// is for the caller to watch. Unknown instances are those that ended already: nothing happens.
    fn stop(&mut self, instance: InstanceId, mode: StopMode);
}
