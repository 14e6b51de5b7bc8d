//! Carries a schedule out: threads that are made ahead take the requests in order and sleep until each is due.

use std::io;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use policies::Instant;
use rustix::time::{ClockId, Timespec};

use crate::clock::now;

/// Stack of a worker: it calls nothing deep, and there may be a thousand.
const STACK: usize = 256 << 10;
/// Time for the workers to get up before the first request is due.
const LEAD: Duration = Duration::from_millis(50);

/// Why a schedule was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No thread.
    #[error("cannot make a thread for the load; is the limit on processes reached?")]
    Thread(#[source] io::Error),
    /// No client for it.
    #[error("cannot make a client for the load; is the limit on open files (ulimit -n) reached?")]
    Client(#[source] io::Error),
}

/// What became of one request of a schedule.
#[derive(Debug)]
pub struct Done<T> {
    /// When it was due.
    pub intended: Instant,
    /// How much after that a worker was free for it: zero unless all of them were busy.
    pub late: Duration,
    /// What the work gave.
    pub value: T,
}

/// How many workers a schedule needs so that none of its requests waits for one: as many as are due within
/// `longest`, the time that a request may take.
#[must_use]
pub fn workers_for(times: &[Duration], longest: Duration, most: usize) -> usize {
    let mut needed = 0;
    let mut first = 0;
    for (index, at) in times.iter().enumerate() {
        while times[first] + longest < *at {
            first += 1;
        }
        needed = needed.max(index + 1 - first);
    }
    needed.clamp(1, most.max(1))
}

/// Carries out `times` (ascending, from a start that is a little after now) with `workers` threads. `client` makes
/// what a thread works with; `work` is given that, the request's index and its due time.
///
/// The results are in the order of the schedule.
///
/// # Errors
/// When threads or clients cannot be made; nothing was sent then.
pub fn run<C, T: Send>(
    times: &[Duration],
    workers: usize,
    client: impl Fn(usize) -> io::Result<C>,
    work: impl Fn(&mut C, usize, Instant) -> T + Sync,
) -> Result<Vec<Done<T>>, LoadError>
where
    C: Send,
{
    let clients = (0..workers).map(client).collect::<io::Result<Vec<C>>>();
    let clients = clients.map_err(LoadError::Client)?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(times.len()));
    let start = now() + LEAD;
    let job = |mut client: C| {
        // Wake when it is time and not when it suits the kernel (prctl(2), PR_SET_TIMERSLACK). If that is
        // refused, the delay is part of the figures.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut own = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(at) = times.get(index) else { break };
            let intended = start + *at;
            let late = now().saturating_since(intended);
            sleep_until(intended);
            own.push((index, Done { intended, late, value: work(&mut client, index, intended) }));
        }
        results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(own);
    };
    thread::scope(|scope| {
        for client in clients {
            let builder = thread::Builder::new().stack_size(STACK);
            let spawned = builder.spawn_scoped(scope, || job(client));
            if let Err(error) = spawned {
                // Nobody begins anything more.
                next.store(times.len(), Ordering::Relaxed);
                return Err(LoadError::Thread(error));
            }
        }
        Ok(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, done)| done).collect())
}

/// Sleeps until `at`; does nothing if that is past.
pub fn sleep_until(at: Instant) {
    let nanos = at.as_nanos();
    let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
    let request =
        Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0) };
    while now() < at {
        // Interrupted by a signal: the rest of the sleep follows.
        let _ = rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_made_once_and_not_before_its_time() {
        let times: Vec<_> = (0..200).map(|index| Duration::from_micros(index * 100)).collect();
        let work = |client: &mut usize, index: usize, intended| {
            *client += 1;
            (index, now() >= intended)
        };
        let done = run(&times, 7, |_| Ok(0), work).unwrap();
        assert_eq!(done.len(), 200);
        for (index, one) in done.iter().enumerate() {
            assert_eq!(one.value, (index, true));
        }
        assert_eq!(done[199].intended.saturating_since(done[0].intended), times[199]);
    }

    #[test]
    fn a_request_that_waits_for_a_worker_is_late() {
        let busy = Duration::from_millis(20);
        let done =
            run(&[Duration::ZERO; 3], 1, |_| Ok(()), |(), _, _| thread::sleep(busy)).unwrap();
        assert!(done[1].late >= busy && done[2].late >= 2 * busy, "{done:?}");
    }

    #[test]
    fn no_client_means_no_load() {
        let result =
            run(&[Duration::ZERO], 2, |_| Err::<(), _>(io::ErrorKind::Other.into()), |(), _, _| ());
        assert!(matches!(result, Err(LoadError::Client(_))));
    }

    #[test]
    fn enough_workers_for_the_densest_time() {
        let times: Vec<_> = (0..100).map(|index| Duration::from_millis(25 * index)).collect();
        assert_eq!(workers_for(&times, Duration::from_secs(1), 1000), 41);
        assert_eq!(workers_for(&times, Duration::from_secs(1), 10), 10);
        assert_eq!(workers_for(&[Duration::ZERO; 100], Duration::from_secs(1), 1000), 100);
        assert_eq!(workers_for(&[], Duration::from_secs(1), 1000), 1);
    }
}
