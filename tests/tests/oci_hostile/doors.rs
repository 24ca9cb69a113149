//! Registries with doors: whom credentials are shown to, how often tokens are asked for, and tokens that end too soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use promo_providers::oci::{Network, RegistrySettings, Settings};
use promo_sdk::{ErrorKind, Secrets};
use promo_tests::oci_registry::{
    Behaviour, Credential, Door, Entry, Fault, Mounting, OciRegistry, On, TokenDoor, What,
};
use secrecy::SecretString;

use crate::world::{DESTINATION, SOURCE, TAG, World, kind};

const USER: (&str, &str) = ("ci", "canary-of-the-password");

struct Variables(BTreeMap<String, String>);

impl Secrets for Variables {
    fn get(&self, _name: &str) -> Option<SecretString> {
        None
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        self.0.get(name).map(|value| value.as_str().into())
    }
}

/// A network with the password for both registries, which may be sent to these addresses.
fn network(world: &World, allow: &[&str]) -> Network {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    let auths: serde_json::Map<String, serde_json::Value> = [&world.source, &world.destination]
        .map(|registry| (registry.address().to_string(), serde_json::json!({ "auth": auth })))
        .into_iter()
        .collect();
    let auths = serde_json::json!({ "auths": auths }).to_string();
    let mut cx = promo_sdk::testing::context("/nowhere");
    cx.secrets = Arc::new(Variables(BTreeMap::from([("DOCKER_AUTH_CONFIG".to_string(), auths)])));
    cx.clock = world.clock.clone();
    let settings = RegistrySettings { allow: allow.iter().map(|a| (*a).to_string()).collect(), ..Default::default() };
    let both = [&world.source, &world.destination].map(|r| (r.address().to_string(), settings.clone()));
    Network::of(&cx).unwrap().with_settings(both.into_iter().collect::<Settings>())
}

fn basic() -> Behaviour {
    Behaviour { door: Door::Basic { user: USER.0.into(), password: USER.1.into() }, ..Behaviour::default() }
}

fn token(change: impl FnOnce(&mut TokenDoor)) -> Behaviour {
    let mut door = TokenDoor::new(USER.0, USER.1);
    change(&mut door);
    Behaviour { door: Door::Token(door), ..Behaviour::default() }
}

fn tokens(journal: &[Entry]) -> Vec<&Entry> {
    journal.iter().filter(|entry| entry.path == "/token").collect()
}

#[tokio::test]
async fn a_password_is_sent_only_after_it_was_asked_for_and_never_where_a_redirect_leads() {
    let world = World::start().await;
    let (blobs, uploads) =
        (world.source.beside(Behaviour::default()).await, world.destination.beside(Behaviour::default()).await);
    let source = Fault::new(On::path("/blobs/sha256"), What::Redirect(blobs.url()));
    let destination = Fault::new(On::path("/uploads/"), What::Locate(uploads.url()));
    world.again(Behaviour { faults: vec![source], ..basic() }, Behaviour { faults: vec![destination], ..basic() });
    world.promote(&network(&world, &[blobs.address(), uploads.address()])).await.unwrap();
    world.assert_whole("behind passwords");
    for registry in [&world.source, &world.destination] {
        let journal = registry.journal();
        assert_eq!((journal[0].credential, journal[0].status), (Credential::None, 401));
        let refused = journal.iter().filter(|entry| entry.status == 401).count();
        assert_eq!(refused, 1, "the registry has to ask only once");
        assert!(journal[1..].iter().all(|entry| entry.credential == Credential::Basic), "{journal:?}");
    }
    for storage in [&blobs, &uploads] {
        let journal = storage.journal();
        assert!(!journal.is_empty());
        assert!(journal.iter().all(|entry| entry.credential == Credential::None), "{journal:?}");
    }
}

