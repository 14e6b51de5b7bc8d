//! The TUN device with offloads: many segments in one system call, and no checksum that the kernel and this side both make.
//!
//! See [`offload`](crate::offload) for what happens to packets here. The device is that of [`Tun`](crate::Tun) otherwise.
#![expect(unsafe_code, reason = "there is no safe call for TUNSETOFFLOAD")]

use std::fs::File;
use std::io::{self, IoSlice, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::offload::{HEADER, Header, LARGEST, Merger, Split};
use crate::{DeviceError, NetworkPort, Sent, tun};

/// What the kernel may leave to this side, most first: an older kernel does not know the last ones.
const OFFLOADS: [libc::c_uint; 3] = [
    libc::TUN_F_CSUM
        | libc::TUN_F_TSO4
        | libc::TUN_F_TSO6
        | libc::TUN_F_TSO_ECN
        | libc::TUN_F_USO4
        | libc::TUN_F_USO6,
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN,
    libc::TUN_F_CSUM,
];

/// A TUN device of this process through which large packets come and go.
#[derive(Debug)]
pub struct BulkTun {
    file: File,
    /// The kernel's header and packet that were read last.
    read: Box<[u8]>,
    /// Octets of that packet, and how it is being split.
    large: Option<(usize, Split)>,
    merger: Merger,
    lost: u64,
}

impl BulkTun {
    /// Makes the device `name`, as [`Tun::create`](crate::Tun::create) does.
    ///
    /// # Errors
    /// When TUN devices cannot be made here or now; the message says what to do.
    pub fn create(name: &str) -> Result<Self, DeviceError> {
        let file = tun::open(name, libc::IFF_TUN | libc::IFF_VNET_HDR)?;
        // A kernel that takes none of them hands over complete packets, each with a header that says so.
        let _ = OFFLOADS.iter().find(|offloads| leave_to_us(&file, **offloads));
        let read = vec![0; HEADER + LARGEST].into_boxed_slice();
        Ok(Self { file, read, large: None, merger: Merger::new(), lost: 0 })
    }
}

/// Whether the kernel leaves these to us from now on.
fn leave_to_us(file: &File, offloads: libc::c_uint) -> bool {
    // SAFETY: the descriptor is open, and TUNSETOFFLOAD takes a number and no pointer.
    unsafe {
        libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) == 0
    }
}

impl AsFd for BulkTun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetworkPort for BulkTun {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some((length, split)) = &mut self.large {
            let packet = split.next(&self.read[HEADER..HEADER + *length], buffer);
            if !split.has_more() {
                self.large = None;
            }
            return Ok(Some(packet));
        }
        let length = match self.file.read(&mut self.read) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let (header, rest) = self.read.split_at_mut(HEADER);
        let packet = &mut rest[..length.saturating_sub(HEADER)];
        let mut octets = [0; HEADER];
        octets.copy_from_slice(header);
        // What was not agreed on goes as it is; the switch finds what is wrong with it.
        if let Some(header) = Header::from_bytes(octets)
            && let Some(split) = Split::new(header, packet)
        {
            self.large = Some((packet.len(), split));
            return self.receive(buffer);
        }
        let room = packet.len().min(buffer.len());
        buffer[..room].copy_from_slice(&packet[..room]);
        Ok(Some(room))
    }

    fn has_more(&self) -> bool {
        self.large.is_some()
    }

    fn transmit(&mut self, head: &[u8], body: &[u8]) -> io::Result<Sent> {
        self.merger.push(head, body, &mut Writer { file: &mut self.file, lost: &mut self.lost });
        Ok(Sent::Taken)
    }

    fn flush(&mut self) -> u64 {
        self.merger.flush(&mut Writer { file: &mut self.file, lost: &mut self.lost });
        std::mem::take(&mut self.lost)
    }
}

/// Writes to the kernel, and counts what it did not take.
struct Writer<'a> {
    file: &'a mut File,
    lost: &'a mut u64,
}

impl crate::offload::Write for Writer<'_> {
    fn write(&mut self, header: &[u8], packet: &[u8], packets: u64) {
        if self.file.write_vectored(&[IoSlice::new(header), IoSlice::new(packet)]).is_err() {
            *self.lost += packets;
        }
    }
}
