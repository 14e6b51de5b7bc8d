//! Keys in files: `keys/APEX/NAME.pem` in the state folder, each a secret in PKCS #8 that only the daemon's user may read.
//!
//! A key is made when a zone is first signed with its name, and its file never changes after that. If a key is lost, and
//! the parent has its DS record, the zone is bogus for every validating resolver: so a damaged file is an error, and a key
//! is never put in the place of others that are there.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use hickory_proto::dnssec::crypto::{EcdsaSigningKey, Ed25519SigningKey};
use hickory_proto::dnssec::{Algorithm as Number, DnsSecError, SigningKey};
use hickory_proto::rr::Name;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use tracing::{info, warn};
use zone::{SignError, ZoneKey};

/// How a key signs (RFC 8624: the two that are recommended for new keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Number 13: what almost every signed zone has, and every validator takes.
    EcdsaP256Sha256,
    /// Number 15: signs faster; a few old validators do not know it, and take the zone for unsigned.
    Ed25519,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256Sha256 => "ecdsap256sha256",
            Self::Ed25519 => "ed25519",
        })
    }
}

/// Why a zone has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder cannot be used.
    #[error("cannot {what} {path}")]
    File {
        /// Make, read or write.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not a key.
    #[error(
        "the DNSSEC key {path} is damaged ({reason}); put it back from a copy. Without it, resolvers that validate do not believe the zone as long as its parent has the DS record of this key"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be made.
    #[error("cannot make a DNSSEC key")]
    Make(#[source] DnsSecError),
    /// None of the keys is the one that the zone was signed with until now.
    #[error(
        "none of the keys in `dnssec.keys` of the zone {apex} exists, but {others} in {folder}: whoever knows the zone by them would not believe it any more. Name one of them beside the new ones, until the parent has the new DS record"
    )]
    AllNew {
        /// The zone.
        apex: String,
        /// The keys that exist.
        others: String,
        /// Where.
        folder: PathBuf,
    },
    /// There is no key yet.
    #[error(
        "the zone {apex} has no key {name} yet in {folder}: the daemon makes it when it starts with this configuration"
    )]
    NotYet {
        /// The zone.
        apex: String,
        /// The key.
        name: String,
        /// Where it would be.
        folder: PathBuf,
    },
    /// A key does not work.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A key and the name that the configuration calls it by.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// Its name.
    pub name: String,
    /// The key.
    pub key: ZoneKey,
}

/// The folder with the keys of all zones.
#[derive(Debug, Clone)]
pub struct KeyFolder {
    path: PathBuf,
}

