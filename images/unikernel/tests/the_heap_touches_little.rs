//! The heap hands out memory from the bottom up, and zero as zero, without writing what was never written.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail as the test itself")]
#![allow(unsafe_code, reason = "an allocator is called as one")]

use std::alloc::{GlobalAlloc, Layout, System};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use unikernel::heap::Heap;

const SIZE: usize = 8 << 20;
const PAGE: usize = 4096;

/// A heap with memory of its own, zero at first as a guest's is.
struct Arena {
    heap: Heap,
    memory: *mut u8,
}

impl Arena {
    /// Beginning somewhere in a page.
    fn new(offset: usize) -> Self {
        let layout = Layout::from_size_align(SIZE, PAGE).unwrap();
        // SAFETY: the layout has a size.
        let memory = unsafe { System.alloc_zeroed(layout) };
        let heap = Heap::new();
        let start = memory.expose_provenance();
        // SAFETY: the memory is zero, and leaked.
        unsafe { heap.claim(start + offset, start + SIZE) };
        Self { heap, memory }
    }

    fn zeroed(&self, size: usize, align: usize) -> *mut u8 {
        // SAFETY: the layout has a size.
        unsafe { self.heap.alloc_zeroed(Layout::from_size_align(size, align).unwrap()) }
    }

    /// Pages with an octet that is not zero.
    fn written(&self) -> usize {
        // SAFETY: allocated with that size; nobody writes now.
        let octets = unsafe { std::slice::from_raw_parts(self.memory, SIZE) };
        octets.chunks(PAGE).filter(|page| page.iter().any(|octet| *octet != 0)).count()
    }
}

#[test]
fn buffers_of_zeroes_cost_no_page_but_where_they_meet() {
    let arena = Arena::new(200);
    for _ in 0..50 {
        assert!(!arena.zeroed(3 * 1024, 1).is_null());
        assert!(!arena.zeroed(8 * 1024, 1).is_null());
    }
    // 550 KiB; the allocator's words are between the blocks.
    assert!(arena.written() <= 103, "{}", arena.written());
    let arena = Arena::new(200);
    assert!(!arena.zeroed(4 << 20, 64).is_null());
    assert!(arena.written() <= 3, "{}", arena.written());
}

#[test]
fn the_heap_ends_where_it_is_told() {
    let arena = Arena::new(0);
    let mut blocks = 0;
    while !arena.zeroed(100_000, 8).is_null() {
        blocks += 1;
    }
    assert!((SIZE / 100_000 - 2..=SIZE / 100_000).contains(&blocks), "{blocks}");
    assert!(arena.heap.frontier() <= arena.memory.addr() + SIZE);
    assert!(arena.zeroed(SIZE * 2, 8).is_null());
    assert!(!arena.zeroed(16, 8).is_null(), "a little is left");
    let empty = Heap::new();
    // SAFETY: the layout has a size.
    assert!(unsafe { empty.alloc(Layout::new::<u64>()) }.is_null());
}

/// Any sequence of calls: what is asked for as zero is zero, and no two blocks overlap.
#[test]
fn zero_is_zero_whatever_was_there_before() {
    for seed in 0..25 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: usize| usize::try_from(random.next_u64() % bound as u64).unwrap();
        let arena = Arena::new(below(PAGE));
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for step in 0..400 {
            let size = match below(4) {
                0 => 1 + below(64),
                1 => 1 + below(2000),
                2 => 1 + below(12_000),
                _ => PAGE * (1 + below(8)) - below(100),
            };
            let layout = Layout::from_size_align(size, 1 << below(8)).unwrap();
            let fill = u8::try_from(1 + step % 255).unwrap();
            match below(5) {
                0 | 1 => {
                    let block = arena.zeroed(layout.size(), layout.align());
                    if block.is_null() {
                        continue;
                    }
                    // SAFETY: a block of that size, just allocated.
                    let octets = unsafe { std::slice::from_raw_parts_mut(block, size) };
                    assert!(octets.iter().all(|octet| *octet == 0), "seed {seed}, step {step}");
                    octets.fill(fill);
                    blocks.push((block, layout, fill));
                }
                2 => {
                    // SAFETY: the layout has a size.
                    let block = unsafe { arena.heap.alloc(layout) };
                    if !block.is_null() {
                        // SAFETY: a block of that size, just allocated.
                        unsafe { block.write_bytes(fill, size) };
                        blocks.push((block, layout, fill));
                    }
                }
                3 if !blocks.is_empty() => {
                    let (block, old, fill) = blocks.swap_remove(below(blocks.len()));
                    // SAFETY: allocated with that layout.
                    let moved = unsafe { arena.heap.realloc(block, old, size) };
                    assert!(!moved.is_null());
                    let layout = Layout::from_size_align(size, old.align()).unwrap();
                    // SAFETY: a block of that size.
                    let octets = unsafe { std::slice::from_raw_parts_mut(moved, size) };
                    assert!(octets[..size.min(old.size())].iter().all(|octet| *octet == fill));
                    octets.fill(fill);
                    blocks.push((moved, layout, fill));
                }
                _ if !blocks.is_empty() => {
                    let (block, layout, fill) = blocks.swap_remove(below(blocks.len()));
                    // SAFETY: a block of that size.
                    let octets = unsafe { std::slice::from_raw_parts(block, layout.size()) };
                    assert!(octets.iter().all(|octet| *octet == fill), "seed {seed}, step {step}");
                    // SAFETY: allocated with that layout.
                    unsafe { arena.heap.dealloc(block, layout) };
                }
                _ => {}
            }
        }
    }
}
