//! Certificates for the servers that tests start, of an authority made for each. What must not live here: servers.

use std::fs;
use std::path::Path;

/// Makes an authority, a server that it certifies for 127.0.0.1 and localhost, and a client.
pub(crate) fn certify(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let key = || KeyPair::generate().expect("a key can be made");
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).expect("the temporary directory can be written");
    };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Authority of a test");
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority certifies itself");
    write("ca.pem", authority.pem());
    for (who, names) in [("server", &["127.0.0.1", "localhost"][..]), ("client", &["client.test"])] {
        let own = key();
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let certificate = CertificateParams::new(names).expect("names").signed_by(&own, &authority);
        write(&format!("{who}.pem"), certificate.expect("an authority certifies others").pem());
        write(&format!("{who}.key"), own.serialize_pem());
    }
}
