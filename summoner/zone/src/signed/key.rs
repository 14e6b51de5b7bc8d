//! A key that signs a zone.

use std::fmt;
use std::sync::Arc;

use hickory_proto::dnssec::rdata::{CDNSKEY, CDS, DNSKEY, DNSSECRData, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, SigningKey};
use hickory_proto::rr::{Name, RData};

use super::SignError;

/// A key that signs a zone: all of it, the keys included (a combined signing key).
#[derive(Clone)]
pub struct ZoneKey {
    dnskey: DNSKEY,
    tag: u16,
    secret: Arc<dyn SigningKey>,
}

impl ZoneKey {
    /// A key from its secret.
    ///
    /// # Errors
    /// When it has no public half.
    pub fn new(secret: Arc<dyn SigningKey>) -> Result<Self, SignError> {
        let failed = |source: String| SignError::Key { source: source.into() };
        let public = secret.to_public_key().map_err(|error| failed(error.to_string()))?;
        // Zone key and secure entry point: the parent's DS refers to it.
        let dnskey = DNSKEY::new(true, true, false, public);
        let tag = dnskey.calculate_key_tag().map_err(|error| failed(error.to_string()))?;
        Ok(Self { dnskey, tag, secret })
    }

    /// Its public half as it stands in the zone.
    #[must_use]
    pub const fn dnskey(&self) -> &DNSKEY {
        &self.dnskey
    }

    /// The number that signatures name it by (RFC 4034, appendix B).
    #[must_use]
    pub const fn tag(&self) -> u16 {
        self.tag
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.secret.algorithm()
    }

    /// What the parent of `apex` has to publish so that the key is trusted, with SHA-256 (RFC 8624, section 3.3).
    ///
    /// # Errors
    /// When the key cannot be written, which no key of ours is.
    pub fn ds(&self, apex: &Name) -> Result<DS, SignError> {
        let digest = self.dnskey.to_digest(apex, DigestType::SHA256);
        let digest = digest.map_err(|error| SignError::Key { source: error.to_string().into() })?;
        Ok(DS::new(self.tag, self.algorithm(), DigestType::SHA256, digest.as_ref().to_vec()))
    }

    /// DNSKEY, CDS and CDNSKEY (RFC 7344): the key, and what is asked of the parent.
    pub(super) fn apex_records(&self, apex: &Name) -> Result<[RData; 3], SignError> {
        let ds = self.ds(apex)?;
        let algorithm = Some(self.algorithm());
        let public = self.dnskey.public_key().clone().into_inner();
        let records = [
            DNSSECRData::DNSKEY(self.dnskey.clone()),
            DNSSECRData::CDS(CDS::new(self.tag, algorithm, ds.digest_type(), ds.digest().to_vec())),
            DNSSECRData::CDNSKEY(CDNSKEY::with_flags(self.dnskey.flags(), algorithm, public)),
        ];
        Ok(records.map(RData::DNSSEC))
    }

    pub(super) fn secret(&self) -> &dyn SigningKey {
        &*self.secret
    }
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret.
        f.debug_struct("ZoneKey").field("tag", &self.tag).finish_non_exhaustive()
    }
}
