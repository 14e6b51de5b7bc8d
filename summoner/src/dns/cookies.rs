//! DNS cookies (RFC 7873): what a client sends back shows that it has received what we sent, so its address is not forged.
//!
//! Server cookies are those of RFC 9018, version 1, which all servers of a zone can make and check who share a secret:
//!
//! ```text
//!   | client cookie (8) | version 1, reserved 0 (4) | timestamp (4) | SipHash-2-4 (8) |
//!     the client's       the server's; the hash is of all before it and the client's address
//! ```
//!
//! Nobody is made to use them: a query with none, or with a wrong one, is answered as it always was, with a good one to
//! come back with.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;
use siphasher::sip128;

use crate::entropy;

/// Octets of a client cookie (RFC 7873, section 4).
const CLIENT: usize = 8;
/// Octets of our server cookies (RFC 9018, section 4).
const SERVER: usize = 16;
/// Octets that a server cookie of anybody may have (RFC 7873, section 4).
const ANY_SERVER: std::ops::RangeInclusive<usize> = 8..=32;
/// The version, before three octets that are reserved: zero in ours, and whatever they are part of the hash in others'.
const VERSION: u8 = 1;
/// How old a server cookie may be, in seconds (RFC 9018, section 4.3).
const OLDEST: u32 = 3600;
/// From when on a new one is given, in seconds.
const RENEWED: u32 = 1800;
/// How far ahead another server's clock may be, in seconds.
const AHEAD: u32 = 300;
/// How long a key that is ours alone is used, in seconds (RFC 7873, section 7.1, wants less than 36 days).
const KEY_LIFE: u32 = 86_400;

/// A whole COOKIE option's data, as we answer: the client's cookie and ours.
pub(super) type Option24 = [u8; CLIENT + SERVER];

/// A key.
type Secret = [u8; 16];

/// Makes server cookies and knows them again.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookies(Keys);

#[derive(Clone, PartialEq, Eq)]
enum Keys {
    /// Nobody else's; the keys of the days are made from it.
    Own(Secret),
    /// Those of all servers of the zone: the first makes cookies, the others only know them again.
    Shared(Vec<Secret>),
}

impl fmt::Debug for Cookies {
    /// The secrets are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

/// Why a text is not a list of secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// A line is not a secret. It is not shown: it may be nearly one.
    #[error("line {line} is not a secret of 32 hexadecimal digits")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// There is none.
    #[error("there is no secret in it")]
    None,
}

/// A COOKIE option that breaks the rules (RFC 7873, section 5.2.2): the query is answered with FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// How old a good cookie is.
#[derive(Debug, Clone, Copy)]
struct Age {
    seconds: u32,
    /// Its secret is not the one that makes cookies now.
    renew: bool,
}

/// What a COOKIE option says, and what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// Whether the client has received what was sent to its address within the last hour.
    pub(super) proven: bool,
    /// The data of the COOKIE option to answer with.
    pub(super) answer: Option24,
}

impl Cookies {
    /// Cookies of this server alone, until it ends.
    #[must_use]
    pub fn of_this_server() -> Self {
        let mut secret = Secret::default();
        entropy::fill(&mut secret);
        Self(Keys::Own(secret))
    }

