//! Random numbers that differ in every boot, and in every clone of a guest.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::boot::Guest;
use crate::{arch, hypercall};

/// A generator of random numbers, for sequence numbers and the like.
///
/// The seed is what the host gives for this very boot; a host that gives nothing (another monitor) leaves
/// the processor's generator, and the time at which the guest runs. When the guest turns out to be a clone, or
/// to have been resumed, the generator begins anew with what it was given then.
#[derive(Debug)]
pub struct Entropy {
    guest: &'static Guest,
    generation: Option<u64>,
    generator: ChaCha12Rng,
}

impl Entropy {
    pub(crate) fn gather(guest: &'static Guest) -> Self {
        let generation = guest.generation();
        let mut seed = guest.given_entropy().unwrap_or_else(|| from_processor(guest));
        // Costs nothing, and tells apart two clones of a guest should a host ever repeat itself.
        let fresh = generation.unwrap_or(0).to_le_bytes().into_iter();
        for (octet, fresh) in seed.iter_mut().zip(fresh.chain(arch::cycles().to_le_bytes())) {
            *octet ^= fresh;
        }
        Self { guest, generation, generator: ChaCha12Rng::from_seed(seed) }
    }

    /// The next random word.
    pub fn word(&mut self) -> u64 {
        self.fresh().next_u64()
    }

    /// Fills `octets` with random ones.
    pub fn fill(&mut self, octets: &mut [u8]) {
        self.fresh().fill_bytes(octets);
    }

    /// The generator, which belongs to no generation but this one.
    fn fresh(&mut self) -> &mut ChaCha12Rng {
        if self.generation != self.guest.generation() {
            *self = Self::gather(self.guest);
        }
        &mut self.generator
    }
}

fn from_processor(guest: &Guest) -> [u8; 32] {
    let mut seed = [0; 32];
    let (words, _) = seed.as_chunks_mut::<8>();
    for word in words {
        *word = arch::random_word().unwrap_or_default().to_le_bytes();
    }
    let now = (hypercall::walltime() + guest.clock.now()).as_nanos().to_le_bytes();
    for (octet, fresh) in seed[16..].iter_mut().zip(now) {
        *octet ^= fresh;
    }
    seed
}
