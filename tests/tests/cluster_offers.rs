//! What a cluster offers, as charts ask for it (`Capabilities`): what cannot be asked is no answer.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use promo_sdk::ErrorKind;
use promo_tests::charts::World;
use promo_tests::kubernetes::{ControlPlane, Helm, Namespace};
use serde_json::json;

const AWAY: &str = "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.away.example.com }\n\
                    spec: { group: away.example.com, version: v1, groupPriorityMinimum: 1000, versionPriority: 15, \
                    insecureSkipTLSVerify: true, service: { namespace: default, name: nowhere } }\n";

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: offers }\n\
                   data: { away: \"{{ .Capabilities.APIVersions.Has \"away.example.com/v1/Thing\" }}\" }\n";

mod needs_kubernetes {
    mod needs_kubectl {
        mod needs_helm {
            use super::super::super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_part_of_the_api_whose_server_is_away_is_not_taken_for_one_that_offers_nothing() {
                // Every test on the same control plane would see it.
                let Some(plane) = ControlPlane::private() else { return };
                let world = World::on(Namespace::on(&plane), Helm::Four);
                let inputs = world.inputs(&[("chart/templates/map.yaml", MAP)], &json!({}));
                world.preview(&inputs).await.unwrap();
                let file = world.root.path().join("away.yaml");
                std::fs::write(&file, AWAY).unwrap();
                world.kubectl(&["apply", "-f", &file.display().to_string()]);
                let listed = || world.kubectl(&["get", "--raw", "/apis"]).contains("away.example.com");
                let away = || {
                    let raw = world.namespace.kubectl().args(["get", "--raw", "/apis/away.example.com/v1"]).output();
                    String::from_utf8_lossy(&raw.unwrap().stderr).contains("(ServiceUnavailable)")
                };
                let deadline = Instant::now() + Duration::from_secs(30);
                while !listed() || !away() {
                    assert!(Instant::now() < deadline, "it is not listed, or not away");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                // Another run: what a server offers is asked once in each.
                let world = World { provider: Default::default(), ..world };
                let error = world.preview(&inputs).await.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Transient, "it may be there again: {error}");
                assert!(error.message.contains("what it offers in away.example.com/v1"), "{error}");
            }
        }
    }
}
