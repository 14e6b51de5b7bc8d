//! What happened so far, by reason.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Totals since the switch was made.
        ///
        /// A packet that is not forwarded adds to exactly one of the `dropped_*` counters, unless it is held or
        /// answered.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Packets that came in by the uplink.
    received_uplink,
    /// Frames that came in from guests.
    received_guests,
    /// Packets of clients forwarded to guests, replays not included.
    forwarded_to_guests,
    /// Packets of guests forwarded to the uplink.
    forwarded_to_uplink,
    /// Packets of guests addressed to other services, which may be held there.
    between_guests,
    /// SYNs that were held.
    held_syns,
    /// SYNs that went straight to a guest known to listen, and were kept until it answered. One that it left
    /// unanswered when its port closed adds to `held_syns` too.
    passed_syns,
    /// Datagrams and echo requests that were held.
    held_datagrams,
    /// SYNs that were answered in the name of a guest, kept or with a cookie.
    answered_syns,
    /// Answers given once more, because the client did not show that it got one.
    answers_again,
    /// SYNs that were answered with a cookie, and not kept.
    cookies_sent,
    /// Connections that were opened by a cookie.
    cookies_accepted,
    /// Connections answered by the switch that a guest has taken over.
    spliced,
    /// Octets that clients sent before the guest took them.
    early_octets,
    /// Half-open connections taken from a guest that had too many.
    half_open_withdrawn,
    /// Further transmissions of a held SYN; counted, not queued.
    held_retransmissions,
    /// RSTs of clients that gave up a held flow.
    held_withdrawals,
    /// SYNs and datagrams given to guests out of the hold, repetitions included.
    replays,
    /// Refusals of guests that do not listen yet (a RST or unreachable), not shown to the client.
    hidden_refusals,
    /// Wakes told to the owner.
    wakes,
    /// RSTs sent by the switch itself.
    resets_sent,
    /// ICMP and ICMPv6 destination unreachable messages sent by the switch itself.
    unreachables_sent,
    /// ICMP and ICMPv6 messages sent by the switch itself about packets that are too long.
    too_big_sent,
    /// ARP requests and neighbour solicitations of guests that were answered.
    neighbours_answered,
    /// Connections that are not tracked, because their instance has too many.
    flows_untracked,
    /// Commands about a service that is not attached or a generation that is over.
    stale_commands,
    /// Not a well-formed IP packet, ARP packet or Ethernet frame.
    dropped_malformed,
    /// Fragments of TCP segments that would have to be translated, and other ones for a service that is not running of
    /// which the first part is not held.
    dropped_fragment,
    /// A SYN with a wrong checksum.
    dropped_checksum,
    /// Longer than the MTU.
    dropped_oversized,
    /// For an address that no service has.
    dropped_unknown_destination,
    /// From an address that no client can have.
    dropped_martian_source,
    /// From a guest, under an address that is not its own.
    dropped_spoofed_source,
    /// From a guest whose port is not open (any more).
    dropped_stale_port,
    /// From a guest, neither IP nor ARP.
    dropped_ether_type,
    /// From a guest, to a group, to itself, or to no address at all.
    dropped_destination,
    /// A neighbour or group message that needs no answer.
    dropped_neighbour,
    /// For a service that is not running, of a kind that is not held.
    dropped_not_holdable,
    /// For a service that is not running, a segment that belongs to no connection and gets no RST.
    dropped_stray_segment,
    /// Of a held connection, neither a SYN nor a valid RST.
    dropped_held_segment,
    /// Could not be held because a bound was reached.
    dropped_overflow,
}
