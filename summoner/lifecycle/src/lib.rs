//! The state machine of one service: from nobody needs it to a running guest and back.
//!
//! ```text
//!            Wake                Admitted                 Ready
//!   Cold ----------> Wanted ----------------> Summoning ---------> Running
//!    ^ ^               ^ |                        |                 |  ^ |
//!    | |       Refused | |                 Exited | time-out   Idle |  | | Exited early
//!    | +---------------|-+                        |                 v  | | PortInUse
//!    |                 | timer, woken             |              Closing |
//!    |                 |                          v                 |    |
//!    |   timer         +---------------------- Backoff <------------|----+
//!    +----------------------------------------- ^                   | PortClosed
//!    |                                          | Exited, failed    v
//!    +----------------------------------------- Draining <----------+   (Stop leads here from
//!      Exited (or to Wanted, if woken since)                             everywhere with an instance)
//! ```
//!
//! It is a value: events and the time go in, actions come out, and [`Lifecycle::poll_timeout`] says when time alone
//! will make a difference. Every message about an instance names its [`policies::Generation`]; one about another instance than
//! the present changes nothing.
//!
//! What holds in every reachable state, and is tested over all of them:
//!
//! 1. At most one instance exists, and the machine knows it: none is an orphan.
//! 2. The port is open only while its instance is `Running` or `Closing`; it is closed before the instance is stopped.
//! 3. An instance is summoned only when somebody woke the service, admission let it, and no back-off is on.
//! 4. A wake is never forgotten: it ends in a running guest, in a boot that failed, or by an administrator's stop.
//! 5. Generations only grow.
//! 6. A timer that is asked for does something when it fires, and nothing when it fires early.
//! 7. If the world behaves, who is wanted runs, and who is not ends cold.
//! 8. Only a guest that was up is asked to shut down or kept as a snapshot; one whose boot failed is destroyed.
//!
//! The stop mode makes no other difference to the machine: a guest that is being kept as a snapshot is `Draining` like one
//! that was asked to shut down. A wake that comes meanwhile is remembered and summons the service as soon as the instance
//! is gone, which is when its snapshot is stored; the grace bounds how long that may take.
#![forbid(unsafe_code)]

mod machine;

#[cfg(test)]
mod tests;

pub use machine::{Action, Event, Lifecycle, State, Timing};
