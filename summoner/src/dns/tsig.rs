//! Signatures with shared secrets (TSIG, RFC 8945): who asks for a transfer, and that what he gets is ours.
//!
//! hickory reads and writes the record and says what is signed; what is done about a bad signature, and signing a
//! response of many messages, is here.

use std::collections::HashMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::ProtoError;
use hickory_proto::op::{Header, HeaderCounts, Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{
    TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf,
};
use hickory_proto::rr::{LowerName, Name, TSigner};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use tracing::debug;

/// How far the clocks of client and server may differ, in seconds (RFC 8945, section 10).
pub const FUDGE: u16 = 300;
/// Where the header's number of additional records is (RFC 1035, section 4.1.1).
const ADDITIONALS: usize = 10;
/// Length of the header.
const HEADER: usize = 12;

/// The keys that are known, by name.
#[derive(Default, Clone)]
pub struct Keyring(HashMap<LowerName, TSigner>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: what is secret belongs in no log.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<TSigner> for Keyring {
    fn from_iter<T: IntoIterator<Item = TSigner>>(keys: T) -> Self {
        let named = |key: TSigner| (LowerName::new(key.signer_name()), key);
        Self(keys.into_iter().map(named).collect())
    }
}

impl Keyring {
    /// The key with this name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&TSigner> {
        self.0.get(&LowerName::new(name))
    }

    /// Checks a query's signature (RFC 8945, section 5.2). `now` is in seconds since 1970.
    pub(super) fn check(&self, octets: &[u8], query: &Message, now: u64) -> Checked {
        let Some(record) = query.signature() else { return Checked::Unsigned };
        let tsig = &record.data;
        let refuse = |error, session: Option<Session>| {
            debug!(key = %record.name, ?error, "a signature is refused");
            Checked::Refused(refusal(query, record.name.clone(), error, session, now))
        };
        let algorithm = TsigAlgorithm::from_name(tsig.algorithm.to_name().to_lowercase());
        let key = self.get(&record.name).filter(|key| *key.algorithm() == algorithm);
        let Some(key) = key else { return refuse(TsigError::BadKey, None) };
        // A shortened MAC is not taken (RFC 8945, section 5.2.2.1 lets us choose): it fails here like any wrong one.
        let signed = signed_bitmessage_to_buf(octets, None, true);
        let verified = signed.is_ok_and(|(signed, _)| key.verify(&signed, &tsig.mac).is_ok());
        if !verified {
            return refuse(TsigError::BadSig, None);
        }
        let session =
            Session { key: key.clone(), id: tsig.oid, previous: tsig.mac.clone(), is_first: true };
        if now.abs_diff(tsig.time) > u64::from(tsig.fudge) {
            return refuse(TsigError::BadTime, Some(session));
        }
        Checked::Signed(session)
    }
}

/// What a query's signature says.
#[derive(Debug)]
pub(super) enum Checked {
    /// There is none.
    Unsigned,
    /// It is good; responses have to be signed.
    Signed(Session),
    /// It is not; this is the response. `None` if it cannot be written.
    Refused(Option<Vec<u8>>),
}

/// Signs the messages of a response, one after the other.
pub(super) struct Session {
    key: TSigner,
    /// Of the query.
    id: u16,
    /// The MAC of the message before, at first the query's.
    previous: Vec<u8>,
    is_first: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("key", self.key.signer_name()).finish_non_exhaustive()
    }
}

impl Session {
    /// The name of the key that signed the query.
    pub(super) fn key(&self) -> &Name {
        self.key.signer_name()
    }

    /// Signs the next message of the response. `now` is in seconds since 1970.
    pub(super) fn sign(&mut self, message: Vec<u8>, now: u64) -> Result<Vec<u8>, ProtoError> {
        self.sign_with(message, now, None, Vec::new())
    }

