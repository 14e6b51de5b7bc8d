//! Who else is on the machine, and on which processor we are.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::thread::{CpuSet, Pid, sched_setaffinity};

use crate::settings::Place;

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Puts the calling thread, and those that it starts from now on, where they are to be; the switch's too.
pub(crate) fn take_places(place: Place) {
    let switch = match place {
        Place::Free => return,
        Place::Apart => 1,
        Place::Together => 0,
    };
    pin(None, 0);
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap();
        let name = fs::read_to_string(task.path().join("comm")).unwrap();
        if name.trim() == "switch" {
            let thread = task.file_name().to_str().unwrap().parse().unwrap();
            pin(Pid::from_raw(thread), switch);
        }
    }
}

fn pin(thread: Option<Pid>, processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(thread, &set).unwrap();
}

/// Threads that take all the time they get.
pub(crate) struct Hogs {
    end: Arc<AtomicBool>,
    work: Arc<AtomicU64>,
    begun: Instant,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Hogs {
    pub(crate) fn start(count: usize) -> Self {
        let (end, work) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let hog = |processor| {
            let (end, work) = (end.clone(), work.clone());
            std::thread::spawn(move || {
                pin(None, processor);
                while !end.load(Ordering::Relaxed) {
                    (0..1000).for_each(|_| std::hint::spin_loop());
                    work.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..count).map(hog).collect();
        Self { end, work, begun: Instant::now(), threads }
    }

    /// So much the others could do beside the switch.
    pub(crate) fn work_per_second(&self) -> u64 {
        self.work.load(Ordering::Relaxed) / self.begun.elapsed().as_secs().max(1)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