impl KeyFolder {
    /// The folder in the state folder.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join("keys") }
    }

    /// The keys of a zone; those that are not there are made.
    ///
    /// # Errors
    /// When a key is damaged, all of them would be new although there are others, or the folder cannot be used.
    pub fn open(
        &self,
        apex: &Name,
        names: &[String],
        algorithm: Algorithm,
    ) -> Result<Vec<NamedKey>, KeyError> {
        let folder = self.of_zone(apex);
        let others = names_in(&folder)?;
        if !others.is_empty() && !names.iter().any(|name| others.contains(name)) {
            let (apex, others) = (apex.to_string(), others.join(", "));
            return Err(KeyError::AllNew { apex, others, folder });
        }
        let mut keys: Vec<NamedKey> = Vec::new();
        for name in names {
            let key = match read(&folder, name)? {
                Some(key) => key,
                None => self.make(&folder, apex, name, algorithm, &keys)?,
            };
            keys.push(NamedKey { name: name.clone(), key });
        }
        Ok(keys)
    }

    /// The keys of a zone as they are.
    ///
    /// # Errors
    /// When one is damaged or not there, or the folder cannot be read.
    pub fn read(&self, apex: &Name, names: &[String]) -> Result<Vec<NamedKey>, KeyError> {
        let folder = self.of_zone(apex);
        let named = |name: &String| match read(&folder, name)? {
            Some(key) => Ok(NamedKey { name: name.clone(), key }),
            None => Err(KeyError::NotYet {
                apex: apex.to_string(),
                name: name.clone(),
                folder: folder.clone(),
            }),
        };
        names.iter().map(named).collect()
    }

    fn of_zone(&self, apex: &Name) -> PathBuf {
        self.path.join(file_name(&apex.to_lowercase().to_ascii()))
    }

    fn make(
        &self,
        folder: &Path,
        apex: &Name,
        name: &str,
        algorithm: Algorithm,
        others: &[NamedKey],
    ) -> Result<ZoneKey, KeyError> {
        make_folder(&self.path)?;
        make_folder(folder)?;
        let (secret, key) = loop {
            let secret = generate(algorithm).map_err(KeyError::Make)?;
            let key = ZoneKey::new(understand(&secret).map_err(KeyError::Make)?)?;
            // Signatures name their key by its tag: two with one would have validators try both.
            if others.iter().all(|other| other.key.tag() != key.tag()) {
                break (secret, key);
            }
        };
        let path = folder.join(format!("{name}.pem"));
        write(folder, &path, &text(apex, algorithm, &secret)).map_err(|source| KeyError::File {
            what: "write",
            path: path.clone(),
            source,
        })?;
        info!(zone = %apex, key = name, tag = key.tag(), %algorithm, file = %path.display(), "made a DNSSEC key; keep a copy of it");
        Ok(key)
    }
}

/// A text as the name of a file: what a file's name cannot have, or what would hide it, is written as `%` and two digits.
fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'
                if !(octet == b'.' && name.is_empty()) =>
            {
                name.push(char::from(octet));
            }
            octet => name.push_str(&format!("%{octet:02x}")),
        }
    }
    name
}

fn names_in(folder: &Path) -> Result<Vec<String>, KeyError> {
    let failed = |source| KeyError::File { what: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(".pem")).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn read(folder: &Path, name: &str) -> Result<Option<ZoneKey>, KeyError> {
    let path = folder.join(format!("{name}.pem"));
    let failed = |source| KeyError::File { what: "read", path: path.clone(), source };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = fs::metadata(&path).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        warn!(file = %path.display(), mode = format!("{:o}", mode & 0o777), "others than the daemon's user may read a DNSSEC key; set its mode to 600");
    }
    let damaged = |reason: String| KeyError::Damaged { path: path.clone(), reason };
    let secret =
        PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let key = understand(&secret).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(ZoneKey::new(key)?))
}

/// A secret's algorithm is said in it; that its two halves belong together is checked.
fn understand(secret: &PrivatePkcs8KeyDer<'_>) -> Result<Arc<dyn SigningKey>, DnsSecError> {
    if let Ok(key) = Ed25519SigningKey::from_pkcs8(secret) {
        return Ok(Arc::new(key));
    }
    Ok(Arc::new(EcdsaSigningKey::from_pkcs8(secret, Number::ECDSAP256SHA256)?))
}

fn generate(algorithm: Algorithm) -> Result<PrivatePkcs8KeyDer<'static>, DnsSecError> {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => EcdsaSigningKey::generate_pkcs8(Number::ECDSAP256SHA256),
        Algorithm::Ed25519 => Ed25519SigningKey::generate_pkcs8(),
    }
}

/// RFC 7468.
fn text(apex: &Name, algorithm: Algorithm, secret: &PrivatePkcs8KeyDer<'_>) -> String {
    let encoded = BASE64.encode(secret.secret_pkcs8_der());
    let mut text = format!(
        "A DNSSEC key of {apex} ({algorithm}). Who has it can sign the zone: keep it secret, and keep a copy.\n\
         -----BEGIN PRIVATE KEY-----\n"
    );
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

fn make_folder(path: &Path) -> Result<(), KeyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| KeyError::File { what: "make", path: path.to_owned(), source })
}

