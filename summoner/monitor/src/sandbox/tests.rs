//! What is left to a process behind the filter: each attempt is made by this test program, called again for it.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::*;

/// Names the attempt to a test program that is called again.
const ATTEMPT: &str = "ATTEMPT_BEHIND_THE_FILTER";

/// Makes one attempt behind the filter; as an ordinary test it does nothing.
#[test]
fn attempt() {
    let Some(attempt) = std::env::var_os(ATTEMPT) else { return };
    set_no_new_privileges();
    install(&filter().unwrap()).unwrap();
    match attempt.to_str() {
        Some("nothing") => {
            // What a guest's life needs: memory, waiting, time.
            drop(vec![1_u8; 8 << 20]);
            std::thread::yield_now();
            let _ = crate::devices::monotonic();
        }
        Some("open") => drop(File::open("/etc/passwd")),
        Some("socket") => drop(UdpSocket::bind("127.0.0.1:0")),
        Some("thread") => drop(std::thread::spawn(|| ())),
        Some("program") => drop(Command::new("/bin/true").status()),
        Some("ioctl") => assert!(rustix::io::ioctl_fionbio(io::stdin(), false).is_ok()),
        Some("kill") => drop(rustix::process::test_kill_process(rustix::process::getpid())),
        Some("executable memory") => map(rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::EXEC),
        Some("memory") => map(rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE),
        other => panic!("unknown attempt {other:?}"),
    }
    end();
}

/// Looks which descriptors are left; as an ordinary test it does nothing.
#[test]
fn look_at_descriptors() {
    if std::env::var_os(ATTEMPT).is_none() {
        return;
    }
    let files = [(); 9].map(|()| File::open("/dev/null").unwrap());
    let kept = &files[4];
    close_descriptors(kept.as_fd()).unwrap();
    for file in &files {
        let is_open = rustix::io::fcntl_getfd(file).is_ok();
        assert_eq!(is_open, std::ptr::eq(file, kept), "{file:?}");
    }
    assert!(rustix::io::fcntl_getfd(io::stdin()).is_ok());
    end();
}

fn set_no_new_privileges() {
    rustix::thread::set_no_new_privs(true).unwrap();
}

fn map(protection: rustix::mm::ProtFlags) {
    let flags = rustix::mm::MapFlags::PRIVATE;
    // SAFETY: a new mapping at a place of the kernel's choice disturbs nothing; it is never used.
    let _ = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, protection, flags) };
}

/// Ends as a monitor does, without the test harness, which knows nothing of the filter.
fn end() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(7) }
}

fn status_of(attempt: &str) -> ExitStatus {
    status_of_test("attempt", attempt)
}

fn status_of_test(test: &str, attempt: &str) -> ExitStatus {
    Command::new("/proc/self/exe")
        .args(["--exact", &format!("sandbox::tests::{test}"), "--test-threads=1"])
        .env(ATTEMPT, attempt)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

#[test]
fn only_the_control_socket_and_the_standard_streams_stay_open() {
    let status = status_of_test("look_at_descriptors", "");
    assert_eq!(status.code(), Some(7), "{status}");
}

#[test]
fn what_a_guest_needs_is_allowed() {
    for attempt in ["nothing", "memory"] {
        let status = status_of(attempt);
        assert_eq!(status.code(), Some(7), "{attempt}: {status}");
    }
}

#[test]
fn everything_else_kills_the_process() {
    for attempt in ["open", "socket", "thread", "program", "ioctl", "kill", "executable memory"] {
        let status = status_of(attempt);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{attempt}: {status}");
    }
}