    /// A message that is too long with its signature is signed without its records instead, and says that it is cut
    /// (RFC 8945, section 5.3).
    pub(super) fn sign_within(
        &mut self,
        limit: usize,
        message: Vec<u8>,
        now: u64,
    ) -> Result<Vec<u8>, ProtoError> {
        let cut = truncated(&message);
        let previous = self.previous.clone();
        let signed = self.sign(message, now)?;
        if signed.len() <= limit {
            return Ok(signed);
        }
        self.previous = previous;
        self.is_first = true;
        self.sign(cut?, now)
    }

    fn sign_with(
        &mut self,
        mut message: Vec<u8>,
        time: u64,
        error: Option<TsigError>,
        other: Vec<u8>,
    ) -> Result<Vec<u8>, ProtoError> {
        let algorithm = self.key.algorithm().clone();
        let tsig = TSIG::new(algorithm, time, FUDGE, Vec::new(), self.id, error, other);
        // RFC 8945, sections 4.3 and 5.3.1: the MAC before with its length, the message, and of the record all variables
        // in the first message, in later ones only the times.
        let mut signed = Vec::with_capacity(message.len() + 256);
        let mut encoder = BinEncoder::new(&mut signed);
        encoder.emit_u16(u16::try_from(self.previous.len()).unwrap_or(u16::MAX))?;
        encoder.emit_vec(&self.previous)?;
        encoder.emit_vec(&message)?;
        if self.is_first {
            tsig.emit_tsig_for_mac(&mut encoder, self.key.signer_name())?;
        } else {
            let time = tsig.time.to_be_bytes();
            encoder.emit_vec(&time[2..])?;
            encoder.emit_u16(tsig.fudge)?;
        }
        let mac = self.key.sign(&signed).map_err(|error| ProtoError::from(error.to_string()))?;
        append(&mut message, self.key.signer_name().clone(), tsig.set_mac(mac.clone()))?;
        self.previous = mac;
        self.is_first = false;
        Ok(message)
    }
}

