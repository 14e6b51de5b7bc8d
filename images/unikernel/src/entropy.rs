//! Random numbers that differ in every boot.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::clock::Clock;
use crate::{arch, hypercall};

/// A generator of random numbers, for sequence numbers and the like.
///
/// The seed is what the host gives for this very boot; a host that gives nothing (another monitor) leaves
/// the processor's generator, and the time at which the guest runs.
#[derive(Debug)]
pub struct Entropy(ChaCha12Rng);

impl Entropy {
    pub(crate) fn gather(given: Option<[u8; 32]>, generation: u64, clock: &Clock) -> Self {
        let mut seed = given.unwrap_or_else(|| from_processor(clock));
        // Costs nothing, and tells apart two clones of a guest should a host ever repeat itself.
        for (octet, fresh) in seed
            .iter_mut()
            .zip(generation.to_le_bytes().into_iter().chain(arch::cycles().to_le_bytes()))
        {
            *octet ^= fresh;
        }
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// The next random word.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `octets` with random ones.
    pub fn fill(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }
}

fn from_processor(clock: &Clock) -> [u8; 32] {
    let mut seed = [0; 32];
    let (words, _) = seed.as_chunks_mut::<8>();
    for word in words {
        *word = arch::random_word().unwrap_or_default().to_le_bytes();
    }
    let now = (hypercall::walltime() + clock.now()).as_nanos().to_le_bytes();
    for (octet, fresh) in seed[16..].iter_mut().zip(now) {
        *octet ^= fresh;
    }
    seed
}
