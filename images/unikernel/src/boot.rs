//! What the host told the guest at its start.
#![expect(unsafe_code, reason = "reads the host's structures at the addresses it gave")]

use core::cell::{Cell, RefCell, UnsafeCell};
use core::mem::{MaybeUninit, offset_of};
use core::time::Duration;
use core::{ptr, slice};

use hvt_abi::boot_info::{BootInfo, COMMAND_LINE_MAX, Features};
use hvt_abi::manifest::{self, ENTRY_SIZE, Entry, EntryKind};
use hvt_abi::memory_map::{LOAD_MIN, READABLE_MIN, guard_start};

use crate::clock::Clock;
use crate::command_line::CommandLine;
use crate::entropy::Entropy;
use crate::hypercall::{self, Ready};
use crate::net::Ring;

/// The features that a guest made with this library takes from a host that offers them.
#[cfg_attr(not(unikernel), expect(dead_code, reason = "the start code is not there"))]
pub(crate) const TAKES: Features = Features::SHARED_RING
    .union(Features::FRESHNESS)
    .union(Features::SHUTDOWN_REQUEST)
    .union(Features::POLL_SERVES_RING)
    .union(Features::RENEWAL);

/// The guest's view of itself: made once, at the start.
#[derive(Debug)]
pub struct Guest {
    /// The time since the guest's first instruction.
    pub clock: Clock,
    /// As it was at the start.
    boot_info: BootInfo,
    /// Where it lies.
    address: u64,
    /// What may change in it during a poll.
    identity: Cell<Identity>,
    command_line: &'static str,
    manifest: &'static [[u8; ENTRY_SIZE]],
    ring: RefCell<RingSlot>,
}

/// Where the shared ring is, if the host offers one.
#[derive(Debug)]
enum RingSlot {
    /// As the host left it.
    Untouched,
    /// A device uses it.
    Taken,
    /// A device has used it.
    Kept(Ring),
}

/// What makes an instance different from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    generation: u64,
    entropy: [u8; 32],
    /// When the guest has found out, since its first instruction.
    since: Duration,
}

/// A network device that the host attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetPort {
    /// How hypercalls name it.
    pub handle: u64,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// The largest IP packet it takes, in octets.
    pub mtu: u16,
}

