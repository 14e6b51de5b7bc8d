//! The engine `hvt`: Solo5-style guests on `/dev/kvm`, one monitor process each.
//!
//! One task owns the pool of shells; each instance has a task of its own that owns its process. The
//! pool is refilled only while nothing boots: making a shell costs more than booting a guest, and
//! should not be in its way.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use monitor::protocol::{self, BootRequest, Report, Request};
use policies::stop::StopMode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use super::shell::{EXECUTABLE, Shell, ShellError};
use super::{Ending, Engine, EngineEvent, Happening, InstanceId, InstanceSpec};
use crate::clock::now;

/// Handle to the engine's task.
#[derive(Debug)]
pub struct Hvt {
    // Not bounded by itself, but by admission: an order is about an admitted instance.
    orders: mpsc::UnboundedSender<Order>,
}

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a shell to run guests in")]
pub struct EngineError(#[from] ShellError);

#[derive(Debug)]
enum Order {
    Summon(Box<InstanceSpec>, OwnedFd),
    Stop(InstanceId, StopMode),
}

impl Hvt {
    /// Starts the engine on the current runtime; it keeps `ready_shells` shells in its pool and ends,
    /// with all its processes, when the handle is dropped.
    ///
    /// # Errors
    /// When no shell can be made: better said before anybody is answered than at the first wake.
    pub async fn start(
        ready_shells: u32,
        events: mpsc::Sender<EngineEvent>,
    ) -> Result<Self, EngineError> {
        let (orders, received) = mpsc::unbounded_channel();
        let mut pool = Pool::new(PathBuf::from(EXECUTABLE), ready_shells);
        let first = Shell::make(&pool.executable).await?;
        if pool.target > 0 {
            pool.ready.push_back(first);
        }
        tokio::spawn(Runner { pool, events, instances: HashMap::new() }.run(received));
        Ok(Self { orders })
    }
}

impl Engine for Hvt {
    fn summon(&mut self, spec: InstanceSpec, port: OwnedFd) {
        // The runner lives as long as this handle; it can be gone only while the runtime shuts down.
        let _ = self.orders.send(Order::Summon(Box::new(spec), port));
    }

    fn stop(&mut self, instance: InstanceId, mode: StopMode) {
        let _ = self.orders.send(Order::Stop(instance, mode));
    }
}

/// Shells made ahead.
#[derive(Debug)]
struct Pool {
    executable: PathBuf,
    target: usize,
    ready: VecDeque<Shell>,
    making: JoinSet<Result<Shell, ShellError>>,
    /// A shell could not be made: wait for the next summon before trying again.
    broken: bool,
}

impl Pool {
    fn new(executable: PathBuf, target: u32) -> Self {
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        Self { executable, target, ready: VecDeque::new(), making: JoinSet::new(), broken: false }
    }

    fn take(&mut self) -> Option<Shell> {
        self.broken = false;
        // A shell that died while it waited (killed, out of memory) is passed over.
        std::iter::from_fn(|| self.ready.pop_front())
            .find_map(|mut shell| (!shell.has_ended()).then_some(shell))
    }

    /// Makes shells one after the other until the pool is full.
    fn refill(&mut self) {
        if self.making.is_empty() && self.ready.len() < self.target && !self.broken {
            let executable = self.executable.clone();
            self.making.spawn(async move { Shell::make(&executable).await });
        }
    }

    fn made(&mut self, shell: Result<Shell, ShellError>) {
        match shell {
            Ok(shell) => self.ready.push_back(shell),
            Err(error) => {
                self.broken = true;
                warn!(error = %crate::report(&error), "no shell for the pool");
            }
        }
    }
}

struct Runner {
    pool: Pool,
    events: mpsc::Sender<EngineEvent>,
    instances: HashMap<InstanceId, mpsc::UnboundedSender<StopMode>>,
}

/// What an instance's task tells the runner.
enum Notice {
    /// It does not boot any more: it is ready, or ending.
    Settled,
}

impl Runner {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let (notices, mut noticed) = mpsc::unbounded_channel();
        let mut tasks: JoinSet<InstanceId> = JoinSet::new();
        let mut booting = 0_usize;
        self.pool.refill();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => break,
                    Some(Order::Summon(spec, port)) => {
                        let (stop, stops) = mpsc::unbounded_channel();
                        self.instances.insert(spec.id, stop);
                        booting += 1;
                        let instance = Instance {
                            spec: *spec,
                            stops,
                            events: self.events.clone(),
                            settle: Settle(Some(notices.clone())),
                        };
                        let (shell, executable) = (self.pool.take(), self.pool.executable.clone());
                        tasks.spawn(instance.run(shell, executable, port));
                    }
                    Some(Order::Stop(id, mode)) => {
                        if let Some(instance) = self.instances.get(&id) {
                            // Refused only by an instance that has just ended.
                            let _ = instance.send(mode);
                        }
                    }
                },
                Some(Notice::Settled) = noticed.recv() => booting = booting.saturating_sub(1),
                Some(ended) = tasks.join_next() => if let Ok(id) = ended { self.instances.remove(&id); },
                Some(made) = self.pool.making.join_next() => match made {
                    Ok(shell) => self.pool.made(shell),
                    Err(error) => warn!(%error, "the task that makes shells failed"),
                },
            }
            if booting == 0 {
                self.pool.refill();
            }
        }
        // Dropping the pool and the tasks kills their processes.
    }
}