#[tokio::test]
async fn tokens_are_asked_for_once_for_many_requests() {
    let world = World::start().await;
    world.again(token(|_| {}), token(|_| {}));
    world.promote(&network(&world, &[])).await.unwrap();
    world.assert_whole("behind tokens");
    for registry in [&world.source, &world.destination] {
        let journal = registry.journal();
        assert!(tokens(&journal).len() <= 3, "{} token requests", tokens(&journal).len());
        assert!(journal.iter().filter(|entry| entry.status == 401).count() <= 1, "{journal:?}");
        for entry in &journal {
            let expected = if entry.path == "/token" { Credential::Basic } else { Credential::Bearer };
            assert!(entry.credential == expected || entry.status == 401, "{}", entry.line());
            assert!(!entry.line().contains(USER.1), "S13.4: {}", entry.line());
        }
    }
}

#[tokio::test]
async fn a_mount_has_both_repositories_in_one_token_and_moves_no_bytes() {
    let world = World::start().await;
    world.source.behave(token(|_| {}));
    let network = network(&world, &[]);
    let (a, b) = (
        world.from(&network),
        promo_providers::oci::Store::Registry(network.repository(world.source.address(), DESTINATION).unwrap()),
    );
    let limits = promo_providers::oci::Limits::default();
    let request = promo_providers::oci::Copy {
        source: &a,
        source_tag: None,
        destination: &b,
        resolved: &world.what,
        tags: &[TAG],
        limits,
    };
    let report = promo_providers::oci::copy(request).await.unwrap();
    assert_eq!((report.blobs_copied, report.bytes), (0, 0), "{report:?}");
    let journal = world.source.journal();
    let both =
        |entry: &&&Entry| entry.query.contains("prod%2Fapp%3Apull%2Cpush") && entry.query.contains("team%2Fapp%3Apull");
    assert!(tokens(&journal).iter().any(|entry| both(&entry)), "{:?}", tokens(&journal));
    let mounts: Vec<&Entry> = journal.iter().filter(|entry| entry.query.contains("mount=")).collect();
    assert!(mounts.len() >= 5 && mounts.iter().all(|entry| entry.status == 201), "{mounts:?}");
    assert!(!journal.iter().any(|entry| entry.method == "PUT" && entry.path.contains("/blobs/")));
}

#[tokio::test]
async fn a_mount_that_is_answered_with_a_session_uses_it_and_leaves_none_open() {
    let world = World::start().await;
    for (mount, status) in [
        (Mounting::Session, 202),
        (Mounting::Refuse(405), 405),
        (Mounting::Refuse(403), 403),
        (Mounting::Refuse(404), 404),
    ] {
        world.source.behave(Behaviour { mount, ..Behaviour::default() });
        let network = world.network();
        let repository = format!("mounted/{status}");
        let there =
            promo_providers::oci::Store::Registry(network.repository(world.source.address(), &repository).unwrap());
        let from = world.from(&network);
        let limits = promo_providers::oci::Limits::default();
        let request = promo_providers::oci::Copy {
            source: &from,
            source_tag: None,
            destination: &there,
            resolved: &world.what,
            tags: &[TAG],
            limits,
        };
        promo_providers::oci::copy(request).await.unwrap();
        assert_eq!(world.source.repository(&repository).tags[TAG], world.what.digest);
        assert_eq!(world.source.open_uploads(), 0, "{mount:?}");
        let journal = world.source.journal();
        let posts = journal.iter().filter(|entry| entry.method == "POST").count();
        let puts = journal.iter().filter(|entry| entry.method == "PUT" && entry.path.contains("/uploads/")).count();
        let expected = if mount == Mounting::Session { puts } else { 2 * puts };
        assert_eq!(posts, expected, "{mount:?}: a session that was opened is used");
        // Either a mount or a question, never both.
        let asked = journal.iter().any(|entry| entry.method == "HEAD" && entry.path.contains("/blobs/"));
        assert_eq!(asked, mount != Mounting::Session, "{mount:?}");
    }
}

