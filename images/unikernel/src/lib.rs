//! What a guest needs to be a unikernel on the Solo5 hvt interface: start, heap, clock, console, entropy and
//! a network stack.
//!
//! A service is one short file:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! unikernel::main!(main, net = "service");
//!
//! fn main(guest: &'static unikernel::Guest) -> i32 {
//!     unikernel::println!("hello at {:?} after entry", guest.clock.now());
//!     0
//! }
//! ```
//!
//! The guest runs in the processor's unprivileged mode, on one vCPU, without interrupts: nothing ever
//! happens behind its back. It talks to the outside by [`hypercall`]s only, and sleeps in one of them.
//!
//! Compiled without `--cfg unikernel` this is an ordinary library whose pure parts can be tested on the
//! host; the start, the heap and the memory functions are left out then.
#![no_std]

extern crate alloc;

mod arch;
mod boot;
mod clock;
mod command_line;
pub mod console;
mod entropy;
#[doc(hidden)]
pub mod heap;
pub mod http;
pub mod hypercall;
pub mod net;
#[cfg(not(unikernel))]
#[doc(hidden)]
pub mod pretence;
pub mod server;
#[cfg(unikernel)]
mod start;

pub use boot::{Guest, NetPort};
pub use clock::Clock;
pub use command_line::{CommandLine, Flags};
pub use entropy::Entropy;
pub use smoltcp;

#[doc(hidden)]
pub mod macro_support {
    pub use hvt_abi::manifest::{Entry, Name};
    pub use hvt_abi::note::Mft1Note;
}

/// Declares a guest: its main function and the devices it needs.
///
/// `unikernel::main!(FUNCTION)` or `unikernel::main!(FUNCTION, net = "NAME")`, where `FUNCTION` is a
/// `fn(&'static Guest) -> i32` whose result is the guest's exit status, and `NAME` the name of its network
/// device, of ASCII letters and digits.
#[macro_export]
macro_rules! main {
    ($main:path $(, net = $net:literal)* $(,)?) => {
        const _: () = {
            use $crate::macro_support::{Entry, Mft1Note, Name};

            const ENTRIES: usize = [$( $net, )* ""].len();

            #[used]
            #[unsafe(link_section = ".note.solo5.manifest")]
            static MANIFEST: Mft1Note<ENTRIES> = Mft1Note::new([
                Entry::RESERVED,
                $( Entry::net(Name::new($net).expect("a device name is letters and digits")), )*
            ]);

            // Called by the library's start code, which cannot name it in another way.
            #[unsafe(no_mangle)]
            fn __unikernel_main(guest: &'static $crate::Guest) -> i32 {
                $main(guest)
            }
        };
    };
}
