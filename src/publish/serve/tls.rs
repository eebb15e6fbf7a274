//! The certificate and the private key of a server, from PEM files.

use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

/// Files with keys and chains of certificates have some kilobytes.
const MAX_SIZE: u64 = 1 << 20;

/// Who a server is, by TLS.
#[derive(Clone)]
pub struct Identity(pub(super) RustlsConfig);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // never the key
        f.write_str("Identity")
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM, or is cut off.
    #[error("{path} cannot be read as PEM: {source}")]
    Pem {
        /// The file.
        path: String,
        /// What is wrong.
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error(
        "{0} has no certificate\n  help: expected PEM: `-----BEGIN CERTIFICATE-----`, the server's own first"
    )]
    NoCertificate(String),
    /// A file has no private key that can be used.
    #[error(
        "{0} has no private key, or an encrypted one\n  help: expected PEM: `-----BEGIN PRIVATE KEY-----`; `openssl pkey -in FILE` decrypts"
    )]
    NoKey(String),
    /// The key is that of another certificate.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// The TLS library does not take them.
    #[error("the certificate in {certificate} and the key in {key} cannot be used: {source}")]
    Unusable {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// Why.
        source: rustls::Error,
    },
}

impl Identity {
    /// Reads a chain of certificates, the server's own first, and its private key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (chain_name, key_name) = (certificate.display().to_string(), key.display().to_string());
        let of_chain = |source| TlsError::Pem { path: chain_name.clone(), source };
        let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(of_chain)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(chain_name));
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::NoKey(key_name.clone()),
            source => TlsError::Pem { path: key_name.clone(), source },
        })?;

        crate::http::install_tls_provider();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
        let mut config = config.map_err(|source| {
            let (certificate, key) = (chain_name, key_name);
            match source {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate, key },
                source => TlsError::Unusable { certificate, key, source },
            }
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(RustlsConfig::from_config(Arc::new(config))))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |source| TlsError::Read { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(error)?;
    if file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(error)? as u64 > MAX_SIZE {
        return Err(error(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {MAX_SIZE} bytes"),
        )));
    }
    Ok(bytes)
}
