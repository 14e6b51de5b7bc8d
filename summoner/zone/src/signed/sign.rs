//! Signatures of a whole zone (RFC 4035, section 2).

use std::time::{Duration, SystemTime};

use hickory_proto::dnssec::TBS;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::canonical::canonical_rdata;
use super::chain::{self, Chain};
use super::{SignError, Signing, ZoneKey};
use crate::{RrSet, Zone};

impl Zone {
    /// Signs the zone. Signatures of `before` are kept where they fit: same records, same keys, and valid long enough.
    ///
    /// # Errors
    /// When the zone is signed already, there is no key, or one does not work.
    pub fn sign(self, signing: &Signing<'_>, before: Option<&Self>) -> Result<Self, SignError> {
        let mut zone = self;
        let apex = Name::from(&zone.apex);
        if signing.keys.is_empty() {
            return Err(SignError::NoKey { apex: apex.to_string() });
        }
        zone.check_unsigned(&apex)?;
        zone.publish_keys(&apex, signing.keys)?;
        let chain = Chain::of(&zone);
        // RFC 9077: what does not exist is remembered no longer than by the SOA record of the answer.
        let ttl = zone.negative.ttl();
        let nsecs: Vec<_> = chain
            .links()
            .filter_map(|(name, next)| Some((name, chain::nsec(&zone, name, next, ttl)?)))
            .collect();
        for (name, nsec) in nsecs {
            if let Some(node) = zone.nodes.get_mut(name) {
                node.rrsets.push(nsec);
            }
        }
        let seconds = Seconds::of(signing);
        for name in chain.names() {
            let node = zone.nodes.get(name);
            let at_cut = node.is_some_and(|node| chain::is_cut(&zone, name, node));
            let Some(node) = zone.nodes.get_mut(name) else { continue };
            for rrset in &mut node.rrsets {
                if chain::is_own(at_cut, rrset.record_type) {
                    let old = before.and_then(|zone| zone.nodes.get(name));
                    let old = old.and_then(|node| node.get(rrset.record_type));
                    rrset.signatures = signatures(rrset, &apex, signing.keys, seconds, old)?;
                }
            }
        }
        zone.sign_negative();
        zone.chain = Some(chain);
        Ok(zone)
    }

