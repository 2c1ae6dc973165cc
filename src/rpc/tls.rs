//! TLS 1.3, and nothing older: the server's certificate, what a client trusts.
//!
//! tonic's own set-up cannot pin the version, so both ends are made here
//! (`rustls` with `aws-lc-rs`).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use crate::atomic_file;

/// SHA-256 of a certificate's DER, as `openssl x509 -fingerprint -sha256`
/// computes it; shown as `SHA256:<hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SHA256:")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a fingerprint; it is SHA256: and 64 hexadecimal digits")]
pub struct FingerprintError(String);

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let wrong = || FingerprintError(text.chars().take(120).collect());
        let trimmed = text.trim();
        let hex = match trimmed.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => {
                trimmed.get(7..).ok_or_else(wrong)?
            }
            Some(_) | None => trimmed,
        };
        let digits: Vec<u32> = hex
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let octets = digits.chunks_exact(2).map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).unwrap_or_default(),
            _ => 0,
        });
        let octets: Vec<u8> = octets.collect();
        match <[u8; 32]>::try_from(octets) {
            Ok(octets) if digits.len() == 64 => Ok(Self(octets)),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

/// Says what is wrong with a certificate, a key or what is trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The self-made certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The self-made certificate could not be stored.
    #[error("cannot store the certificate in {}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate and key do not go together, or cannot be used.
    #[error("the certificate cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The trusted certificates cannot be used.
    #[error("the trusted certificates cannot be used")]
    Trust(#[source] rustls::client::VerifierBuilderError),
}

/// A server's certificate chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or does not hold what it should.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unread = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Read { path, source }
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .map_err(unread(certificate))?
            .collect::<Result<_, _>>()
            .map_err(unread(certificate))?;
        let first = chain
            .first()
            .ok_or_else(|| TlsError::NoCertificate { path: certificate.to_owned() })?;
        let fingerprint = Fingerprint::of(first);
        let key = PrivateKeyDer::from_pem_file(key).map_err(unread(key))?;
        Ok(Self { chain, key, fingerprint })
    }

    /// Reads the self-made certificate from `path`, one PEM file with the key
    /// and mode 0600; makes it when it is not there. A damaged one is an
    /// error: clients have pinned it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn self_made(path: &Path, name: &str, addresses: &[IpAddr]) -> Result<Self, TlsError> {
        if !path.exists() {
            let made = make_certificate(name, addresses).map_err(TlsError::Make)?;
            atomic_file::write(path, made.as_bytes(), 0o600)
                .map_err(|source| TlsError::Store { path: path.to_owned(), source })?;
        }
        Self::load(path, path)
    }

    /// Returns the fingerprint that clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

fn make_certificate(name: &str, addresses: &[IpAddr]) -> Result<String, rcgen::Error> {
    let mut names = vec![name.to_owned(), "localhost".to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("mcp-agent {name}"));
    // It is pinned, so an end date would only be an outage with a date.
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2125, 1, 1);
    params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns a server's settings: TLS 1.3, HTTP/2.
///
/// # Errors
///
/// The key does not belong to the certificate, or cannot be used.
pub fn server_config(identity: Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// What makes a client believe a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The server shows exactly this certificate; names and dates do not matter.
    Pin(Fingerprint),
    /// The server's certificate is issued by one of those in a PEM file, and
    /// names the host.
    CaFile(PathBuf),
}

/// Returns a client's settings: TLS 1.3, HTTP/2.
///
/// # Errors
///
/// The trusted certificates cannot be read or used.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Pin(expected) => Arc::new(PinVerifier { expected: *expected, provider: provider() }),
        Trust::CaFile(path) => ca_verifier(path)?,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn ca_verifier(path: &Path) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let unread = |source| TlsError::Read { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        roots.add(certificate.map_err(unread)?).map_err(TlsError::Unusable)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(TlsError::Trust)
}

/// The server showed another certificate than the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate is {found}, expected {expected}")]
pub struct PinMismatch {
    /// What was pinned.
    pub expected: Fingerprint,
    /// What the server showed.
    pub found: Fingerprint,
}

/// Finds a [`PinMismatch`] in an error of a handshake.
pub fn pin_mismatch(error: &io::Error) -> Option<PinMismatch> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error
    else {
        return None;
    };
    cause.downcast_ref::<PinMismatch>().copied()
}

/// Accepts one certificate; its owner still has to prove that it has the key.
#[derive(Debug)]
struct PinVerifier {
    expected: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let cause = PinMismatch { expected: self.expected, found };
        Err(CertificateError::Other(OtherError(Arc::new(cause))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_self_made_certificate_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.pem");
        let first = Identity::self_made(&path, "rift", &[]).unwrap().fingerprint();
        let again = Identity::self_made(&path, "rift", &[]).unwrap().fingerprint();
        assert_eq!(first, again);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        atomic_file::write(&path, b"nonsense", 0o600).unwrap();
        assert!(Identity::self_made(&path, "rift", &[]).is_err());
    }

    #[test]
    fn fingerprints_read_back_in_each_spelling() {
        let shown = Fingerprint([0xab; 32]).to_string();
        assert_eq!(shown, format!("SHA256:{}", "ab".repeat(32)));
        for good in [shown.clone(), "AB".repeat(32), format!("sha256:{}ab", "AB:".repeat(31))] {
            assert_eq!(good.parse::<Fingerprint>().unwrap().to_string(), shown);
        }
        for bad in ["", "SHA256:", &"ab".repeat(31), &"zz".repeat(32), &"a".repeat(65), "éééééé"]
        {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        Identity::self_made(&a, "a", &[]).unwrap();
        Identity::self_made(&b, "b", &[]).unwrap();
        let mixed = Identity::load(&a, &b).unwrap();
        assert!(matches!(server_config(mixed), Err(TlsError::Unusable(_))));
    }
}
