//! The registry behind TLS that asks for our certificate: against OpenSSL itself, with an authority
//! made for the test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    ssl::{SslAcceptor, SslMethod, SslVerifyMode},
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
        store::X509StoreBuilder,
    },
};

use super::*;

/// A certificate and its key.
struct Issued {
    certificate: X509,
    key: PKey<Private>,
}

impl Issued {
    /// Issued by `by`, or by itself.
    fn new(name: &str, by: Option<&Self>) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(u32::from(by.is_some()) + 1).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        match by {
            None => {
                builder.set_issuer_name(&subject).unwrap();
                let authority = BasicConstraints::new().critical().ca().build().unwrap();
                builder.append_extension(authority).unwrap();
                builder.sign(&key, MessageDigest::sha256()).unwrap();
            }
            Some(by) => {
                builder.set_issuer_name(by.certificate.subject_name()).unwrap();
                let context = builder.x509v3_context(Some(&by.certificate), None);
                let host = SubjectAlternativeName::new().ip("127.0.0.1").build(&context).unwrap();
                builder.append_extension(host).unwrap();
                builder.sign(&by.key, MessageDigest::sha256()).unwrap();
            }
        }
        Self { certificate: builder.build(), key }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// As `client_cert_file` and `client_key_file` hold it.
    fn identity(&self) -> (Vec<u8>, Secret) {
        let key = self.key.private_key_to_pem_pkcs8().unwrap();
        (self.pem(), Secret::new(String::from_utf8(key).unwrap()))
    }
}

/// Answers so many connections; only whom the authority knows gets an answer over HTTP.
fn serve(server: &Issued, authority: &Issued, connections: usize) -> SocketAddr {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&server.certificate).unwrap();
    acceptor.set_private_key(&server.key).unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(authority.certificate.clone()).unwrap();
    acceptor.set_verify_cert_store(store.build()).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body ends with the JSON's brace.
            while !request.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
                    Ok(0) | Err(_) => break,
                }
            }
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":7}";
            if stream.write_all(answer.as_bytes()).is_ok() {
                drop(stream.shutdown());
            }
        }
    });
    address
}

#[tokio::test]
async fn a_registry_may_ask_for_our_certificate() {
    let (authority, stranger) = (Issued::new("authority", None), Issued::new("stranger", None));
    let server = Issued::new("registry", Some(&authority));
    let ours = Issued::new("connector", Some(&authority));
    let forged = Issued::new("connector", Some(&stranger));
    let cases = [
        ("both know each other", Some(&authority), Some(&ours), true),
        ("it does not know us", Some(&authority), None, false),
        ("another authority vouches for us", Some(&authority), Some(&forged), false),
        ("we do not know it", None, Some(&ours), false),
        ("another authority vouches for it", Some(&stranger), Some(&ours), false),
    ];
    let address = serve(&server, &authority, cases.len());
    for (what, ca, identity, answered) in cases {
        let mut settings = RegistrySettings::new(format!("https://{address}/"));
        settings.ca_pem = ca.map(Issued::pem);
        settings.identity_pem = identity.map(Issued::identity);
        let shown = format!("{settings:?}");
        let registry = Registry::new(settings).unwrap();
        let asked = registry.look_up("s", "{}").await;
        match &asked {
            Ok(Some(7)) => assert!(answered, "{what}"),
            // Away, not wrong: certificates are renewed while nobody restarts the connector.
            Err(RegistryError::Unavailable(_)) => assert!(!answered, "{what}: {asked:?}"),
            other => panic!("{what}: {other:?}"),
        }
        for shown in [shown, format!("{registry:?} {asked:?}")] {
            assert!(!shown.contains("PRIVATE KEY"), "{shown}");
        }
    }
}

#[test]
fn certificates_that_are_none_are_said() {
    let ours = Issued::new("connector", None);
    let with = |ca: Option<&str>, identity: Option<(Vec<u8>, Secret)>| {
        let mut settings = RegistrySettings::new("https://127.0.0.1/");
        settings.ca_pem = ca.map(|text| text.as_bytes().to_vec());
        settings.identity_pem = identity;
        Registry::new(settings).map(drop)
    };
    let other_key = Issued::new("other", None).identity().1;
    for (settings, part) in [
        (with(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None), "CA"),
        (with(None, Some((b"nothing".to_vec(), Secret::new("hidden")))), "PKCS #8"),
        (with(None, Some((ours.pem(), Secret::new("hidden")))), "PKCS #8"),
        (with(None, Some((ours.pem(), other_key))), ""),
    ] {
        let error = settings.unwrap_err();
        assert!(matches!(error, RegistryError::Settings(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    }
}
