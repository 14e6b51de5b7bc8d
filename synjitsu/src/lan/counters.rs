//! What happened on the segment so far, by reason.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Totals since the [`Lan`](super::Lan) was made.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct LanCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl LanCounters {
            /// Every counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((concat!("lan_", stringify!($name)), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames that came from the segment.
    received,
    /// Packets of clients that were given to the switch.
    delivered,
    /// Packets of the switch that were sent to a neighbour, waiting ones included.
    sent,
    /// Questions about a service's address that were answered.
    answered,
    /// Times that an address was announced: at a start, and in its defence.
    announcements,
    /// Frames of other stations that claim a service's address.
    conflicts,
    /// Questions that were asked about neighbours.
    asked,
    /// Neighbours that did not answer.
    silent_neighbours,
    /// Changes of a neighbour's link-layer address that were not believed.
    doubted,
    /// Not a well-formed frame or message of ARP or neighbour discovery.
    dropped_malformed,
    /// For another station, an address that is no service's, or of a kind that is none of ours.
    dropped_foreign,
    /// Messages of ARP and neighbour discovery that change nothing here.
    dropped_idle,
    /// Of the switch: not a packet, or to or from an address that it cannot have on this segment.
    dropped_unsendable,
    /// Of the switch: the destination is not on the segment, and no router is known.
    dropped_no_router,
    /// Of the switch: too much waits for neighbours.
    dropped_overflow,
    /// Of the switch: its neighbour did not answer.
    dropped_silent,
}
