//! Proxies as the environment names them, with promo as a process of its own: what goes through them, and what does not.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use base64::Engine as _;
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Network, Store};
use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
use promo_tests::front::{Proxy, Tls};
use promo_tests::oci_registry::{Behaviour, Door, OciRegistry};

async fn registries() -> (OciRegistry, OciRegistry) {
    let (source, destination) =
        (OciRegistry::start(Behaviour::default()).await, OciRegistry::start(Behaviour::default()).await);
    let network = Network::new(promo_sdk::http_clients().no_proxy().build().unwrap(), source.clock());
    let store = Store::Registry(network.repository(source.address(), FROM).unwrap());
    build::image(&store, TAG, &Image::new([], vec![vec![7; 5_000]])).await.unwrap();
    source.behave(Behaviour::default());
    (source, destination)
}

/// The words in a file that promo is told of.
fn settings(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registries.toml");
    std::fs::write(&file, format!("format = 1\n{text}")).unwrap();
    let path = file.display().to_string();
    (directory, path)
}

fn promote(project: &Project) {
    tokio::task::block_in_place(|| {
        project.prepare();
        let end = project.run(&["apply", PLAN]);
        assert_eq!(end.code, Some(0), "{}", end.said);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_through_its_proxy_and_past_it_where_no_proxy_says_so() {
    let (source, destination) = registries().await;
    // Only the proxy knows where this name leads.
    let proxy = Proxy::start(&[("source.test:8080", source.address())]).await;
    let (_directory, file) = settings("[registry.\"source.test:8080\"]\nplain_http = true\n");
    let all = [("HTTP_PROXY", proxy.url()), ("PROMO_REGISTRIES", file)];
    let variables = |no_proxy: &str| -> Vec<(String, String)> {
        let no_proxy = Some(("NO_PROXY".to_string(), no_proxy.to_string())).filter(|(_, value)| !value.is_empty());
        all.iter().map(|(name, value)| ((*name).to_string(), value.clone())).chain(no_proxy).collect()
    };
    for (no_proxy, direct) in [("", false), ("127.0.0.1", true)] {
        destination.empty();
        let before = proxy.heads().len();
        let variables = variables(no_proxy);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        promote(&Project::new("source.test:8080", destination.address(), &variables));
        assert!(destination.repository(TO).tags.contains_key(TAG));
        let heads = proxy.heads().split_off(before);
        let to = |place: &str| heads.iter().filter(|head| head.contains(&format!(" http://{place}/v2/"))).count();
        assert!(to("source.test:8080") > 0, "{heads:?}");
        assert_eq!(to(destination.address()) > 0, !direct, "NO_PROXY={no_proxy}: {heads:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_a_tunnel_that_sees_neither_requests_nor_passwords() {
    let (source, destination) = registries().await;
    source.behave(Behaviour {
        door: Door::Basic { user: "ci".into(), password: "canary-of-the-password".into() },
        ..Behaviour::default()
    });
    let tls = Tls::before(source.address()).await;
    let proxy = Proxy::start(&[("registry.test:443", &tls.address)]).await;
    let (directory, file) = settings("[registry.\"registry.test\"]\nca = \"ca.pem\"\n");
    std::fs::write(directory.path().join("ca.pem"), &tls.ca).unwrap();
    let auth = base64::engine::general_purpose::STANDARD.encode("ci:canary-of-the-password");
    let auths = format!(r#"{{"auths":{{"registry.test":{{"auth":"{auth}"}}}}}}"#);
    let variables = [("HTTPS_PROXY", proxy.url()), ("PROMO_REGISTRIES", file), ("DOCKER_AUTH_CONFIG", auths)];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    promote(&Project::new("registry.test", destination.address(), &variables));
    assert!(destination.repository(TO).tags.contains_key(TAG));
    let heads = proxy.heads();
    assert!(!heads.is_empty());
    for head in &heads {
        assert!(head.starts_with("CONNECT registry.test:443 "), "{head}");
        assert!(!head.contains("canary") && !head.contains(&auth) && !head.contains("/v2/"), "{head}");
    }
}
