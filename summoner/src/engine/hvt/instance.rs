//! One instance: its shell, from the boot request to the end of the process, or back to the stock.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use monitor::protocol::{self, BootRequest, Report, Request, Start};
use policies::stop::StopMode;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::shell::{Shell, ShellError};
use super::stock::Kind;
use super::{Order, Shared};
use crate::clock::now;
use crate::engine::{Ending, EngineEvent, Happening, InstanceSpec, ShellSource};
use crate::snapshots::{self, Reason, Snapshot};

/// How long a guest at rest may take to be put back before its shell is given up. Only a guest that spins takes any time.
const RECYCLING: Duration = Duration::from_millis(500);

/// Counts the instances that boot; the stock is not refilled meanwhile.
#[derive(Debug)]
pub(super) struct Booting(Option<Arc<Shared>>);

impl Booting {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(Some(shared))
    }

    fn settle(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.lock().booting -= 1;
            shared.refill.notify_one();
        }
    }
}

impl Drop for Booting {
    fn drop(&mut self) {
        self.settle();
    }
}

/// What an instance needs besides its shell.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) spec: InstanceSpec,
    pub(super) shared: Arc<Shared>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) booting: Booting,
    /// The guest's end of its port: kept until the guest is ready, so that a snapshot that fails loses no frame.
    pub(super) port: Option<OwnedFd>,
    /// Where its state goes when it is captured, and what as.
    pub(super) capture: Option<(OwnedFd, snapshots::Kind)>,
    /// The snapshot that it was started from.
    pub(super) origin: Option<snapshots::Kind>,
    /// It can be put back to the state that it started from.
    pub(super) is_recyclable: bool,
    pub(super) is_ready: bool,
}

impl Instance {
    /// Sends the boot request to a shell, with everything that belongs to it.
    pub(super) fn send_boot(
        &mut self,
        shell: &Shell,
        source: ShellSource,
        snapshot: Option<&Snapshot>,
    ) -> Result<(), ShellError> {
        let taken = Happening::ShellTaken { at: now(), source, process: shell.process() };
        let template = &self.spec.template;
        let start = match (source, snapshot) {
            (ShellSource::Parked, _) => Start::Parked,
            (_, Some(snapshot)) => Start::Snapshot { offset: snapshot.body_offset },
            (_, None) if template.wants_snapshot() => {
                let file = memfd_create("capture", MemfdFlags::CLOEXEC)
                    .map_err(|error| ShellError::File(error.into()))?;
                self.capture = Some((file, snapshots::Kind::Ready));
                Start::ImageAndCapture
            }
            (_, None) => Start::Image,
        };
        let mut entropy = [0; 32];
        crate::entropy::fill(&mut entropy);
        let request = Request::Boot(BootRequest {
            start,
            command_line: template.command_line.clone(),
            mac: template.mac,
            mtu: template.mtu,
            generation: self.spec.id.generation.0,
            entropy,
        });
        let file = match start {
            Start::Snapshot { .. } => snapshot.map(|snapshot| snapshot.file.as_fd()),
            Start::ImageAndCapture => self.capture.as_ref().map(|(file, _)| file.as_fd()),
            Start::Image | Start::Parked => None,
        };
        let port = self.port.as_ref().map(AsFd::as_fd);
        let descriptors: Vec<_> = port.into_iter().chain(file).collect();
        shell.try_send(&request, &descriptors)?;
        self.origin = match start {
            Start::Snapshot { .. } => snapshot.map(|snapshot| snapshot.kind),
            Start::Parked => Some(snapshots::Kind::Ready),
            Start::Image | Start::ImageAndCapture => None,
        };
        self.is_recyclable = self.origin.is_some();
        self.tell_now(taken);
        if self.origin.is_some() {
            // It stands where it listens already: frames may be sent from now on.
            self.tell_now(Happening::Restored(now()));
        }
        Ok(())
    }