impl Guest {
    /// What was given on the command line.
    #[must_use]
    pub fn command_line(&self) -> CommandLine<'static> {
        CommandLine::new(self.command_line)
    }

    /// Octets of guest memory.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.boot_info.mem_size
    }

    /// Octets between the image and the guard below the stack: what the heap began with.
    #[must_use]
    pub fn heap_size(&self) -> u64 {
        let (start, end) = self.heap_range();
        end.saturating_sub(start)
    }

    /// The features that the host offers.
    #[must_use]
    pub fn features(&self) -> Features {
        self.boot_info.features()
    }

    /// The number of this boot or clone, if the host gives one; never the same twice.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.features().contains(Features::FRESHNESS).then(|| self.identity.get().generation)
    }

    /// How long the guest has been this instance: since its first instruction or, if it is a clone or was
    /// resumed, since it found out.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.clock.now().saturating_sub(self.identity.get().since)
    }

    /// A new generator of random numbers, seeded with everything that makes this instance different.
    #[must_use]
    pub fn entropy(&'static self) -> Entropy {
        Entropy::gather(self)
    }

    pub(crate) fn given_entropy(&self) -> Option<[u8; 32]> {
        self.features().contains(Features::FRESHNESS).then(|| self.identity.get().entropy)
    }

    /// Sleeps until a device has input, the host asks for the guest's end, or `timeout` has passed; then finds out
    /// whether the guest is still the instance that it was. If not, [`Guest::generation`] and
    /// [`Guest::entropy`] are the new one's from here on.
    #[must_use]
    pub fn poll(&self, timeout: Duration) -> Ready {
        let ready = hypercall::poll(timeout);
        self.renew();
        ready
    }

    /// Looks at the generation in the boot information, and takes what is new.
    fn renew(&self) {
        if !self.features().contains(Features::RENEWAL.union(Features::FRESHNESS)) {
            return;
        }
        // SAFETY: the field lies in the boot information, as the features say, and is aligned in it.
        let generation: u64 =
            unsafe { read(self.address + offset_of!(BootInfo, generation) as u64) };
        if generation == self.identity.get().generation {
            return;
        }
        let entropy = self.address + offset_of!(BootInfo, entropy_0) as u64;
        // SAFETY: as above; octets have no alignment.
        let entropy = unsafe { read(entropy) };
        self.identity.set(Identity { generation, entropy, since: self.clock.now() });
    }

    /// Takes the shared ring for `port`, if the host offers one and nobody has it.
    pub(crate) fn take_ring(&self, port: NetPort) -> Option<Ring> {
        const WANTED: Features = Features::SHARED_RING.union(Features::POLL_SERVES_RING);
        if !self.features().contains(WANTED) || self.boot_info.net_ring == 0 {
            return None;
        }
        match self.ring.replace(RingSlot::Taken) {
            // SAFETY: the ring lies there, by the features, and this is the only one that is made of it.
            RingSlot::Untouched => unsafe { Ring::open(self.boot_info.net_ring, port) },
            // It has been used before; the reads in it are that device's.
            RingSlot::Kept(ring) if ring.is_for(port) => Some(ring),
            other => {
                self.ring.replace(other);
                None
            }
        }
    }

    /// Gives the ring back, for the next user of its device.
    pub(crate) fn return_ring(&self, ring: Ring) {
        self.ring.replace(RingSlot::Kept(ring));
    }

    /// The attached network device of that name in the manifest.
    #[must_use]
    pub fn net(&self, name: &str) -> Option<NetPort> {
        (0..).zip(self.manifest).find_map(|(handle, octets)| {
            let entry = Entry::from_bytes(octets).ok()?;
            match entry.kind {
                EntryKind::Net { mac, mtu } if entry.attached && entry.name.as_str() == name => {
                    Some(NetPort { handle, mac, mtu })
                }
                _ => None,
            }
        })
    }

    /// Where the heap lies: from the end of the image to the guard below the stack.
    pub(crate) fn heap_range(&self) -> (u64, u64) {
        (self.boot_info.kernel_end, guard_start(self.boot_info.mem_size))
    }

    /// Reads what the host left at `address`; `entered` is the cycle counter at the first instruction.
    ///
    /// # Safety
    /// To be called once, before anything else, with the address that the host passed to the entry point.
    #[cfg_attr(not(unikernel), expect(dead_code, reason = "the start code is not there"))]
    pub(crate) unsafe fn read(address: u64, entered: u64) -> &'static Self {
        // SAFETY: the boot information lies at the address, by the ABI, and nobody writes to it now.
        let boot_info = unsafe { boot_info(address) };
        // SAFETY: the command line and the manifest lie, terminated and whole, at the addresses that the
        // boot information names, in memory that no longer changes.
        let command_line = unsafe { command_line(boot_info.cmdline) };
        // SAFETY: as above.
        let manifest = unsafe { manifest_entries(boot_info.mft) };
        GUEST.set(Self::new(address, boot_info, command_line, manifest, entered))
    }

    /// A guest that was told this, in an ordinary process.
    #[cfg(not(unikernel))]
    pub(crate) fn pretend(
        address: u64,
        boot_info: BootInfo,
        command_line: &'static str,
        manifest: &'static [[u8; ENTRY_SIZE]],
    ) -> Self {
        Self::new(address, boot_info, command_line, manifest, crate::arch::cycles())
    }

    fn new(
        address: u64,
        boot_info: BootInfo,
        command_line: &'static str,
        manifest: &'static [[u8; ENTRY_SIZE]],
        entered: u64,
    ) -> Self {
        let clock = Clock::new(entered, boot_info.cpu_cycle_freq);
        let (generation, entropy) = (boot_info.generation, boot_info.entropy());
        let identity = Cell::new(Identity { generation, entropy, since: Duration::ZERO });
        let ring = RefCell::new(RingSlot::Untouched);
        Self { clock, boot_info, address, identity, command_line, manifest, ring }
    }
}

static GUEST: Once = Once(UnsafeCell::new(MaybeUninit::uninit()));