#[tokio::test]
async fn a_token_that_ends_too_soon_is_fetched_anew_and_the_copy_goes_on() {
    let world = World::start().await;
    // Several requests are under way at once, and each may spend what another has fetched.
    for uses in [1, 3, 8, 13, 21] {
        world.again(token(|door| door.uses = Some(uses)), token(|door| door.uses = Some(uses)));
        let result = world.promote(&network(&world, &[])).await;
        result.unwrap_or_else(|error| panic!("{uses} uses: {error:?}"));
        world.assert_whole(&format!("tokens for {uses} requests"));
    }
    // Nothing is said about how long it is good.
    world.again(token(|door| door.said = None), token(|door| door.said = None));
    world.promote(&network(&world, &[])).await.unwrap();
    world.assert_whole("tokens of an unknown life");
    // One that is never good is asked for again once, and then it is a refusal.
    world.again(token(|door| door.lifetime = Duration::ZERO), Behaviour::default());
    let error = world.promote(&network(&world, &[])).await.unwrap_err();
    assert!(!error.to_string().contains(USER.1), "S13.4: {error}");
    assert_eq!(kind(error), ErrorKind::Denied);
    assert!(tokens(&world.source.journal()).len() <= 2, "{:?}", world.source.journal());
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn s13_5_a_foreign_token_server_is_refused_and_sees_no_password() {
    let world = World::start().await;
    let other = OciRegistry::start(token(|_| {})).await;
    let foreign = format!("http://{}/token", other.address().replace("127.0.0.1", "127.0.0.2"));
    let local = format!("http://localhost:{}/token", other.address().rsplit_once(':').unwrap().1);
    let realms = [
        &local,
        "http://169.254.169.254/token",
        "https://169.254.169.254/token",
        "http://10.0.0.1/token",
        "https://[fd00::1]/token",
        "https://user:password@auth.example/token",
        "file:///etc/passwd",
        "",
        &foreign,
    ];
    for realm in realms {
        world.again(token(|door| door.realm = Some(realm.into())), Behaviour::default());
        let error = world.promote(&network(&world, &[])).await.unwrap_err();
        assert!(error.message.contains("token server"), "{realm}: {error}");
        assert!(!error.to_string().contains(USER.1), "S13.4: {error}");
        assert_eq!(kind(error), ErrorKind::Denied, "{realm}");
        assert_eq!(world.writes(), Vec::<String>::new(), "{realm}");
        assert!(world.source.journal().iter().all(|entry| entry.credential == Credential::None), "{realm}");
    }
    assert_eq!(other.journal(), [], "nobody went there");
}

#[tokio::test]
async fn a_password_that_is_wrong_is_a_refusal_before_any_write() {
    let world = World::start().await;
    let wrong = || Door::Basic { user: USER.0.into(), password: "another".into() };
    for door in [wrong(), Door::Token(TokenDoor::new(USER.0, "another"))] {
        let context = format!("{door:?}");
        world.again(Behaviour::default(), Behaviour { door, ..Behaviour::default() });
        let error = world.promote(&network(&world, &[])).await.expect_err(&context);
        assert_eq!(kind(error), ErrorKind::Denied, "{context}");
        assert_eq!(world.writes(), Vec::<String>::new(), "{context}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_a_refusal_and_never_an_absence() {
    let world = World::start().await;
    world.again(token(|door| door.closed = vec![SOURCE.into()]), Behaviour::default());
    let error = world.promote(&network(&world, &[])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert_eq!(world.writes(), Vec::<String>::new());
    world.again(Behaviour::default(), token(|door| door.closed = vec![DESTINATION.into()]));
    let error = world.promote(&network(&world, &[])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    let written = world.destination.repository(DESTINATION);
    assert!(written.tags.is_empty() && written.blobs.is_empty() && written.manifests.is_empty());
}
