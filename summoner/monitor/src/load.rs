//! From a plan to guest memory: segments, boot information, manifest, command line; and what the guest may do where.

use std::os::fd::BorrowedFd;

use hvt_abi::boot_info::{BOOT_INFO_ADDRESS, BootInfo, COMMAND_LINE_MAX, Features};
use hvt_abi::manifest::EntryKind;
use hvt_abi::memory_map::{LOAD_MIN, READABLE_MIN, guard_start, stack_start};
use hvt_abi::ring::RESERVED;
use images::{DeviceKind, ImageError, Plan, Segment};

use crate::arch::{Region, RegionKind};
use crate::memory::{Forbidden, GuestMemory, MapError};
use crate::protocol::BootRequest;
use crate::ring::Ring;

/// Octets that are copied from the image at once.
const CHUNK: usize = 64 * 1024;

/// Why an image cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The image does not fit the memory.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is no memory.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The plan leads out of guest memory; `images` lets no such plan pass.
    #[error("the load plan leads out of guest memory")]
    Bounds(#[from] Forbidden),
    /// The image needs something that there is not.
    #[error(
        "the image needs the {kind} device `{name}`, but only one network device can be attached so far"
    )]
    Device {
        /// What it is.
        kind: DeviceKind,
        /// What it is called.
        name: String,
    },
    /// The command line cannot be handed over.
    #[error("the command line has {length} octets or a NUL; at most {} octets without one are possible", COMMAND_LINE_MAX - 1)]
    CommandLine {
        /// How long it is.
        length: usize,
    },
    /// The image's bytes cannot be read.
    #[error("cannot read {length} octets at {offset} of the image; is it complete?")]
    Read {
        /// Where.
        offset: u64,
        /// How much was missing.
        length: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Makes the guest's memory and puts the image into it.
pub(crate) fn load(
    plan: &Plan,
    memory_size: u64,
    image: BorrowedFd<'_>,
) -> Result<GuestMemory, LoadError> {
    plan.check_memory(memory_size)?;
    let ring = Ring::place(plan, memory_size).map(Ring::new);
    let reserved = if ring.is_some() { RESERVED } else { 0 };
    let memory = GuestMemory::new(memory_size.saturating_add(reserved))?;
    if let Some(ring) = &ring {
        ring.write(&memory)?;
    }
    for segment in &plan.segments {
        copy(&memory, segment, image)?;
    }
    Ok(memory)
}

/// The handle of the network device, if the image has one.
pub(crate) fn net_handle(plan: &Plan) -> Result<Option<u64>, LoadError> {
    let mut found = None;
    for (handle, device) in plan.manifest.handles() {
        if device.kind != DeviceKind::Net || found.is_some() {
            return Err(LoadError::Device { kind: device.kind, name: device.name.clone() });
        }
        found = Some(handle);
    }
    Ok(found)
}

fn copy(memory: &GuestMemory, segment: &Segment, image: BorrowedFd<'_>) -> Result<(), LoadError> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < segment.file_size {
        let left = segment.file_size - done;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let offset = segment.file_offset.saturating_add(done);
        let failed = |source| LoadError::Read { offset, length: left, source };
        let read = match rustix::io::pread(image, &mut buffer[..wanted], offset) {
            Ok(0) => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(failed(error.into())),
        };
        memory.copy_in(segment.gpa.saturating_add(done), &buffer[..read])?;
        done += read as u64;
    }
    Ok(())
}

/// Writes what the guest finds at its start: boot information, manifest, command line. Its ring, if it has one, is where
/// its other memory ends.
pub(crate) fn write_boot_info(
    memory: &GuestMemory,
    plan: &Plan,
    request: &BootRequest,
    cycles: u64,
    ring: Option<u64>,
) -> Result<(), LoadError> {
    let command_line = request.command_line.as_bytes();
    if command_line.len() >= COMMAND_LINE_MAX || command_line.contains(&0) {
        return Err(LoadError::CommandLine { length: command_line.len() });
    }
    let mft = BOOT_INFO_ADDRESS + BootInfo::SIZE as u64;
    let table = plan.manifest.to_table(|_, device| match device.kind {
        DeviceKind::Net => Some(EntryKind::Net { mac: request.mac, mtu: request.mtu }),
        DeviceKind::Block => None,
    });
    let cmdline = mft + table.len() as u64;
    let mut features =
        Features::FRESHNESS.union(Features::SHUTDOWN_REQUEST).union(Features::RENEWAL);
    if ring.is_some() {
        features = features.union(Features::SHARED_RING).union(Features::POLL_SERVES_RING);
    }
    let info = BootInfo {
        mem_size: ring.unwrap_or_else(|| memory.size()),
        kernel_end: plan.kernel_end,
        cpu_cycle_freq: cycles,
        cmdline,
        mft,
        host_features: features.0,
        net_ring: ring.unwrap_or(0),
        generation: request.generation,
        ..BootInfo::default()
    }
    .with_entropy(&request.entropy);
    memory.copy_in(BOOT_INFO_ADDRESS, &info.to_bytes())?;
    memory.copy_in(mft, &table)?;
    memory.copy_in(cmdline, command_line)?;
    memory.copy_in(cmdline + command_line.len() as u64, &[0])?;
    Ok(())
}

/// What the guest may do where: whole pages, ascending, without overlap. Nothing is mapped below 64 KiB.
pub(crate) fn regions(plan: &Plan, memory_size: u64) -> Vec<Region> {
    let guard = guard_start(memory_size);
    let mut regions =
        vec![Region { start: READABLE_MIN, end: LOAD_MIN, kind: RegionKind::ReadOnly }];
    let mut next = LOAD_MIN;
    for pages in plan.pages() {
        // What no segment covers is the guest's to use, as the ABI says.
        regions.push(Region { start: next, end: pages.start, kind: RegionKind::Free });
        let kind = match (pages.access.execute, pages.access.write) {
            (true, _) => RegionKind::Code,
            (false, true) => RegionKind::Data,
            (false, false) => RegionKind::ReadOnly,
        };
        regions.push(Region { start: pages.start, end: pages.end, kind });
        next = pages.end;
    }
    regions.push(Region { start: next, end: guard, kind: RegionKind::Free });
    regions.push(Region { start: guard, end: stack_start(memory_size), kind: RegionKind::Guard });
    regions.push(Region {
        start: stack_start(memory_size),
        end: memory_size,
        kind: RegionKind::Stack,
    });
    if let Some(start) = Ring::place(plan, memory_size) {
        regions.push(Region { start, end: start + RESERVED, kind: RegionKind::Data });
    }
    regions.retain(|region| region.start < region.end);
    regions
}
