//! What one side of a connection offers in its SYN (RFC 9293, section 3.2; RFC 7323; RFC 2018).

use etherparse::{TcpOptionElement, TcpSlice};

/// Scales beyond are used as this one (RFC 7323, section 2.3).
const MAX_SCALE: u8 = 14;
/// Options that sign segments (RFC 2385, RFC 5925): what is signed cannot be answered or changed by a third party.
const SIGNATURES: [u8; 2] = [19, 29];

/// The options of a SYN or SYN-ACK that matter to the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The largest segment that it takes, in octets of data.
    pub(crate) mss: Option<u16>,
    /// By how many bits its windows are to be shifted.
    pub(crate) window_scale: Option<u8>,
    /// Whether it understands selective acknowledgments.
    pub(crate) sack: bool,
    /// Whether the segment is signed.
    pub(crate) signed: bool,
    /// The window, in octets: that of a SYN is never scaled.
    pub(crate) window: u16,
}

impl Offer {
    /// What `tcp` offers. Octets that are no options are as good as none: whoever sent them gets what everybody supports.
    pub(crate) fn of(tcp: &TcpSlice<'_>) -> Self {
        let mut offer = Self { window: tcp.window_size(), ..Self::default() };
        let mut rest = tcp.options();
        while let [kind, after @ ..] = rest {
            let length = match kind {
                0 => break,
                1 => 1,
                _ => usize::from(after.first().copied().unwrap_or_default()),
            };
            let Some((option, next)) = rest.split_at_checked(length.max(1)) else { break };
            match *option {
                [2, 4, high, low] => offer.mss = Some(u16::from_be_bytes([high, low])),
                [3, 3, scale] => offer.window_scale = Some(scale.min(MAX_SCALE)),
                [4, 2] => offer.sack = true,
                [kind, _, ..] if SIGNATURES.contains(&kind) => offer.signed = true,
                _ => {}
            }
            rest = next;
        }
        offer
    }

    /// The options in the form in which they are sent.
    pub(crate) fn options(&self) -> Vec<TcpOptionElement> {
        use TcpOptionElement::{
            MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, WindowScale,
        };
        let mut options: Vec<_> = self.mss.map(MaximumSegmentSize).into_iter().collect();
        if self.sack {
            options.extend([Noop, Noop, SelectiveAcknowledgementPermitted]);
        }
        if let Some(scale) = self.window_scale {
            options.extend([Noop, WindowScale(scale)]);
        }
        options
    }
}
