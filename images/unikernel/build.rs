//! Puts the linker script of the target's architecture where the linker looks for it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let script = format!("link/{}.ld", env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    println!("cargo::rerun-if-changed=link");
    // For other architectures the library says itself what is wrong, better than a build script can.
    if let (Ok(text), Some(folder)) = (fs::read(script), env::var_os("OUT_DIR")) {
        let folder = PathBuf::from(folder);
        if let Err(error) = fs::write(folder.join("unikernel.ld"), text) {
            println!(
                "cargo::error=cannot write the linker script into {}: {error}",
                folder.display()
            );
        }
        println!("cargo::rustc-link-search={}", folder.display());
    }
}
