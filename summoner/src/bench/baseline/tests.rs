use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::*;

/// The real thing, but with a shell script in the place of the service.
fn scripted(script: &str) -> Baselines {
    // Without arguments it only runs to be known to run.
    let script = format!("#!/bin/sh\n[ $# = 0 ] && exit\n{script}\n");
    Baselines::unpack(script.as_bytes(), images::baseline::EXIT).unwrap()
}

#[test]
fn a_process_listens_then_has_a_client_then_answers() {
    let baselines = Baselines::new().unwrap();
    for _ in 0..3 {
        let sample = baselines.process().unwrap();
        assert!(!sample.ready.is_zero(), "{sample:?}");
        assert!(sample.ready < sample.connected, "{sample:?}");
        assert!(sample.connected < sample.first_byte, "{sample:?}");
        assert!(sample.first_byte <= sample.last_byte, "{sample:?}");
    }
}

#[test]
fn an_activated_service_is_started_because_of_its_client_and_answers() {
    let baselines = Baselines::new().unwrap();
    for _ in 0..3 {
        let sample = baselines.activation().unwrap();
        assert!(!sample.ready.is_zero() && !sample.connected.is_zero(), "{sample:?}");
        assert!(sample.connected < sample.first_byte, "{sample:?}");
        assert!(sample.first_byte <= sample.last_byte, "{sample:?}");
    }
}

#[test]
fn a_container_answers_or_crun_is_quoted() {
    let baselines = Baselines::new().unwrap();
    // Not every host with crun lets it make containers; but then it says why.
    match baselines.crun() {
        None => assert!(baselines.crun.is_none()),
        Some(Ok(sample)) => {
            assert!(sample.ready < sample.connected, "{sample:?}");
            assert!(sample.connected < sample.first_byte, "{sample:?}");
            assert!(sample.first_byte <= sample.last_byte, "{sample:?}");
        }
        Some(Err(BaselineError::Crun { said, .. })) => assert!(!said.is_empty()),
        Some(Err(BaselineError::Prepare { source, .. })) => {
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        Some(Err(other)) => panic!("{other:?}"),
    }
}

#[test]
fn a_program_that_only_exits_takes_time() {
    assert!(!Baselines::new().unwrap().exec().unwrap().is_zero());
}

#[test]
fn measurements_at_the_same_time_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Also the unpacking: a file that is still written by one thread cannot be executed while
                // another one is between fork and exec.
                let baselines = Baselines::new().unwrap();
                baselines.process().unwrap();
                baselines.activation().unwrap();
                baselines.exec().unwrap();
            });
        }
    });
}

#[test]
fn nothing_is_left() {
    let baselines = Baselines::new().unwrap();
    let folder = baselines._folder.path().to_owned();
    baselines.process().unwrap();
    baselines.activation().unwrap();
    assert!(folder.join("http").is_file());
    let program = folder.join("http");
    drop(baselines);
    assert!(!folder.exists());
    let executables = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        // A process may end, or belong to somebody else, while this looks.
        fs::read_link(entry.ok()?.path().join("exe")).ok()
    });
    let program = program.to_string_lossy().into_owned();
    let left: Vec<_> =
        executables.filter(|path| path.to_string_lossy().starts_with(&program)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_service_that_is_killed_at_its_start_is_told_with_the_signal() {
    let baselines = scripted("kill -9 $$");
    let error = baselines.process().unwrap_err();
    let BaselineError::EndedEarly { program, status } = &error else { panic!("{error:?}") };
    assert!(program.ends_with("/http"), "{program}");
    assert_eq!(status.signal(), Some(9));
    // Its client sees only a connection that is reset.
    let error = baselines.activation().unwrap_err();
    assert!(
        matches!(
            error,
            BaselineError::Exchange {
                source: ExchangeError::Connection { received: 0, .. }
                    | ExchangeError::Truncated { received: 0 },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_service_that_fails_is_told_with_its_status() {
    let error = scripted("exit 3").process().unwrap_err();
    let BaselineError::EndedEarly { status, .. } = error else { panic!("{error:?}") };
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_service_that_only_closes_its_output_is_not_waited_for() {
    let error = scripted("exec 1>&-; while :; do read line; done").process().unwrap_err();
    assert!(matches!(error, BaselineError::EndedEarly { .. }), "{error:?}");
}

#[test]
fn what_is_not_a_port_is_quoted() {
    for (said, line) in
        [("hello", "hello\n"), ("", "\n"), ("70000", "70000\n"), ("1234567", "123456")]
    {
        let error = scripted(&format!("echo {said}; read line")).process().unwrap_err();
        assert!(
            matches!(&error, BaselineError::NotAPort { line: found, .. } if found == line),
            "{error:?}"
        );
    }
}

#[test]
fn a_service_that_does_not_listen_where_it_says_is_found_out() {
    // Bound, so that nobody else has it, but not listened on.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap();
    let port = std::net::SocketAddr::try_from(address).unwrap().port();
    let error = scripted(&format!("echo {port}; read line")).process().unwrap_err();
    assert!(
        matches!(&error, BaselineError::Exchange { source: ExchangeError::Connect { .. }, .. }),
        "{error:?}"
    );
}

#[test]
fn a_program_that_does_not_exit_successfully_is_no_measurement() {
    let baselines = Baselines::unpack(images::baseline::HTTP, b"#!/bin/sh\nexit 1\n").unwrap();
    let error = baselines.exec().unwrap_err();
    let BaselineError::Failed { status, .. } = error else { panic!("{error:?}") };
    assert_eq!(status.code(), Some(1));
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_measured() {
    let error = Baselines::unpack(images::baseline::HTTP, b"\x7fELF").unwrap_err();
    assert!(matches!(error, BaselineError::Run { .. }), "{error:?}");
    assert!(error.to_string().contains("noexec"), "{error}");
    let error = Baselines::unpack(b"", images::baseline::EXIT).unwrap_err();
    assert!(matches!(error, BaselineError::NotBuilt), "{error:?}");
}