/// The one [`Guest`], written once before anybody can have a reference to it.
struct Once(UnsafeCell<MaybeUninit<Guest>>);

// SAFETY: a guest has one thread of execution.
unsafe impl Sync for Once {}

impl Once {
    /// Fills the cell. Called by [`Guest::read`] only, which is called once.
    fn set(&'static self, guest: Guest) -> &'static Guest {
        // SAFETY: nobody has a reference to the content: this is the only place that makes one, and it is
        // reached once.
        let slot = unsafe { &mut *self.0.get() };
        slot.write(guest)
    }
}

/// The boot information at `address`.
///
/// # Safety
/// It must lie there, in whatever form, and not change meanwhile.
unsafe fn boot_info(address: u64) -> BootInfo {
    // SAFETY: the oldest form has as many octets.
    let oldest: [u8; BootInfo::OLDEST_SIZE] = unsafe { copy(address) };
    let mut octets = [0; BootInfo::SIZE];
    octets[..BootInfo::OLDEST_SIZE].copy_from_slice(&oldest);
    let known = BootInfo::from_bytes(&octets);
    // The fields that an older host does not have read as zero.
    let size = BootInfo::known_size(address, known.cmdline, known.mft);
    for (offset, octet) in (0..).zip(&mut octets[..size]) {
        // SAFETY: one of as many octets as the host wrote.
        *octet = unsafe { read(address + offset) };
    }
    BootInfo::from_bytes(&octets)
}

/// The value at `address`, which the host may change between two looks.
///
/// # Safety
/// It must be readable and aligned, and any octets there must be a value.
unsafe fn read<T: Copy>(address: u64) -> T {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
    let pointer = ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: the caller's promise.
    unsafe { pointer.read_volatile() }
}

/// The octets at `address`.
///
/// # Safety
/// They must be readable.
unsafe fn copy<const N: usize>(address: u64) -> [u8; N] {
    let mut octets = [0; N];
    // SAFETY: the caller's promise.
    octets.copy_from_slice(unsafe { view(address, N as u64) });
    octets
}

/// `size` octets at `address`, for good.
///
/// # Safety
/// They must be readable and never change.
unsafe fn view(address: u64, size: u64) -> &'static [u8] {
    // Guest addresses are 64 bits wide on every architecture that there is, so nothing is cut.
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits in a guest")]
    let (address, size) = (address as usize, size as usize);
    // SAFETY: the caller's promise; memory is mapped one to one, so the address is also a pointer.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(address), size) }
}

/// Whether the host's structures may lie there: in the part of memory that the guest can only read.
fn is_host_written(address: u64, size: u64) -> bool {
    address >= READABLE_MIN && address.checked_add(size).is_some_and(|end| end <= LOAD_MIN)
}

/// # Safety
/// A text that ends with a NUL must lie at `address`, and never change.
unsafe fn command_line(address: u64) -> &'static str {
    // The ABI's limit, cut where the readable memory ends.
    let size = (COMMAND_LINE_MAX as u64).min(LOAD_MIN.saturating_sub(address));
    if !is_host_written(address, size) {
        return "";
    }
    // SAFETY: in the part of memory that is readable and written by the host alone.
    let octets = unsafe { view(address, size) };
    let text = octets.split(|octet| *octet == 0).next().unwrap_or_default();
    // What follows an octet that is not UTF-8 is not read.
    text.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// # Safety
/// A manifest must lie at `address`, and never change.
unsafe fn manifest_entries(address: u64) -> &'static [[u8; ENTRY_SIZE]] {
    const HEADER: u64 = manifest::HEADER_SIZE as u64;
    if !is_host_written(address, HEADER) {
        return &[];
    }
    // SAFETY: in the part of memory that is readable and written by the host alone.
    let (version, count) = manifest::header_from_bytes(&unsafe { copy(address) });
    let size = u64::from(count) * ENTRY_SIZE as u64;
    if version != manifest::VERSION || !is_host_written(address + HEADER, size) {
        return &[];
    }
    // SAFETY: in the part of memory that is readable and written by the host alone.
    unsafe { view(address + HEADER, size) }.as_chunks().0
}