    /// Cookies of several servers: `text` has a secret of 32 hexadecimal digits on each line. The first makes
    /// cookies, all are known. To change it (RFC 9018, section 5), add the new one as the second line everywhere, then make it
    /// the first, then remove the old one after an hour.
    ///
    /// # Errors
    /// With the first line that is none.
    pub fn shared(text: &str) -> Result<Self, SecretsError> {
        let mut secrets = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            secrets.push(secret(line).ok_or(SecretsError::Line { line: number + 1 })?);
        }
        if secrets.is_empty() { Err(SecretsError::None) } else { Ok(Self(Keys::Shared(secrets))) }
    }

    /// What `option`, the data of a COOKIE option from `source`, says at `now`, in seconds since 1970.
    pub(super) fn check(
        &self,
        now: u32,
        source: IpAddr,
        option: &[u8],
    ) -> Result<Checked, Malformed> {
        let (client, server) = option.split_first_chunk::<CLIENT>().ok_or(Malformed)?;
        if !server.is_empty() && !ANY_SERVER.contains(&server.len()) {
            return Err(Malformed);
        }
        let source = source.to_canonical();
        let age = <&[u8; SERVER]>::try_from(server)
            .ok()
            .and_then(|server| self.age(now, source, client, server));
        let answer = match age {
            Some(Age { seconds, renew: false }) if seconds < RENEWED => {
                concatenated(client, server)
            }
            Some(_) | None => self.made(now, source, client),
        };
        Ok(Checked { proven: age.is_some(), answer })
    }

    /// The age of a server cookie of ours that is still good.
    fn age(
        &self,
        now: u32,
        source: IpAddr,
        client: &[u8; CLIENT],
        server: &[u8; SERVER],
    ) -> Option<Age> {
        let (head, hash) = server.split_at(8);
        let timestamp = u32::from_be_bytes(head[4..].try_into().ok()?);
        // On the circle (RFC 1982): the clock goes round in 2106.
        let (age, ahead) = (now.wrapping_sub(timestamp), timestamp.wrapping_sub(now));
        if head[0] != VERSION || (age > OLDEST && ahead > AHEAD) {
            return None;
        }
        let good = |secret: &Secret| same(&hashed(secret, client, head, source), hash);
        let known = match &self.0 {
            Keys::Own(secret) => good(&of_day(secret, timestamp)).then_some(0),
            Keys::Shared(secrets) => secrets.iter().position(good),
        };
        // One of the near future is as good as one of now.
        let seconds = if age > OLDEST { 0 } else { age };
        known.map(|place| Age { seconds, renew: place > 0 })
    }

    fn made(&self, now: u32, source: IpAddr, client: &[u8; CLIENT]) -> Option24 {
        let mut head = [0; 8];
        head[0] = VERSION;
        head[4..].copy_from_slice(&now.to_be_bytes());
        let hash = match &self.0 {
            Keys::Own(secret) => hashed(&of_day(secret, now), client, &head, source),
            Keys::Shared(secrets) => hashed(&secrets[0], client, &head, source),
        };
        let mut server = [0; SERVER];
        server[..8].copy_from_slice(&head);
        server[8..].copy_from_slice(&hash);
        concatenated(client, &server)
    }
}

/// The key of a timestamp's day: whoever finds it out has nothing the next day.
fn of_day(secret: &Secret, timestamp: u32) -> Secret {
    let mut hasher = sip128::SipHasher24::new_with_key(secret);
    hasher.write(&(timestamp / KEY_LIFE).to_be_bytes());
    sip128::Hasher128::finish128(&hasher).as_bytes()
}

