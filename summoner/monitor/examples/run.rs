//! Runs an image in this process, its console on standard output, for those who write guests.
//!
//! `cargo run -p monitor --example run -- IMAGE [COMMAND LINE]`, where IMAGE is a file or `builtin:hello`. The guest's
//! network device leads nowhere.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

use monitor::hypercall::ShutdownRequest;
use monitor::protocol::{
    BootRequest, Ending, MAX_MESSAGE, PrepareRequest, Report, Start, recv_report,
};
use monitor::{Host, Pause, Shell};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        eprintln!("usage: run IMAGE [COMMAND LINE]");
        return ExitCode::from(64);
    };
    match run(&name, &arguments.collect::<Vec<_>>().join(" ")) {
        Ok(ending) => {
            eprintln!("{ending}");
            if matches!(ending, Ending::Halted { status: 0, .. }) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, command_line: &str) -> Result<Ending, Box<dyn std::error::Error>> {
    let image = match name.strip_prefix("builtin:") {
        Some(name) => images::builtin::find(name).ok_or("no such built-in image")?.to_vec(),
        None => std::fs::read(name)?,
    };
    let plan = images::plan(&image)?;
    let memory = plan.memory_min().max(8 << 20);
    let request = BootRequest {
        start: Start::Image,
        command_line: command_line.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        generation: 1,
        entropy: [0; 32],
    };
    let file = memfd_create("image", MemfdFlags::CLOEXEC)?;
    std::fs::File::from(file.try_clone()?).write_all(&image)?;
    let (ours, reports) = pair()?;
    let (_nowhere, port) = pair()?;
    let console = std::thread::spawn(move || show(&ours));
    let shell = Shell::new(&Host::open()?)?.prepare(PrepareRequest { plan, memory }, &file)?;
    let mut vm = shell.boot(&request, port, None, Arc::new(reports), ShutdownRequest::new()?)?;
    let ending = loop {
        // Nobody has anything to say to the guest.
        if let Pause::Ended(ending) = vm.run() {
            break ending;
        }
    };
    drop(vm);
    console.join().map_err(|_| "the console's thread panicked")??;
    Ok(ending)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn show(reports: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Some(report) = recv_report(reports.as_fd(), &mut buffer)? {
        if let Report::Console(text) = report {
            io::stdout().write_all(&text)?;
        }
    }
    Ok(())
}
