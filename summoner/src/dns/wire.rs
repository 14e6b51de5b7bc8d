//! Places in a message's octets (RFC 1035, section 4.1), for what is looked at before or after hickory.

/// Length of the header.
pub(super) const HEADER: usize = 12;
/// The octets after the name of a question: its type and class.
pub(super) const QUESTION_FIXED: usize = 4;
/// The octets after the name of a record: type, class, TTL and the length of its data.
pub(super) const RECORD_FIXED: usize = 10;

/// The number of two octets at `at`.
pub(super) fn number(message: &[u8], at: usize) -> Option<u16> {
    let octets = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([octets[0], octets[1]]))
}

/// Where a name that begins at `at` ends. What it points to is not looked at.
pub(super) fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            // A pointer ends a name (RFC 1035, section 4.1.4).
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + length,
        }
    }
}
