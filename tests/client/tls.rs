//! `https://` addresses: the line goes through TLS, and only to whom the certificates vouch for.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Broker, Process};

/// Ends TLS in front of a broker, as a proxy does, with a certificate for 127.0.0.1 that `folder` holds afterwards.
fn tls_before(broker: SocketAddr, folder: &Path) -> SocketAddr {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=broker",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap())
        .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // whom the client does not trust it leaves, which is its own to tell
                    let Ok(mut client) = acceptor.accept(client).await else {
                        return;
                    };
                    let mut broker = TcpStream::connect(broker).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut broker).await;
                });
            }
        });
    });
    told.recv().expect("it listens")
}

/// `tidewire …`, trusting whom that file names, with `input`.
fn tidewire(args: &[&str], trusted: &Path, input: &str) -> Process {
    let trusted = format!("SSL_CERT_FILE={}", trusted.display());
    let mut all = vec![trusted.as_str(), env!("CARGO_BIN_EXE_tidewire")];
    all.extend(args);
    let mut process = Process::run("env", &all);
    process.write(input.as_bytes());
    process
}

#[test]
fn a_broker_behind_tls_is_published_to_and_read() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://{}", tls_before(broker.addr, folder.path()));
    let certificate = folder.path().join("certificate.pem");
    let read = [
        "tail",
        "/chat/tls",
        "--url",
        &url,
        "--text",
        "--from",
        "start",
    ];
    let mut reader = tidewire(&read, &certificate, "");
    let (said, went_well) = tidewire(
        &["pipe", "/chat/tls", "--url", &url],
        &certificate,
        "through TLS",
    )
    .finish();
    assert!(went_well, "{said}");
    reader.until_printed("through TLS");
    reader.kill_dash_nine();
    let once = [
        "publish",
        "/chat/tls",
        "--url",
        &url,
        "--type",
        "note.added",
        "--data",
        "1",
    ];
    let (said, went_well) = tidewire(&once, &certificate, "").finish();
    assert!(went_well && said.contains("first_seq"), "{said}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let broker = Broker::start();
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("https://{}", tls_before(broker.addr, folder.path()));
    tls_before(broker.addr, other.path());
    let once = [
        "publish",
        "/chat/tls",
        "--url",
        &url,
        "--type",
        "note.added",
        "--data",
        "1",
    ];
    let refused = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(once)
        .env("SSL_CERT_FILE", other.path().join("certificate.pem"))
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && why.contains("certificate"),
        "{why}"
    );
}