/// Puts a file there whole, or not at all, and never over another.
fn write(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    // Made with mode 600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    // The name has to outlive a crash too, and the folder's own name.
    File::open(folder)?.sync_all()?;
    folder.ancestors().skip(1).take(2).try_for_each(|above| File::open(above)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn tags(keys: &[NamedKey]) -> Vec<u16> {
        keys.iter().map(|named| named.key.tag()).collect()
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(state.path());
        let apex = name("Jit.test.");
        assert!(matches!(folder.read(&apex, &names(&["a"])), Err(KeyError::NotYet { .. })));
        for (one, algorithm, number) in [
            ("a", Algorithm::EcdsaP256Sha256, Number::ECDSAP256SHA256),
            ("b", Algorithm::Ed25519, Number::ED25519),
        ] {
            let all = names(if one == "a" { &["a"] } else { &["a", "b"] });
            let made = folder.open(&apex, &all, algorithm).unwrap();
            // Which algorithm new keys have changes nothing of old ones.
            let found = folder.open(&name("jit.test."), &all, Algorithm::Ed25519).unwrap();
            assert_eq!(tags(&made), tags(&found));
            assert_eq!(tags(&made), tags(&folder.read(&apex, &all).unwrap()));
            assert_eq!(made.last().unwrap().key.algorithm(), number);
        }
        let file = state.path().join("keys/jit.test./a.pem");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            2,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(state.path());
        for algorithm in [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519] {
            let apex = name(&format!("{algorithm}.test."));
            folder.open(&apex, &names(&["a"]), algorithm).unwrap();
            let file = folder.of_zone(&apex).join("a.pem");
            let good = fs::read_to_string(&file).unwrap();
            let half = &good[..good.len() / 2];
            let flipped = |at: usize| {
                let secret = PrivatePkcs8KeyDer::from_pem_slice(good.as_bytes()).unwrap();
                let mut octets = secret.secret_pkcs8_der().to_vec();
                octets[at] ^= 1;
                text(&apex, algorithm, &PrivatePkcs8KeyDer::from(octets))
            };
            // In the secret half, and in the public one.
            let broken = ["", half, "no key", &flipped(40), &flipped(80)];
            for broken in broken {
                fs::write(&file, broken).unwrap();
                let error = folder.open(&apex, &names(&["a"]), algorithm).unwrap_err();
                assert!(matches!(error, KeyError::Damaged { .. }), "{error}");
                assert_eq!(fs::read_to_string(&file).unwrap(), broken);
            }
        }
    }

    #[test]
    fn keys_are_not_replaced_by_mere_naming() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::of(state.path());
        let apex = name("jit.test.");
        let old = folder.open(&apex, &names(&["old"]), Algorithm::Ed25519).unwrap();
        let error = folder.open(&apex, &names(&["new"]), Algorithm::Ed25519).unwrap_err();
        assert!(error.to_string().contains("but old in"), "{error}");
        let both = folder.open(&apex, &names(&["new", "old"]), Algorithm::Ed25519).unwrap();
        assert_eq!(tags(&both)[1], tags(&old)[0]);
        let new = folder.open(&apex, &names(&["new"]), Algorithm::Ed25519).unwrap();
        assert_eq!(tags(&new)[0], tags(&both)[0]);
        // Another zone has keys of its own.
        folder.open(&name("other.test."), &names(&["new"]), Algorithm::Ed25519).unwrap();
    }

    #[test]
    fn a_zone_s_folder_has_a_plain_name() {
        for (apex, expected) in [
            ("jit.test.", "jit.test."),
            ("0/25.2.0.192.in-addr.arpa.", "0%2f25.2.0.192.in-addr.arpa."),
            (".", "%2e"),
            ("a\\.b.test.", "a%5c.b.test."),
            ("../etc.", "%2e.%2fetc."),
        ] {
            assert_eq!(file_name(apex), expected);
        }
    }
}
