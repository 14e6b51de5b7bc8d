//! Engines: what turns an instance's description into a running guest.
//!
//! An engine takes orders at once and tells what became of them by [`EngineEvent`]s, each naming its
//! instance. Two exist: [`hvt`], one monitor process per guest on `/dev/kvm`, and [`fake`], which plays
//! the same part by script so that the orchestrator is tested without a hypervisor.

use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use monitor::protocol::Stamps;
use policies::stop::StopMode;
use policies::{Generation, Instant, ServiceId};
use serde::{Deserialize, Serialize};

use crate::image::LoadedImage;
use crate::snapshots::SnapshotKey;

pub mod fake;
pub mod hvt;

/// One instance: which boot of which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId {
    /// The service that the instance serves.
    pub service: ServiceId,
    /// Which of its boots this is.
    pub generation: Generation,
}

/// What the instances of a service have in common: everything an engine needs to know to boot one.
#[derive(Debug)]
pub struct Template {
    /// The service.
    pub service: ServiceId,
    /// Its key in the configuration.
    pub name: String,
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
    /// Whether a snapshot is made of the first boot, and used for the next ones.
    pub snapshot: bool,
    /// How its instances end.
    pub stop: StopMode,
    /// What a snapshot of it must be of.
    pub key: SnapshotKey,
}

impl Template {
    /// Whether the image takes it that it is restored more than once: it draws new random numbers then.
    #[must_use]
    pub fn takes_renewal(&self) -> bool {
        self.image.plan.takes.contains(images::Features::RENEWAL)
    }

    /// Whether snapshots of its boots are made and used.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.snapshot && self.takes_renewal()
    }
}

/// An instance to be booted.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Who is booted.
    pub id: InstanceId,
    /// What it has in common with the other instances of its service.
    pub template: Arc<Template>,
}

/// Where the shell of an instance came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellSource {
    /// It was made for it.
    Made,
    /// It was ready, with the image in it.
    Ready,
    /// It had served the service before, and was parked for it.
    Parked,
}

impl ShellSource {
    /// The closed set of words for metrics and log fields.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Ready => "ready",
            Self::Parked => "parked",
        }
    }
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
        /// Where it came from.
        source: ShellSource,
        /// The operating system's number of the monitor process.
        process: u32,
    },
    /// It goes on from a snapshot at which it listens already: frames may be sent to it, although it is not entered yet.
    Restored(Instant),
    /// The guest waits for input for the first time.
    Ready(Stamps),
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
    /// Its state is kept, on our order.
    Suspended,
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
            Self::Suspended => "suspended",
            Self::Failed(_) => "failed",
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Halted { status } => write!(f, "the guest halted with status {status}"),
            Self::Destroyed => f.write_str("destroyed"),
            Self::Suspended => f.write_str("suspended"),
            Self::Failed(report) => f.write_str(report),
        }
    }
}

/// What the orchestrator asks of an engine. All calls return at once.
pub trait Engine: Send {
    /// These are the services, all of them; what can be prepared for their instances may be.
    fn anticipate(&mut self, templates: &[Arc<Template>]);

    /// Boots an instance; `port` is the guest's end of its network port.
    fn summon(&mut self, spec: InstanceSpec, port: OwnedFd);

    /// Nothing that a service's instances have left behind for the next one is used any more.
    fn discard(&mut self, service: ServiceId);

    /// Ends an instance. With [`StopMode::Shutdown`] the guest is asked, with [`StopMode::Suspend`] its state is kept; that
    /// it really ends, in time, is for the caller to watch. Unknown instances are those that ended already: nothing happens.
    fn stop(&mut self, instance: InstanceId, mode: StopMode);
}