    /// Whether it has signatures.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.chain.is_some()
    }

    /// When the first of its signatures ends to be valid; `None` if there is none.
    #[must_use]
    pub fn signatures_end(&self, now: SystemTime) -> Option<SystemTime> {
        let now_seconds = seconds_of(now);
        let signatures = self.rrsets().flat_map(|rrset| &rrset.signatures);
        let left = signatures
            .filter_map(|record| signature(record))
            .map(|rrsig| left(rrsig, now_seconds))
            .min()?;
        let distance = Duration::from_secs(left.unsigned_abs().into());
        if left < 0 { now.checked_sub(distance) } else { now.checked_add(distance) }
    }

    /// Whether all signatures will do for a while: if not, signing the same content again makes new ones.
    #[must_use]
    pub fn signatures_will_do(&self, signing: &Signing<'_>) -> bool {
        let seconds = Seconds::of(signing);
        let mut signatures = self.rrsets().flat_map(|rrset| &rrset.signatures);
        signatures.all(|record| signature(record).is_some_and(|rrsig| will_do(rrsig, seconds)))
    }

    fn check_unsigned(&self, apex: &Name) -> Result<(), SignError> {
        use RecordType as T;
        let signed = |rrset: &&RrSet| {
            matches!(rrset.record_type, T::RRSIG | T::NSEC | T::NSEC3 | T::NSEC3PARAM)
        };
        match self.rrsets().find(signed) {
            Some(rrset) => Err(SignError::AlreadySigned {
                apex: apex.to_string(),
                owner: rrset.owner.to_string(),
                record_type: rrset.record_type.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// DNSKEY, CDS and CDNSKEY at the apex. A DNSKEY of somebody else's, which stands in the zone's file, stays beside ours
    /// (RFC 8901).
    fn publish_keys(&mut self, apex: &Name, keys: &[ZoneKey]) -> Result<(), SignError> {
        let ttl = self.soa().ttl;
        let node = self.nodes.entry(self.apex.clone()).or_default();
        for key in keys {
            for data in key.apex_records(apex)? {
                let record = Record::from_rdata(apex.clone(), ttl, data);
                let record_type = record.record_type();
                match node.rrsets.iter_mut().find(|rrset| rrset.record_type == record_type) {
                    Some(rrset) => rrset.add(record),
                    None => node.rrsets.push(RrSet::new(apex.clone(), record_type, vec![record])),
                }
            }
        }
        Ok(())
    }

    /// The SOA record of negative answers has the same signatures, for less time.
    fn sign_negative(&mut self) {
        let soa = self.nodes.get(&self.apex).and_then(|node| node.get(RecordType::SOA));
        let mut signatures = soa.map(|soa| soa.signatures.clone()).unwrap_or_default();
        for signature in &mut signatures {
            signature.ttl = self.negative.ttl();
        }
        self.negative.signatures = signatures;
    }
}

/// Times as signatures have them: seconds modulo 2^32 (RFC 4034, section 3.1.5).
#[derive(Debug, Clone, Copy)]
struct Seconds {
    now: u32,
    inception: u32,
    expiration: u32,
    refresh: i32,
}

impl Seconds {
    fn of(signing: &Signing<'_>) -> Self {
        let now = seconds_of(signing.now);
        // Less than half the circle, so that before and after can be told.
        let bounded = |duration: Duration| {
            u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).min(u32::MAX / 4)
        };
        Self {
            now,
            inception: now.wrapping_sub(bounded(signing.validity.backdate)),
            expiration: now.wrapping_add(bounded(signing.validity.lifetime)),
            refresh: bounded(signing.validity.refresh).cast_signed(),
        }
    }
}

fn seconds_of(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // The remainder always fits.
    u32::try_from(since % (1 << 32)).unwrap_or_default()
}

/// Seconds that a signature will be valid; negative if it is no more.
fn left(rrsig: &RRSIG, now: u32) -> i32 {
    rrsig.input().sig_expiration.get().wrapping_sub(now).cast_signed()
}

/// Whether a signature is valid, and long enough.
fn will_do(rrsig: &RRSIG, seconds: Seconds) -> bool {
    // One that is not valid yet is of a clock that was put back since.
    let begun = seconds.now.wrapping_sub(rrsig.input().sig_inception.get()).cast_signed() >= 0;
    begun && left(rrsig, seconds.now) > seconds.refresh
}

const fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

/// A signature by each key: those of `old` if they will do, else new ones.
fn signatures(
    rrset: &RrSet,
    apex: &Name,
    keys: &[ZoneKey],
    seconds: Seconds,
    old: Option<&RrSet>,
) -> Result<Vec<Record>, SignError> {
    let old = old.filter(|old| old.records == rrset.records);
    let old = old.map(|old| old.signatures.as_slice()).unwrap_or_default();
    keys.iter()
        .map(|key| {
            let fits = |record: &&Record| {
                signature(record).is_some_and(|rrsig| {
                    let input = rrsig.input();
                    (input.key_tag, input.algorithm) == (key.tag(), key.algorithm())
                        && will_do(rrsig, seconds)
                })
            };
            match old.iter().find(fits) {
                Some(kept) => Ok(kept.clone()),
                None => sign(rrset, apex, key, seconds),
            }
        })
        .collect()
}

/// Signs an RRset (RFC 4034, section 3.1.8.1).
fn sign(rrset: &RrSet, apex: &Name, key: &ZoneKey, seconds: Seconds) -> Result<Record, SignError> {
    let input = SigInput {
        type_covered: rrset.record_type,
        algorithm: key.algorithm(),
        // Without the asterisk of a wildcard: so that a validator sees that it was expanded.
        num_labels: rrset.owner.num_labels(),
        original_ttl: rrset.ttl(),
        sig_expiration: SerialNumber::new(seconds.expiration),
        sig_inception: SerialNumber::new(seconds.inception),
        key_tag: key.tag(),
        signer_name: apex.clone(),
    };
    let octets = to_be_signed(rrset, &input).map_err(|source| SignError::Form {
        owner: rrset.owner.to_string(),
        record_type: rrset.record_type.to_string(),
        source,
    })?;
    let signed = key.secret().sign(&TBS::from(octets.as_slice()));
    let signed = signed.map_err(|error| SignError::Key { source: error.to_string().into() })?;
    let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signed)));
    Ok(Record::from_rdata(rrset.owner.clone(), rrset.ttl(), data))
}

fn to_be_signed(rrset: &RrSet, input: &SigInput) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let mut octets = written(|encoder| input.emit(encoder))?;
    let head = written(|encoder| {
        rrset.owner.emit(encoder)?;
        rrset.record_type.emit(encoder)?;
        DNSClass::IN.emit(encoder)?;
        encoder.emit_u32(input.original_ttl)
    })?;
    for rdata in canonical_rdata(&rrset.records)? {
        let length = u16::try_from(rdata.len())
            .map_err(|_| hickory_proto::ProtoError::from("RDATA is longer than 65535 octets"))?;
        octets.extend_from_slice(&head);
        octets.extend_from_slice(&length.to_be_bytes());
        octets.extend_from_slice(&rdata);
    }
    Ok(octets)
}

fn written(
    emit: impl FnOnce(&mut BinEncoder<'_>) -> Result<(), hickory_proto::ProtoError>,
) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
    emit(&mut encoder)?;
    Ok(octets)
}
