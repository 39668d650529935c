//! HTTP clients: TLS with the system's root certificates, no redirects, HTTP/1.1. One client is for one answer: its
//! connection ends with it.
//!
//! Invariants: no redirect carries a request to somebody else; connecting and the TLS handshake are bounded by
//! what the caller says, everything after them by the caller's own timeouts.

use std::sync::Arc;
use std::time::Duration;

use awc::{Client, Connector};
use thiserror::Error;

/// What https needs and a client is made of.
pub type Tls = Arc<rustls::ClientConfig>;

/// Nobody could be trusted.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error(
    "no root certificates are found for https (install ca-certificates, or set SSL_CERT_FILE): {0}"
)]
pub struct NoCertificates(String);

/// The system's root certificates, or those that SSL_CERT_FILE names.
pub fn tls() -> Result<Tls, NoCertificates> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(|| "none".into(), ToString::to_string);
        return Err(NoCertificates(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NoCertificates(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // an answer is a connection of its own, which is closed to stop it
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client for one answer. Without `tls` it speaks plain http only.
pub fn client(tls: Option<&Tls>, connect: Duration) -> Client {
    let mut connector = Connector::new().timeout(connect).handshake_timeout(connect);
    if let Some(tls) = tls {
        connector = connector.rustls_0_23(tls.clone());
    }
    Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        .finish()
}
