//! An image described for people, as `summoner image inspect` prints it.

use std::fmt::Write as _;

use crate::error::ImageError;
use crate::plan::{Plan, plan};

/// Describes an image: kind, ABI, features, entry, segments, manifest, hash and what memory it needs.
///
/// # Errors
/// When the bytes are not an image that can be booted; see [`plan()`].
pub fn describe(bytes: &[u8]) -> Result<String, ImageError> {
    let plan = plan(bytes)?;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, &plan, bytes.len());
    Ok(text)
}

fn write(text: &mut String, plan: &Plan, size: usize) -> std::fmt::Result {
    writeln!(text, "kind      unikernel, static ELF for {}", plan.machine)?;
    writeln!(text, "abi       {}", plan.abi)?;
    writeln!(text, "takes     {}", plan.takes)?;
    writeln!(text, "size      {size} bytes")?;
    writeln!(text, "blake3    {}", plan.digest)?;
    writeln!(text, "entry     {:#x}", plan.entry)?;
    writeln!(text, "end       {:#x}", plan.kernel_end)?;
    writeln!(text, "memory    {} MiB or more", plan.memory_min() >> 20)?;
    writeln!(text, "segments")?;
    for segment in &plan.segments {
        writeln!(
            text,
            "  {:#010x}-{:#010x}  {}  {} bytes from offset {:#x} of the file",
            segment.gpa,
            segment.end(),
            segment.access,
            segment.file_size,
            segment.file_offset,
        )?;
    }
    if plan.manifest.devices.is_empty() {
        return writeln!(text, "devices   none");
    }
    writeln!(text, "devices")?;
    for (handle, device) in plan.manifest.handles() {
        writeln!(text, "  {handle}  {:<5}  {}", device.kind.to_string(), device.name)?;
    }
    Ok(())
}
