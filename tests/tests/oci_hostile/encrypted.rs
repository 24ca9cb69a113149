//! Registries behind TLS that lead their clients out of it (S13.5).

use axum::http::Method;
use promo_providers::oci::{Network, OciError, RegistrySettings, Settings, Store};
use promo_sdk::ErrorKind;
use promo_tests::front::Tls;
use promo_tests::oci_registry::{Behaviour, Door, Fault, OciRegistry, On, TokenDoor, What};

use crate::world::{DESTINATION, SOURCE, TAG, World, kind};

/// The world with TLS before one of its registries.
struct Encrypted {
    world: World,
    tls: Tls,
    at_source: bool,
    directory: tempfile::TempDir,
}

impl Encrypted {
    async fn start(at_source: bool) -> Self {
        let world = World::start().await;
        let inner = if at_source { &world.source } else { &world.destination };
        let tls = Tls::before(inner.address()).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), &tls.ca).unwrap();
        Self { world, tls, at_source, directory }
    }

    /// Everything that has an address is allowed to be private: what is refused is refused for being in the clear.
    fn network(&self, others: &[&str]) -> Network {
        let ca = Some(self.directory.path().join("ca.pem"));
        let allow = others.iter().map(|other| (*other).to_string()).collect();
        let settings = RegistrySettings { ca, allow, ..RegistrySettings::default() };
        self.world.network().with_settings([(self.tls.address.clone(), settings)].into_iter().collect::<Settings>())
    }

    async fn promote(&self, network: &Network) -> Result<(), OciError> {
        let (mut from, mut to) = (self.world.source.address(), self.world.destination.address());
        *(if self.at_source { &mut from } else { &mut to }) = &self.tls.address;
        let source = Store::Registry(network.repository(from, SOURCE).unwrap());
        let destination = Store::Registry(network.repository(to, DESTINATION).unwrap());
        let limits = promo_providers::oci::Limits::default();
        let resolved = promo_providers::oci::resolve_digest(&source, &self.world.what.digest, &limits).await?;
        let tags = &[TAG];
        let copy = promo_providers::oci::Copy {
            source: &source,
            source_tag: Some(TAG),
            destination: &destination,
            resolved: &resolved,
            tags,
            limits,
        };
        promo_providers::oci::copy(copy).await.map(drop)
    }
}

fn refused(error: OciError, context: &str) {
    let OciError::ForeignAddress { problem, .. } = &error else { panic!("{context}: {error:?}") };
    assert!(problem.contains("https"), "{context}: {problem}");
    assert_eq!(kind(error), ErrorKind::Denied, "{context}");
}

#[tokio::test]
async fn s13_5_no_redirect_leads_from_https_to_http() {
    let encrypted = Encrypted::start(true).await;
    let world = &encrypted.world;
    let other = OciRegistry::start(Behaviour::default()).await;
    // Nothing is wrong with the way itself.
    encrypted.promote(&encrypted.network(&[])).await.unwrap();
    world.assert_whole("through TLS");
    for target in [other.url(), world.source.url(), format!("http://{}", encrypted.tls.address)] {
        for path in ["/manifests/", "/blobs/", "/referrers/", "/tags/"] {
            let context = format!("{path} to {target}");
            let fault = Fault::new(On::of(Method::GET, path), What::Redirect(target.clone()));
            world.again(Behaviour::faulty([fault]), Behaviour::default());
            let allowed = [other.address(), world.source.address()];
            refused(encrypted.promote(&encrypted.network(&allowed)).await.expect_err(&context), &context);
            world.assert_nothing_published(&context);
            // What led there is not asked a second time, in the clear.
            let journal = world.source.journal();
            let mut led: Vec<&str> = journal.iter().filter(|e| e.faulty).map(|e| e.path.as_str()).collect();
            let all = led.len();
            led.sort_unstable();
            led.dedup();
            assert_eq!(led.len(), all, "{context}: {led:?}");
        }
    }
    assert_eq!(other.journal(), [], "nobody went there");
}

#[tokio::test]
async fn s13_5_no_upload_leads_from_https_to_http() {
    let encrypted = Encrypted::start(false).await;
    let world = &encrypted.world;
    encrypted.promote(&encrypted.network(&[])).await.unwrap();
    world.assert_whole("through TLS");
    let other = OciRegistry::start(Behaviour { credulous: true, ..Behaviour::default() }).await;
    for target in [other.url(), world.destination.url(), format!("http://{}", encrypted.tls.address)] {
        let fault = Fault::new(On::of(Method::POST, "/uploads/"), What::Locate(target.clone()));
        world.again(Behaviour::default(), Behaviour::faulty([fault]));
        let allowed = [other.address(), world.destination.address()];
        refused(encrypted.promote(&encrypted.network(&allowed)).await.expect_err(&target), &target);
        let writes = world.writes();
        assert!(writes.iter().all(|line| line.starts_with("POST ")), "{target}: {writes:?}");
    }
    assert_eq!(other.journal(), [], "nobody went there");
}

#[tokio::test]
async fn s13_5_no_token_is_asked_for_in_the_clear() {
    let encrypted = Encrypted::start(true).await;
    let world = &encrypted.world;
    let other = OciRegistry::start(Behaviour::default()).await;
    for realm in [format!("{}/token", other.url()), format!("http://{}/token", encrypted.tls.address)] {
        let door = Door::Token(TokenDoor { realm: Some(realm.clone()), ..TokenDoor::new("ci", "canary") });
        world.again(Behaviour { door, ..Behaviour::default() }, Behaviour::default());
        refused(encrypted.promote(&encrypted.network(&[other.address()])).await.expect_err(&realm), &realm);
        assert_eq!(world.writes(), Vec::<String>::new(), "{realm}");
    }
    assert_eq!(other.journal(), [], "nobody went there");
}
