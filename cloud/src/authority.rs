//! The authority: the one certificate every device of this cloud is told to trust, and the server's, issued by it.
//!
//! Invariant: an authority is made once, on first start; a damaged or half-restored one is refused, never replaced,
//! for every device in the field has its fingerprint pinned and would be locked out by another.
//! Key and certificate lie in one file, so that they cannot come apart. The server's own key never touches the disk:
//! it is made and certified anew at each start, hence there is no renewal to forget.
//! Who may connect is left to `links`, and the table of devices behind it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tallyroll_schema::Fingerprint;
use tallyroll_schema::enrol::SERVER_NAME;
use zeroize::Zeroizing;

use crate::secret_file;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For a cloud whose clock was a little fast when it started.
const SERVER_VALID_BEFORE: Duration = DAY;
/// Longer than any process runs. Devices do not rely on it, they cannot tell the time; other tools do.
const SERVER_VALID_AFTER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// A clock that shows a year beyond 2200 is broken; the calendar behind certificates ends in 9999.
const LATEST_START: Duration = Duration::from_secs(7_258_118_400);

/// Begins a line that is no PEM, which readers of PEM pass over (RFC 7468, 2).
const CHECKSUM: &str = "BLAKE3: ";

/// Why there is no authority to serve with.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read or written: mend the disk or its permissions, then start again.
    #[error("cannot read or write {}", .path.display())]
    File {
        /// The authority's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, but is not what was written.
    #[error("{} is damaged ({reason}): restore it from a backup; devices trust no other", .path.display())]
    Damaged {
        /// The authority's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// An authority and the server certificate it issued for this run. The authority's own key is not kept in memory.
pub struct Authority {
    certificate: CertificateDer<'static>,
    server_certificate: CertificateDer<'static>,
    server_key: Zeroizing<Vec<u8>>,
}

impl Authority {
    /// Its file's.
    pub const FILE_NAME: &str = "authority.pem";

    /// Opens the authority kept in `directory`, or makes it there when the directory holds none. `now` dates the
    /// server's certificate.
    pub fn open_or_create(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let path = directory.join(Self::FILE_NAME);
        let file_error = |source| AuthorityError::File { path: path.clone(), source };
        let pem = match secret_file::read(&path).map_err(file_error)? {
            Some(pem) => pem,
            None => {
                let pem = new_authority_pem()?;
                secret_file::write(directory, Self::FILE_NAME, &pem).map_err(file_error)?;
                pem
            }
        };
        Self::from_pem(&pem, now).map_err(|reason| AuthorityError::Damaged { path, reason })
    }

    fn from_pem(pem: &[u8], now: SystemTime) -> Result<Self, String> {
        refuse_if_changed(pem)?;
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let issuer_key = KeyPair::try_from(&key).map_err(|error| error.to_string())?;
        // Fails if the two do not belong together: a file pasted from two authorities would serve nobody.
        CertifiedKey::from_der(vec![certificate.clone()], key, &default_provider())
            .map_err(|error| error.to_string())?;
        let (server_certificate, server_key) =
            issue_server_certificate(issuer_key, now).map_err(|error| error.to_string())?;
        Ok(Self { certificate, server_certificate, server_key })
    }

    /// What devices pin: the fingerprint of the authority's certificate. `join` carries it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// What the server presents: its own certificate, then the authority's. The authority's is sent too because a
    /// joining device knows only its fingerprint.
    pub fn server_chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.server_certificate.clone(), self.certificate.clone()]
    }

    /// The key of the server's certificate.
    pub fn server_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.server_key.to_vec()).into()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn new_authority_pem() -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let certificate = authority_parameters().self_signed(&key)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    let pem = Zeroizing::new([key_pem.as_bytes(), certificate.pem().as_bytes()].concat());
    let sum = format!("{CHECKSUM}{}\n", blake3::hash(&pem));
    Ok(Zeroizing::new([&**pem, sum.as_bytes()].concat()))
}

/// The last line is a checksum of those before it, but in files from before there was one: nobody else's certificate
/// can have a digit wrong and be noticed only by devices, which would all stay away.
fn refuse_if_changed(pem: &[u8]) -> Result<(), String> {
    let text = core::str::from_utf8(pem).map_err(|why| why.to_string())?;
    match text.rsplit_once(CHECKSUM) {
        Some((before, sum)) if sum.trim_end() != blake3::hash(before.as_bytes()).to_string() => {
            Err("its checksum is another".to_owned())
        }
        _ => Ok(()),
    }
}