    /// Runs it to its end, from a shell that has its boot request, or without one yet.
    pub(super) async fn run(mut self, shell: Option<Shell>, snapshot: Option<Snapshot>) {
        let ending = match self.live(shell, snapshot).await {
            Ok(ending) => ending,
            Err(error) => Ending::Failed(crate::report(&error)),
        };
        self.booting.settle();
        self.tell(Happening::Exited { at: now(), ending }).await;
        self.shared.forget(self.spec.id);
    }

    async fn live(
        &mut self,
        shell: Option<Shell>,
        snapshot: Option<Snapshot>,
    ) -> Result<Ending, ShellError> {
        let shell = match shell {
            Some(shell) => shell,
            None => match self.make_shell().await? {
                Some(shell) => {
                    self.send_boot(&shell, ShellSource::Made, snapshot.as_ref())?;
                    shell
                }
                None => return Ok(Ending::Destroyed),
            },
        };
        let ending = self.watch(shell).await;
        let Some(origin) = self.origin else { return Ok(ending) };
        if self.is_ready || matches!(ending, Ending::Destroyed) {
            return Ok(ending);
        }
        // A clone that did not come as far as its snapshot had been: whatever is wrong, it is the snapshot's fault. The port
        // still has every frame that was sent to it.
        let name = &self.spec.template.name;
        warn!(service = name, report = %ending, "the guest does not start from its snapshot; it boots from its image");
        let rejected = self.shared.store.reject(name, origin, Reason::Refused);
        self.shared.metrics.snapshot_rejected(&rejected);
        let Some(shell) = self.make_shell().await? else { return Ok(Ending::Destroyed) };
        self.send_boot(&shell, ShellSource::Made, None)?;
        Ok(self.watch(shell).await)
    }

    /// Makes and prepares a shell. `None`: stopped before there was one.
    async fn make_shell(&mut self) -> Result<Option<Shell>, ShellError> {
        let kind = Kind::of(&self.spec.template);
        tokio::select! {
            shell = self.shared.zygote.make(&kind) => shell.map(Some),
            // Whatever else it is told, it is to end some time.
            () = async { while !matches!(self.orders.recv().await, Some(Order::Stop(_)) | None) {} } => Ok(None),
        }
    }