fn hashed(secret: &Secret, client: &[u8; CLIENT], head: &[u8], source: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(client);
    hasher.write(head);
    match source {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    // SipHash's own order of octets, which the test vectors of RFC 9018 have.
    hasher.finish().to_le_bytes()
}

/// Whether they are equal, in a time that does not tell where they differ.
fn same(one: &[u8; 8], other: &[u8]) -> bool {
    one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

fn concatenated(client: &[u8; CLIENT], server: &[u8]) -> Option24 {
    let mut option = [0; CLIENT + SERVER];
    option[..CLIENT].copy_from_slice(client);
    option[CLIENT..].copy_from_slice(server);
    option
}

fn secret(text: &str) -> Option<Secret> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut secret = Secret::default();
    for (octet, pair) in secret.iter_mut().zip(digits.chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn checked(cookies: &Cookies, now: u32, source: &str, hex: &str) -> (bool, Vec<u8>) {
        let checked = cookies.check(now, source.parse().unwrap(), &octets(hex)).unwrap();
        (checked.proven, checked.answer.to_vec())
    }

    /// RFC 9018, appendix A.
    #[test]
    fn they_are_those_of_other_servers() {
        let secret = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        let cookies = Cookies::shared(secret).unwrap();
        // A.1: a first query.
        let answer = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let first = checked(&cookies, 1_559_731_985, "198.51.100.100", "2464c4abcf10c957");
        assert_eq!(first, (false, octets(answer)));
        // A.2: the same client after 40 minutes.
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        let again = checked(&cookies, 1_559_734_385, "198.51.100.100", answer);
        assert_eq!(again, (true, octets(renewed)));
        // A.3: reserved octets that are not zero.
        let other = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let renewed = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        let late = checked(&cookies, 1_559_734_700, "203.0.113.203", other);
        assert_eq!(late, (false, octets(renewed)));
        assert!(checked(&cookies, 1_559_728_000, "203.0.113.203", other).0);
        // A.4: IPv6, and a new secret, while the old one is still known.
        let both = "445536bcd2513298075a5d379663c962\ndd3bdf9344b678b185a6f5cb60fca715";
        let both = Cookies::shared(both).unwrap();
        let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
        let source = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let (proven, answer) = checked(&both, 1_559_741_961, source, old);
        assert!(proven);
        assert_eq!(answer, octets("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
    }

    #[test]
    fn they_are_good_for_an_hour_and_one_client() {
        let cookies = Cookies::of_this_server();
        let hex =
            |option: &[u8]| option.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        // Near the end of a day: the key of the day is the cookie's.
        let made = 100 * KEY_LIFE - 10;
        let (proven, first) = checked(&cookies, made, "192.0.2.1", "0102030405060708");
        assert!(!proven);
        let first = hex(&first);
        for (later, good, kept) in [
            (0, true, true),
            (1799, true, true),
            (1800, true, false),
            (3600, true, false),
            (3601, false, false),
        ] {
            let (proven, answer) = checked(&cookies, made + later, "192.0.2.1", &first);
            assert_eq!((proven, hex(&answer) == first), (good, kept), "after {later} s");
            assert!(checked(&cookies, made + later, "192.0.2.1", &hex(&answer)).0);
        }
        assert!(checked(&cookies, made - 300, "192.0.2.1", &first).0);
        assert!(!checked(&cookies, made - 301, "192.0.2.1", &first).0);
        assert!(checked(&cookies, made, "::ffff:192.0.2.1", &first).0);
        assert!(!checked(&cookies, made, "192.0.2.2", &first).0, "another client");
        let mut other = octets(&first);
        for at in 0..other.len() {
            other[at] ^= 1;
            assert!(!checked(&cookies, made, "192.0.2.1", &hex(&other)).0, "octet {at}");
            other[at] ^= 1;
        }
        assert!(!checked(&Cookies::of_this_server(), made, "192.0.2.1", &first).0);
    }

    #[test]
    fn lengths_that_cannot_be_are_told() {
        let cookies = Cookies::of_this_server();
        for length in 0..=45 {
            let good = matches!(length, 8 | 16..=40);
            let checked = cookies.check(1, [192, 0, 2, 1].into(), &vec![0; length]);
            assert_eq!(checked.is_ok(), good, "{length} octets");
        }
    }

    #[test]
    fn secrets_are_read_and_not_shown() {
        let good = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        assert!(Cookies::shared(&format!("# ours\n{good}\n\n{good}\n")).is_ok());
        assert_eq!(Cookies::shared("# none\n\n"), Err(SecretsError::None));
        for bad in ["e5e9", &good.replace('a', "g"), &good.replace("a6", "é"), &good.repeat(2)] {
            let told = Cookies::shared(&format!("{good}\n{bad}\n"));
            assert_eq!(told, Err(SecretsError::Line { line: 2 }));
        }
        assert_eq!(format!("{:?}", Cookies::shared(good).unwrap()), "Cookies { .. }");
    }
}
