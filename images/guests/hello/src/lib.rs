//! The site of the default service, apart from what serves it: the unikernel of this package, or an ordinary
//! process (`images/baseline`), so that the two can be compared.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod site;

pub use site::{HelloSite, Host};
