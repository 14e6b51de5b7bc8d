//! Initial sequence numbers that nobody outside can predict (RFC 6528).

use std::hash::Hasher;
use std::net::IpAddr;

use policies::Instant;
use siphasher::sip::SipHasher24;

use crate::flow::FlowKey;
use crate::seq::SeqNumber;

/// The clock of initial sequence numbers ticks once in so many nanoseconds (RFC 6528, section 3: 4 microseconds).
const TICK: u64 = 4000;

/// The source of numbers that only we can make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    secret: [u8; 16],
}

impl Numbers {
    pub(crate) const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// ISN = M + F(addresses, ports, secret).
    pub(crate) fn initial(&self, now: Instant, key: &FlowKey) -> SeqNumber {
        let ticks = now.as_nanos() / TICK;
        SeqNumber(low(ticks).wrapping_add(low(self.hash(key, 0, 0))))
    }

    /// A number that depends on a flow and two more; `purpose` keeps uses apart and is 0 for sequence numbers.
    pub(super) fn hash(&self, key: &FlowKey, purpose: u64, more: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u64(purpose);
        hasher.write_u64(more);
        for (address, port) in [(key.local, key.local_port), (key.remote, key.remote_port)] {
            match address {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
            hasher.write_u16(port);
        }
        hasher.finish()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low(number: u64) -> u32 {
    number as u32
}