/// Names the issuer in the authority's certificate and in each certificate it issues: the two must agree for ever.
fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "Tallyroll authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.not_before = rcgen::date_time_ymd(1970, 1, 1);
    // RFC 5280, 4.1.2.5: the date for a certificate that has no well-defined end.
    parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
    parameters
}

fn issue_server_certificate(
    authority_key: KeyPair,
    now: SystemTime,
) -> Result<(CertificateDer<'static>, Zeroizing<Vec<u8>>), rcgen::Error> {
    let started = now.duration_since(UNIX_EPOCH).unwrap_or_default().min(LATEST_START);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut parameters = CertificateParams::new([SERVER_NAME.to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "Tallyroll server");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.not_before = epoch + started.saturating_sub(SERVER_VALID_BEFORE);
    parameters.not_after = epoch + started + SERVER_VALID_AFTER;
    let issuer = Issuer::new(authority_parameters(), authority_key);
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok((certificate.into(), Zeroizing::new(key.serialize_der())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_780_000_000)
    }

    fn authority_file(directory: &Path) -> PathBuf {
        directory.join(Authority::FILE_NAME)
    }

    #[test]
    fn an_authority_stays_the_same_while_its_server_certificate_is_new_at_each_start() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open_or_create(directory.path(), now()).unwrap();
        let second = Authority::open_or_create(directory.path(), now() + DAY).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_ne!(first.server_chain()[0], second.server_chain()[0]);
        assert_eq!(first.server_chain()[1], second.server_chain()[1]);
    }

    #[test]
    fn two_clouds_have_two_authorities() {
        let [here, there] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let here = Authority::open_or_create(here.path(), now()).unwrap();
        let there = Authority::open_or_create(there.path(), now()).unwrap();
        assert_ne!(here.fingerprint(), there.fingerprint());
    }

    #[test]
    fn a_damaged_authority_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open_or_create(directory.path(), now()).unwrap();
        let path = authority_file(directory.path());
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"".as_slice(), b"-----BEGIN"] {
            fs::write(&path, damaged).unwrap();
            let error = Authority::open_or_create(directory.path(), now()).unwrap_err();
            assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    /// The certificate is not verified by who has it pinned, so another one must not come up by itself.
    #[test]
    fn no_flipped_bit_makes_another_authority() {
        let directory = tempfile::tempdir().unwrap();
        let fingerprint = Authority::open_or_create(directory.path(), now()).unwrap().fingerprint();
        let whole = fs::read(authority_file(directory.path())).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match Authority::from_pem(&flipped, now()) {
                // In the checksum's own label: what it is of is whole.
                Ok(opened) => assert_eq!(opened.fingerprint(), fingerprint, "bit {bit}"),
                Err(why) => assert!(!why.is_empty()),
            }
        }
        let old = whole.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"BLAKE3"));
        let old = old.collect::<Vec<_>>().join(&b'\n');
        assert_eq!(Authority::from_pem(&old, now()).unwrap().fingerprint(), fingerprint);
    }

    #[test]
    fn the_key_of_another_authority_is_noticed() {
        let [here, there] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [key, certificate] = [&here, &there].map(|directory| {
            Authority::open_or_create(directory.path(), now()).unwrap();
            fs::read_to_string(authority_file(directory.path())).unwrap()
        });
        let border = "-----BEGIN CERTIFICATE-----";
        let key = key.split(border).next().unwrap();
        let certificate = certificate.split_once(border).unwrap().1;
        fs::write(authority_file(here.path()), [key, border, certificate].concat()).unwrap();
        let error = Authority::open_or_create(here.path(), now()).unwrap_err();
        assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
    }

    #[test]
    fn no_clock_is_too_wild_to_start_with() {
        let directory = tempfile::tempdir().unwrap();
        for clock in [UNIX_EPOCH - DAY, UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1 << 50)] {
            Authority::open_or_create(directory.path(), clock).unwrap();
        }
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(directory.path(), now()).unwrap();
        assert_eq!(
            format!("{authority:?}"),
            format!("Authority {{ fingerprint: {:?}, .. }}", authority.fingerprint())
        );
    }
}
