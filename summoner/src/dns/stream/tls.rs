//! Who the server is, for TLS: a certificate and its key, which may be replaced while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} from {path}; it has to be PEM")]
    File {
        /// What it should have.
        what: &'static str,
        /// Which it is.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// There is no certificate.
    #[error("{path} has no certificate; the file begins with the server's own")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// They do not fit.
    #[error("the key of {key} cannot be used with the certificate of {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A certificate and its key, and where they come from.
#[derive(Debug)]
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
}

/// What clients are shown.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let shown = Shown(ArcSwap::new(read(certificate, key, &provider)?));
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self { certificate, key, provider, shown: Arc::new(shown) })
    }

    /// Reads the files again; new connections see what is in them.
    ///
    /// # Errors
    /// As [`Identity::load`]; clients are shown what they were shown before.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.shown.0.store(read(&self.certificate, &self.key, &self.provider)?);
        Ok(())
    }

    /// What makes TLS of connections on which one of `protocols` is spoken (RFC 7301).
    ///
    /// # Panics
    /// Never: what the provider offers goes with the versions that rustls has.
    pub(super) fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3");
        let mut config = config.with_no_client_auth().with_cert_resolver(self.shown.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let unreadable = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("certificates", certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable("a private key", key))?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|source| {
        TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned(), source }
    })?;
    Ok(Arc::new(certified))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_can_be_replaced_but_not_by_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert"), folder.path().join("key"));
        let put = || {
            let made = rcgen::generate_simple_self_signed(["ns.jit.test".to_owned()]).unwrap();
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        };
        put();
        let identity = Identity::load(&certificate, &key).unwrap();
        let first = identity.shown.0.load_full();
        std::fs::write(&key, "nonsense").unwrap();
        assert!(matches!(identity.reload(), Err(TlsError::File { .. })));
        assert!(Arc::ptr_eq(&first, &identity.shown.0.load_full()));
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        assert!(matches!(identity.reload(), Err(TlsError::Mismatch { .. })));
        std::fs::write(&certificate, "").unwrap();
        assert!(identity.reload().is_err());
        put();
        identity.reload().unwrap();
        assert!(!Arc::ptr_eq(&first, &identity.shown.0.load_full()));
    }
}