    /// Passes on what the monitor reports until its process is gone or parked.
    async fn watch(&mut self, mut shell: Shell) -> Ending {
        let mut ending = None;
        // The guest is to be put back, or kept; when it must have been done.
        let mut leaving: Option<tokio::time::Instant> = None;
        loop {
            let deadline = async {
                match leaving {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = shell.next_report() => match report {
                    Ok(Some(Report::Parked)) => {
                        self.park(shell);
                        return Ending::Destroyed;
                    }
                    Ok(Some(report)) => {
                        if let Some(end) = self.pass_on(report).await {
                            ending = Some(end);
                        }
                    }
                    // The socket is closed: the process is ending or has ended.
                    Ok(None) => break,
                    Err(error) => {
                        ending = Some(Ending::Failed(crate::report(&error)));
                        break;
                    }
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Discard => {
                        // Nor is what it captures from now on of any use.
                        self.is_recyclable = false;
                        self.capture = None;
                        if leaving.take().is_some() {
                            ending = Some(Ending::Destroyed);
                            shell.kill();
                        }
                    }
                    Order::Stop(mode) => {
                        let told = self.stop(mode, &mut shell, &mut leaving, &mut ending);
                        if let Err(error) = told {
                            // If the monitor cannot be told, the caller's grace period ends it.
                            warn!(error = %crate::report(&error), "the guest cannot be told to end");
                        }
                    }
                },
                () = deadline => {
                    leaving = None;
                    ending = Some(Ending::Destroyed);
                    shell.kill();
                }
            }
        }
        // The process has given up its socket and has nothing more to say.
        shell.kill();
        let status = shell.wait().await;
        ending.unwrap_or_else(|| {
            Ending::Failed(format!("the monitor ended without a report ({status})"))
        })
    }

    fn stop(
        &mut self,
        mode: StopMode,
        shell: &mut Shell,
        leaving: &mut Option<tokio::time::Instant>,
        ending: &mut Option<Ending>,
    ) -> Result<(), ShellError> {
        match mode {
            StopMode::Shutdown { .. } => shell.try_send(&Request::Shutdown, &[]),
            StopMode::Suspend { .. } if self.is_ready && self.spec.template.takes_renewal() => {
                let file = memfd_create("suspended", MemfdFlags::CLOEXEC)
                    .map_err(|error| ShellError::File(error.into()))?;
                shell.try_send(&Request::Suspend, &[file.as_fd()])?;
                self.capture = Some((file, snapshots::Kind::Suspended));
                Ok(())
            }
            StopMode::Destroy if self.may_park() && leaving.is_none() => {
                *leaving = Some(tokio::time::Instant::now() + RECYCLING);
                shell.try_send(&Request::Recycle, &[])
            }
            StopMode::Destroy | StopMode::Suspend { .. } => {
                *ending = Some(Ending::Destroyed);
                shell.kill();
                Ok(())
            }
        }
    }

    fn may_park(&self) -> bool {
        let keeps_state = matches!(self.spec.template.stop, StopMode::Suspend { .. });
        self.is_ready && self.is_recyclable && !keeps_state && self.shared.lock().parks()
    }

    fn park(&mut self, shell: Shell) {
        let template = &self.spec.template;
        let mut stock = self.shared.lock();
        let dismissed = stock.park(template.service, template.key, shell, now());
        drop(stock);
        // Ends the process of whoever had to go.
        drop(dismissed);
    }

    async fn pass_on(&mut self, report: Report) -> Option<Ending> {
        let what = match report {
            Report::ShellReady { .. } | Report::Prepared | Report::Parked => return None,
            Report::Ready(stamps) => {
                self.is_ready = true;
                self.port = None;
                self.booting.settle();
                Happening::Ready(stamps)
            }
            Report::Captured { length } => {
                self.keep(length).await;
                return None;
            }
            Report::Console(text) => Happening::Console(text),
            Report::Ended(protocol::Ending::Halted { status, .. }) => {
                return Some(Ending::Halted { status });
            }
            Report::Ended(protocol::Ending::Suspended) => return Some(Ending::Suspended),
            Report::Ended(other) => return Some(Ending::Failed(other.to_string())),
        };
        self.tell(what).await;
        None
    }

    /// Has the store keep what the monitor has captured.
    async fn keep(&mut self, length: u64) {
        let Some((file, kind)) = self.capture.take() else { return };
        let template = self.spec.template.clone();
        if length == 0 {
            warn!(
                service = template.name,
                "the guest's state could not be captured; it boots from its image again"
            );
            return;
        }
        let shared = self.shared.clone();
        let saved = tokio::task::spawn_blocking(move || {
            shared.store.save(&template.name, &template.key, kind, file.as_fd(), length)
        });
        let name = &self.spec.template.name;
        match saved.await {
            Ok(Ok(_)) => {
                self.is_recyclable |= kind == snapshots::Kind::Ready;
                self.shared.metrics.snapshots_kept.with_label_values(&[kind.label()]).inc();
                info!(service = name, kind = kind.label(), octets = length, "snapshot kept");
            }
            Ok(Err(error)) => {
                warn!(service = name, error = %crate::report(&error), "the snapshot cannot be kept")
            }
            Err(error) => warn!(service = name, %error, "keeping the snapshot failed"),
        }
    }

    async fn tell(&self, what: Happening) {
        // Nobody listens only while the daemon goes down.
        let _ = self.shared.events.send(EngineEvent { instance: self.spec.id, what }).await;
    }

    /// Tells without waiting; where there is no room, somebody else must wait for it.
    fn tell_now(&self, what: Happening) {
        let event = EngineEvent { instance: self.spec.id, what };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.shared.events.try_send(event) {
            let events = self.shared.events.clone();
            tokio::spawn(async move { events.send(event).await });
        }
    }
}
