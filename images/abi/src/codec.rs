//! Little-endian fields at fixed places of an octet array, usable in constants.

/// Declares a `repr(C)` structure together with its size, its field offsets and its codec.
///
/// The declared offsets are compared with the compiler's own, so a wrong one does not compile.
macro_rules! wire_struct {
    (
        $(#[$meta:meta])*
        pub struct $name:ident, $size:literal octets {
            $( $(#[$field_meta:meta])* $field:ident: $kind:ident at $offset:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[repr(C)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $kind, )+
        }

        impl $name {
            /// Octets that the structure takes in guest memory.
            pub const SIZE: usize = $size;

            /// Reads the structure from its octets; every pattern is a value.
            #[must_use]
            pub const fn from_bytes(bytes: &[u8; $size]) -> Self {
                Self { $( $field: $crate::codec::$kind::read(bytes, $offset), )+ }
            }

            /// The structure's octets; what lies between the fields is zero.
            #[must_use]
            pub const fn to_bytes(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                $( $crate::codec::$kind::write(&mut bytes, $offset, self.$field); )+
                bytes
            }
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $( assert!(core::mem::offset_of!($name, $field) == $offset); )+
        };
    };
}
pub(crate) use wire_struct;

/// One module per integer type, named like it, so that [`wire_struct`] can choose by the type's name.
macro_rules! integer {
    ($($kind:ident)+) => { $(
        pub(crate) mod $kind {
            /// Reads the integer at `offset`.
            pub(crate) const fn read(bytes: &[u8], offset: usize) -> $kind {
                let mut octets = [0; size_of::<$kind>()];
                let mut index = 0;
                while index < octets.len() {
                    octets[index] = bytes[offset + index];
                    index += 1;
                }
                $kind::from_le_bytes(octets)
            }

            /// Writes the integer at `offset`.
            pub(crate) const fn write(bytes: &mut [u8], offset: usize, value: $kind) {
                let octets = value.to_le_bytes();
                let mut index = 0;
                while index < octets.len() {
                    bytes[offset + index] = octets[index];
                    index += 1;
                }
            }
        }
    )+ };
}

integer!(u16 u32 u64 i32);

/// Copies `from` into `to` at `offset`; `copy_from_slice` that works in constants.
pub(crate) const fn put(to: &mut [u8], offset: usize, from: &[u8]) {
    let mut index = 0;
    while index < from.len() {
        to[offset + index] = from[index];
        index += 1;
    }
}
