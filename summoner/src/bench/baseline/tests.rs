use super::*;
use std::os::unix::process::ExitStatusExt;

/// The real thing with a shell script in the place of the service.
fn scripted(script: &str) -> Baselines {
    let script = format!("#!/bin/sh\n{script}\n");
    Baselines::unpack(script.as_bytes(), images::baseline::EXIT).unwrap()
}