/// Tells the runner once that the instance does not boot any more, at the latest when dropped.
struct Settle(Option<mpsc::UnboundedSender<Notice>>);

impl Settle {
    fn now(&mut self) {
        if let Some(notices) = self.0.take() {
            let _ = notices.send(Notice::Settled);
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        self.now();
    }
}

/// The task of one instance.
struct Instance {
    spec: InstanceSpec,
    stops: mpsc::UnboundedReceiver<StopMode>,
    events: mpsc::Sender<EngineEvent>,
    settle: Settle,
}

impl Instance {
    async fn run(
        mut self,
        pooled: Option<Shell>,
        executable: PathBuf,
        port: OwnedFd,
    ) -> InstanceId {
        let ending = match self.boot(pooled, &executable, port).await {
            Ok(Some(shell)) => self.watch(shell).await,
            Ok(None) => Ending::Destroyed,
            Err(error) => Ending::Failed(crate::report(&error)),
        };
        self.settle.now();
        self.tell(Happening::Exited { at: now(), ending }).await;
        self.spec.id
    }

    /// Gets a shell and hands it the image. `None`: stopped before there was a shell.
    async fn boot(
        &mut self,
        pooled: Option<Shell>,
        executable: &std::path::Path,
        port: OwnedFd,
    ) -> Result<Option<Shell>, ShellError> {
        let was_pooled = pooled.is_some();
        let shell = match pooled {
            Some(shell) => shell,
            None => tokio::select! {
                shell = Shell::make(executable) => shell?,
                _ = self.stops.recv() => return Ok(None),
            },
        };
        let taken =
            Happening::ShellTaken { at: now(), pooled: was_pooled, process: shell.process() };
        let spec = &self.spec;
        let mut entropy = [0; 32];
        crate::entropy::fill(&mut entropy);
        let request = Request::Boot(BootRequest {
            plan: spec.image.plan.clone(),
            memory: spec.memory,
            command_line: spec.command_line.clone(),
            mac: spec.mac,
            mtu: spec.mtu,
            generation: spec.id.generation.0,
            entropy,
        });
        shell.send(&request, &[spec.image.file.as_fd(), port.as_fd()]).await?;
        self.tell(taken).await;
        Ok(Some(shell))
    }

    /// Passes on what the monitor reports until its process is gone.
    async fn watch(&mut self, mut shell: Shell) -> Ending {
        let mut ending = None;
        loop {
            tokio::select! {
                report = shell.next_report() => match report {
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
                Some(mode) = self.stops.recv() => match mode {
                    // What cannot be kept is destroyed.
                    StopMode::Destroy | StopMode::Suspend { .. } => {
                        ending = Some(Ending::Destroyed);
                        shell.kill();
                    }
                    StopMode::Shutdown { .. } => {
                        // If the monitor cannot be told, the caller's grace period ends it.
                        if let Err(error) = shell.send(&Request::Shutdown, &[]).await {
                            warn!(error = %crate::report(&error), "the guest cannot be asked to shut down");
                        }
                    }
                },
            }
        }
        // The process has given up its socket and has nothing more to say.
        shell.kill();
        let status = shell.wait().await;
        ending.unwrap_or_else(|| {
            Ending::Failed(format!("the monitor ended without a report ({status})"))
        })
    }

    async fn pass_on(&mut self, report: Report) -> Option<Ending> {
        let what = match report {
            Report::ShellReady => return None,
            Report::Loaded { at } => Happening::Loaded(at),
            Report::Entered { at } => Happening::Entered(at),
            Report::Ready { at } => {
                self.settle.now();
                Happening::Ready(at)
            }
            Report::Console(text) => Happening::Console(text),
            Report::Ended(protocol::Ending::Halted { status, .. }) => {
                return Some(Ending::Halted { status });
            }
            Report::Ended(other) => return Some(Ending::Failed(other.to_string())),
        };
        self.tell(what).await;
        None
    }

    async fn tell(&self, what: Happening) {
        // Nobody listens only while the daemon goes down.
        let _ = self.events.send(EngineEvent { instance: self.spec.id, what }).await;
    }
}