/// Seconds since 1970, which is what signatures are about.
pub(super) fn unix_seconds() -> u64 {
    // A clock before 1970 is wrong in any case: every signature will be refused.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Appends the record to a message.
fn append(message: &mut Vec<u8>, name: Name, tsig: TSIG) -> Result<(), ProtoError> {
    let record = make_tsig_record(name, tsig);
    let mut octets = Vec::new();
    record.emit(&mut BinEncoder::new(&mut octets))?;
    let count = message.get_mut(ADDITIONALS..HEADER);
    let count = count.and_then(|count| <&mut [u8; 2]>::try_from(count).ok());
    let Some(count) = count else { return Err(ProtoError::from("a message without a header")) };
    *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
    message.extend_from_slice(&octets);
    Ok(())
}

/// The response to a query whose signature is not good (RFC 8945, section 5.3.2): signed only if we know who asks.
fn refusal(
    query: &Message,
    key: Name,
    error: TsigError,
    session: Option<Session>,
    now: u64,
) -> Option<Vec<u8>> {
    let tsig = &query.signature()?.data;
    let mut metadata = Metadata::response_from_request(&query.metadata);
    metadata.response_code = ResponseCode::NotAuth;
    metadata.recursion_available = false;
    let mut message = Message::new(0, metadata.message_type, metadata.op_code);
    message.metadata = metadata;
    if let [question] = query.queries.as_slice() {
        message.add_query(question.clone());
    }
    let mut octets = message.to_vec().ok()?;
    match session {
        // Our clock, and its own: it finds out which one is wrong.
        Some(mut session) => {
            let clock = now.to_be_bytes()[2..].to_vec();
            session.sign_with(octets, tsig.time, Some(error), clock).ok()
        }
        None => {
            let (algorithm, error) = (tsig.algorithm.clone(), Some(error));
            let unsigned =
                TSIG::new(algorithm, tsig.time, FUDGE, Vec::new(), tsig.oid, error, Vec::new());
            append(&mut octets, key, unsigned).ok()?;
            Some(octets)
        }
    }
}

/// A message without its records, cut.
fn truncated(message: &[u8]) -> Result<Vec<u8>, ProtoError> {
    let message =
        Message::from_vec(message).map_err(|error| ProtoError::from(error.to_string()))?;
    let mut metadata = message.metadata;
    metadata.truncation = true;
    metadata.response_code = ResponseCode::NoError;
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    let queries = u16::try_from(message.queries.len()).unwrap_or(0);
    let counts = HeaderCounts { queries, ..HeaderCounts::default() };
    Header { metadata, counts }.emit(&mut encoder)?;
    message.queries.iter().try_for_each(|query| query.emit(&mut encoder))?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::RecordType;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn key(named: &str, secret: &[u8]) -> TSigner {
        TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, name(named), FUDGE).unwrap()
    }

    fn keyring() -> Keyring {
        [key("transfer.", b"a secret of some length")].into_iter().collect()
    }

    /// A signed query, as hickory's client makes it.
    fn query(with: &TSigner, time: u64) -> (Vec<u8>, Message) {
        let mut query = Message::query();
        query.add_query(Query::query(name("jit.test."), RecordType::AXFR));
        query.finalize(with, time).unwrap();
        let octets = query.to_vec().unwrap();
        let parsed = Message::from_vec(&octets).unwrap();
        (octets, parsed)
    }

    fn error_of(checked: Checked) -> (ResponseCode, Option<TsigError>, usize, Vec<u8>) {
        let Checked::Refused(Some(octets)) = checked else { panic!("{checked:?}") };
        let message = Message::from_vec(&octets).unwrap();
        let tsig = &message.signature().unwrap().data;
        (message.metadata.response_code, tsig.error, tsig.mac.len(), tsig.other.clone())
    }

    #[test]
    fn what_is_signed_is_believed_and_each_error_has_its_answer() {
        let good = key("Transfer.", b"a secret of some length");
        let (octets, message) = query(&good, NOW);
        assert!(matches!(keyring().check(&octets, &message, NOW), Checked::Signed(_)));
        assert!(matches!(keyring().check(&octets, &message, NOW + 300), Checked::Signed(_)));
        let mut changed = octets.clone();
        changed[2] ^= 1;
        let refused = keyring().check(&changed, &message, NOW);
        assert_eq!(
            error_of(refused),
            (ResponseCode::NotAuth, Some(TsigError::BadSig), 0, Vec::new())
        );
        let (code, error, mac, other) = error_of(keyring().check(&octets, &message, NOW + 301));
        assert_eq!((code, error, mac), (ResponseCode::NotAuth, Some(TsigError::BadTime), 32));
        assert_eq!(other, (NOW + 301).to_be_bytes()[2..]);
        for stranger in [key("other.", b"x"), key("transfer.", b"another secret")] {
            let (octets, message) = query(&stranger, NOW);
            let (code, error, mac, _) = error_of(keyring().check(&octets, &message, NOW));
            let expected = match stranger.signer_name() == &name("other.") {
                true => TsigError::BadKey,
                false => TsigError::BadSig,
            };
            assert_eq!((code, error, mac), (ResponseCode::NotAuth, Some(expected), 0));
        }
    }

    #[test]
    fn every_message_of_a_response_is_verified_by_hickory() {
        let key = key("transfer.", b"a secret of some length");
        let mut query = Message::query();
        query.add_query(Query::query(name("jit.test."), RecordType::AXFR));
        let mut verifier = query.finalize(&key, NOW).unwrap().unwrap();
        let octets = query.to_vec().unwrap();
        let parsed = Message::from_vec(&octets).unwrap();
        let Checked::Signed(mut session) = keyring().check(&octets, &parsed, NOW) else { panic!() };
        let response = Message::new(parsed.metadata.id, MessageType::Response, OpCode::Query);
        for second in 0..5 {
            let signed = session.sign(response.to_vec().unwrap(), NOW + second).unwrap();
            verifier.verify(&signed).unwrap();
        }
    }
}
