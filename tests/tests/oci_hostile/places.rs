//! Servers that send their clients elsewhere: redirects, and places for uploads.

use axum::http::Method;
use promo_sdk::{ErrorKind, ProviderError};
use promo_tests::oci_registry::{Behaviour, Fault, OciRegistry, On, What};

use crate::world::{DESTINATION, World, kind};

const PRIVATE: [&str; 9] = [
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/x",
    "http://192.168.1.1/x",
    "http://172.16.0.1/x",
    "http://[fd00::1]/x",
    "http://[::1]:1/x",
    "http://localhost:1/x",
    "ftp://registry.example/x",
];

fn refused(error: ProviderError, context: &str) {
    assert_eq!(kind(error), ErrorKind::Denied, "{context}");
}

#[tokio::test]
async fn s13_5_a_redirect_within_the_registry_is_followed() {
    let world = World::start().await;
    let own = world.source.url();
    let faults = [Fault::new(On::of(Method::GET, "/blobs/").times(5), What::Redirect(own))];
    world.again(Behaviour::faulty(faults), Behaviour::default());
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("redirected to itself");
}

#[tokio::test]
async fn s13_5_a_redirect_to_a_private_address_is_refused_and_nothing_is_sent_there() {
    let world = World::start().await;
    let other = OciRegistry::start(Behaviour::default()).await;
    let elsewhere = other.url();
    for target in PRIVATE.into_iter().chain([elsewhere.as_str()]) {
        for path in ["/manifests/", "/blobs/", "/referrers/", "/tags/"] {
            let faults = [Fault::new(On::of(Method::GET, path), What::Redirect(target.into()))];
            world.again(Behaviour::faulty(faults), Behaviour::default());
            let error = world.copy(&world.network()).await.unwrap_err();
            refused(error, &format!("{path} to {target}"));
            world.assert_nothing_published(target);
        }
        // And what asks the destination.
        let faults = [Fault::new(On::of(Method::HEAD, "/"), What::Redirect(target.into()))];
        world.again(Behaviour::default(), Behaviour::faulty(faults));
        refused(world.copy(&world.network()).await.unwrap_err(), target);
        assert_eq!(world.writes(), Vec::<String>::new(), "{target}");
    }
    assert_eq!(other.journal(), [], "nobody went there");
}

#[tokio::test]
async fn s13_5_an_address_that_is_allowed_is_followed() {
    let world = World::start().await;
    let storage = world.source.beside(Behaviour::default()).await;
    let faults = [Fault::new(On::of(Method::GET, "/blobs/"), What::Redirect(storage.url()))];
    world.again(Behaviour::faulty(faults), Behaviour::default());
    world.promote(&world.allowing(&[storage.address()])).await.unwrap();
    world.assert_whole("from the storage beside");
    assert!(storage.journal().iter().any(|entry| entry.method == "GET" && entry.status == 200));
    // What comes from there is checked like everything else.
    storage.behave(Behaviour::faulty([Fault::new(On::all(), What::Flip { byte: 2, bit: 2 })]));
    world.destination.empty();
    let error = world.promote(&world.allowing(&[storage.address()])).await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::Integrity);
    assert!(world.destination.repository(DESTINATION).tags.is_empty());
}

#[tokio::test]
async fn s13_5_redirects_in_a_circle_come_to_an_end() {
    let world = World::start().await;
    let faults = [Fault::new(On::of(Method::GET, "/manifests/"), What::Redirect(world.source.url()))];
    world.again(Behaviour::faulty(faults), Behaviour::default());
    refused(world.promote(&world.network()).await.unwrap_err(), "a circle");
    assert!(world.source.journal().len() <= 10, "{}", world.source.journal().len());
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn s13_5_a_foreign_place_for_an_upload_is_refused_before_a_byte_is_sent_there() {
    let world = World::start().await;
    let other = OciRegistry::start(Behaviour { credulous: true, ..Behaviour::default() }).await;
    let elsewhere = other.url();
    for target in PRIVATE.into_iter().chain([elsewhere.as_str(), ""]) {
        let what = What::Header("location", Some(target.into()).filter(|text: &String| !text.is_empty()));
        world.again(Behaviour::default(), Behaviour::faulty([Fault::new(On::of(Method::POST, "/uploads/"), what)]));
        let error = world.promote(&world.network()).await.unwrap_err();
        refused(error, target);
        let writes = world.writes();
        assert!(writes.iter().all(|line| line.starts_with("POST ")), "{target}: {writes:?}");
    }
    assert_eq!(other.journal(), [], "nobody went there");
}

#[tokio::test]
async fn s13_5_an_upload_goes_to_the_storage_that_is_allowed() {
    let world = World::start().await;
    let storage = world.destination.beside(Behaviour::default()).await;
    let faults = [Fault::new(On::of(Method::POST, "/uploads/"), What::Locate(storage.url()))];
    world.again(Behaviour::default(), Behaviour::faulty(faults));
    world.promote(&world.allowing(&[storage.address()])).await.unwrap();
    world.assert_whole("through the storage beside");
    let all = storage.journal();
    assert!(all.iter().all(|entry| entry.method == "PUT" && entry.status == 201) && all.len() >= 5, "{all:?}");
    assert_eq!(world.destination.open_uploads(), 0);
}
