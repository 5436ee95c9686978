//! The certificate that servers show: by whom it is signed, for whom, and until when.

use super::Finding;
use crate::config::{Config, Role};
use crate::data_dir::own_host;
use quintile_domain::time::Instant;
use quintile_rpc::settings::TlsSettings;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Uri;

/// A certificate that ends within so many days is told of.
const SOON_DAYS: u32 = 30;
const DAY: Duration = Duration::from_hours(24);

/// Checks the certificate as those do who call the servers of these roles.
pub fn check(config: &Config, roles: &[Role], tls: &TlsSettings, now: Instant) -> Vec<Finding> {
    match read(tls) {
        Err(finding) => vec![finding],
        Ok((chain, verifier)) => {
            let mut findings: Vec<Finding> =
                names(config, roles).iter().filter_map(|name| name_fault(&chain, &verifier, name, now)).collect();
            findings.push(ending(&chain, &verifier, &own_host(config), now));
            findings
        }
    }
}

type Chain = Vec<CertificateDer<'static>>;

/// The certificate with its chain, and what checks it by the authority.
fn read(tls: &TlsSettings) -> Result<(Chain, Arc<WebPkiServerVerifier>), Finding> {
    let chain = certificates(&tls.certificate_file)?;
    let authorities = certificates(&tls.authority_file)?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| unreadable(&tls.key_file, &error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|error| {
        let todo = format!("put the key of {} there", tls.certificate_file.display());
        Finding::fail("certificate", tls.key_file.display().to_string(), error.to_string(), todo)
    })?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider)).build();
    Ok((chain, verifier.map_err(|error| unreadable(&tls.authority_file, &error.to_string()))?))
}

fn certificates(file: &Path) -> Result<Chain, Finding> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Chain, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(unreadable(file, "there is no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unreadable(file, &error.to_string())),
    }
}

fn unreadable(file: &Path, problem: &str) -> Finding {
    Finding::fail(
        "certificate",
        file.display().to_string(),
        problem,
        "put the file in PEM there, readable by the process",
    )
}

/// The names by which the servers are called: by the process itself, and by others as `peers` has it.
fn names(config: &Config, roles: &[Role]) -> Vec<String> {
    let hosts = roles.iter().filter_map(|role| config.peer(*role)?.parse::<Uri>().ok()?.host().map(str::to_owned));
    let mut names: Vec<String> = std::iter::once(own_host(config)).chain(hosts).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn verified(chain: &[CertificateDer], verifier: &WebPkiServerVerifier, name: &str, at: Duration) -> Result<(), Error> {
    let name = ServerName::try_from(name).map_err(|_| Error::General(format!("{name} is no name of a server")))?;
    let (own, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    verifier.verify_server_cert(own, intermediates, &name, &[], UnixTime::since_unix_epoch(at)).map(drop)
}

fn since_1970(now: Instant) -> Duration {
    Duration::from_micros(now.micros().unsigned_abs())
}

fn name_fault(chain: &[CertificateDer], verifier: &WebPkiServerVerifier, name: &str, now: Instant) -> Option<Finding> {
    match verified(chain, verifier, name, since_1970(now)) {
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Some(Finding::fail(
            "certificate",
            name,
            "the certificate does not name it, and whoever calls it so refuses the certificate",
            format!("have {name} among the certificate's subject alternative names"),
        )),
        // The same for every name, and told once.
        _ => None,
    }
}

fn ending(chain: &[CertificateDer], verifier: &WebPkiServerVerifier, name: &str, now: Instant) -> Finding {
    let renew = "renew it, and start the processes again: they read it when they start";
    let until = |at: Duration| match verified(chain, verifier, name, at) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            let micros = i64::try_from(not_after.as_secs()).unwrap_or_default() * 1_000_000;
            Some(Instant::from_micros(micros))
        }
        _ => None,
    };
    let now = since_1970(now);
    if let Some(end) = until(now) {
        return Finding::fail("certificate", "validity", format!("expired {end}"), renew);
    }
    match verified(chain, verifier, name, now) {
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ))
        | Ok(()) => {}
        Err(error) => {
            let todo = "have it signed by the authority of server.tls.authority_file, or name the right authority";
            return Finding::fail("certificate", "validity", error.to_string(), todo);
        }
    }
    match until(now + DAY * SOON_DAYS) {
        Some(end) => Finding::warn("certificate", "validity", format!("expires {end}"), renew),
        None => Finding::ok("certificate", "validity", format!("valid for {SOON_DAYS} days and more")),
    }
}
