//! May this wake boot now?

use serde::{Deserialize, Serialize};

/// What may run on this host at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Instances that hold resources: booting, running, and ending.
    pub instances: u32,
    /// Guest memory of those instances together, in octets.
    pub memory: u64,
    /// Instances that boot at the same time. More than there are processors only makes every boot slower.
    pub booting: u32,
}

/// What runs on this host now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Instances that hold resources.
    pub instances: u32,
    /// Their guest memory, in octets.
    pub memory: u64,
    /// How many of them boot.
    pub booting: u32,
}

/// The decision about a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Boot now.
    Boot,
    /// Wait until something else ends or is ready; then ask again.
    Queue(Shortage),
    /// No wait can help: the service needs more than the limit.
    Refuse(Shortage),
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// `limits.instances` is reached.
    Instances,
    /// `limits.memory` would be exceeded.
    Memory,
    /// `limits.booting` is reached.
    Booting,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Instances => "limits.instances",
            Self::Memory => "limits.memory",
            Self::Booting => "limits.booting",
        })
    }
}

/// Decides whether an instance of `memory` octets may boot beside what runs already.
///
/// ```
/// use policies::admission::{Admission, HostFacts, Limits, Shortage, admit};
///
/// let limits = Limits { instances: 2, memory: 16 << 20, booting: 1 };
/// let facts = HostFacts { instances: 1, memory: 8 << 20, booting: 0 };
/// assert_eq!(admit(&limits, &facts, 8 << 20), Admission::Boot);
/// assert_eq!(admit(&limits, &facts, 32 << 20), Admission::Refuse(Shortage::Memory));
/// ```
#[must_use]
pub fn admit(limits: &Limits, facts: &HostFacts, memory: u64) -> Admission {
    if memory > limits.memory {
        return Admission::Refuse(Shortage::Memory);
    }
    if limits.instances == 0 {
        return Admission::Refuse(Shortage::Instances);
    }
    if limits.booting == 0 {
        return Admission::Refuse(Shortage::Booting);
    }
    if facts.instances >= limits.instances {
        return Admission::Queue(Shortage::Instances);
    }
    // A limit that a reload lowered may be exceeded already; then nothing fits.
    if memory > limits.memory.saturating_sub(facts.memory) {
        return Admission::Queue(Shortage::Memory);
    }
    if facts.booting >= limits.booting {
        return Admission::Queue(Shortage::Booting);
    }
    Admission::Boot
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_shortage_is_named() {
        let limits = Limits { instances: 2, memory: 100, booting: 1 };
        let facts = |instances, memory, booting| HostFacts { instances, memory, booting };
        assert_eq!(admit(&limits, &facts(2, 0, 0), 1), Admission::Queue(Shortage::Instances));
        assert_eq!(admit(&limits, &facts(1, 50, 0), 51), Admission::Queue(Shortage::Memory));
        assert_eq!(admit(&limits, &facts(1, 50, 1), 50), Admission::Queue(Shortage::Booting));
        assert_eq!(admit(&limits, &facts(1, 50, 0), 50), Admission::Boot);
        assert_eq!(admit(&limits, &facts(1, 200, 0), 1), Admission::Queue(Shortage::Memory));
        assert_eq!(admit(&limits, &facts(0, 0, 0), 101), Admission::Refuse(Shortage::Memory));
        for nothing in [Limits { instances: 0, ..limits }, Limits { booting: 0, ..limits }] {
            assert!(matches!(admit(&nothing, &facts(0, 0, 0), 1), Admission::Refuse(_)));
        }
    }

    proptest! {
        /// Whatever is admitted, and whatever ends, no limit is ever exceeded; and on an empty host whatever
        /// is not refused boots, so that nobody who waits waits for ever.
        #[test]
        fn no_limit_is_ever_exceeded(
            instances in 0..6_u32,
            memory in 0..100_u64,
            booting in 0..4_u32,
            steps in proptest::collection::vec((0..3_u8, 0..60_u64), 0..200),
        ) {
            let limits = Limits { instances, memory, booting };
            // Each instance: its memory, and whether it still boots.
            let mut alive: Vec<(u64, bool)> = Vec::new();
            for (what, number) in steps {
                let facts = HostFacts {
                    instances: u32::try_from(alive.len()).unwrap(),
                    memory: alive.iter().map(|(memory, _)| memory).sum(),
                    booting: u32::try_from(alive.iter().filter(|(_, boots)| *boots).count()).unwrap(),
                };
                prop_assert!(facts.instances <= instances && facts.memory <= memory && facts.booting <= booting);
                let index = usize::try_from(number).unwrap() % alive.len().max(1);
                match what {
                    0 => match admit(&limits, &facts, number) {
                        Admission::Boot => alive.push((number, true)),
                        Admission::Queue(_) => prop_assert!(!alive.is_empty()),
                        Admission::Refuse(_) => {
                            prop_assert_eq!(
                                admit(&limits, &HostFacts::default(), number),
                                admit(&limits, &facts, number),
                                "refused for good, but not on an empty host"
                            );
                        }
                    },
                    1 if !alive.is_empty() => alive[index].1 = false,
                    _ if !alive.is_empty() => drop(alive.remove(index)),
                    _ => {}
                }
            }
        }
    }
}
