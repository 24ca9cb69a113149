//! What a cluster offers, as charts ask for it (`Capabilities`), where the server of a part of it is away: what nobody can say keeps no chart
//! from being deployed that comes out the same either way, and is guessed for none.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use promo_sdk::ErrorKind;
use promo_tests::charts::{BOTH, World, config};
use promo_tests::kubernetes::{ControlPlane, Namespace};
use serde_json::json;

const AWAY: &str = "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.away.example.com }\n\
                    spec: { group: away.example.com, version: v1, groupPriorityMinimum: 1000, versionPriority: 15, \
                    insecureSkipTLSVerify: true, service: { namespace: default, name: nowhere } }\n";

/// What is known, and what does not matter: the group itself is listed, and everything else is there.
const KNOWN: [(&str, &str); 4] = [
    ("{{ .Capabilities.APIVersions.Has \"away.example.com/v1\" }}", "true"),
    ("{{ .Capabilities.APIVersions.Has \"away.example.com/v2\" }}", "false"),
    ("{{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" }}", "true"),
    ("{{ and .Values.things (.Capabilities.APIVersions.Has \"away.example.com/v1/Thing\") | toString }}", "<nil>"),
];

/// What nobody can say, however it is asked.
const UNKNOWN: [&str; 4] = [
    "{{ .Capabilities.APIVersions.Has \"away.example.com/v1/Thing\" }}",
    "{{ .Capabilities.APIVersions.Has (printf \"%s.%s/v1/%s\" \"away\" \"example.com\" \"Thing\") }}",
    "{{ .Capabilities.APIVersions.Has .Values.asked }}",
    "{{ range .Capabilities.APIVersions }}{{ if hasPrefix \"away.\" . }}{{ . }},{{ end }}{{ end }}",
];

mod needs_kubernetes {
    mod needs_kubectl {
        mod needs_helm {
            use super::super::super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_part_of_the_api_whose_server_is_away_stops_only_a_chart_that_comes_out_otherwise_by_what_it_is()
            {
                // Every test on the same control plane would see it.
                let Some(plane) = ControlPlane::private() else { return };
                let mut away = false;
                for helm in BOTH {
                    let world = World::on(Namespace::on(&plane), helm);
                    let of = |world: &World, template: &str| {
                        let map = config("offers", "HERE").replace("\"HERE\"", &format!("'{template}'"));
                        let values = ("chart/values.yaml", "asked: away.example.com/v1/Thing\n");
                        world.inputs(&[("chart/templates/map.yaml", &map), values], &json!({}))
                    };
                    if !away {
                        world.preview(&of(&world, UNKNOWN[0])).await.expect("everything can be said");
                        take_away(&world).await;
                        away = true;
                    }
                    // Another run: what a server offers is asked once in each.
                    let world = World { provider: Default::default(), ..world };
                    for template in UNKNOWN {
                        let error = world.preview(&of(&world, template)).await.unwrap_err();
                        assert_eq!(error.kind, ErrorKind::Transient, "it may be there again: {error}");
                        let why = "ConfigMap/offers of the chart is rendered otherwise by what that is";
                        assert!(
                            error.message.contains("what it offers in away.example.com/v1: ")
                                && error.message.contains(why),
                            "{helm:?} {template}: {error}"
                        );
                    }
                    let all = KNOWN.map(|(template, _)| template).join(" ");
                    world.deploy(&of(&world, &all)).await;
                    let found = world.kubectl(&["get", "configmap", "offers", "-o", "jsonpath={.data.key}"]);
                    assert_eq!(found, KNOWN.map(|(_, answer)| answer).join(" "), "{helm:?}");
                }
            }
        }
    }
}

/// Registers a part of the API whose server is nowhere, and waits until the API server knows that.
async fn take_away(world: &World) {
    let file = world.root.path().join("away.yaml");
    std::fs::write(&file, AWAY).expect("the directory can be written");
    world.kubectl(&["apply", "-f", &file.display().to_string()]);
    let listed = || world.kubectl(&["get", "--raw", "/apis"]).contains("away.example.com");
    let away = || {
        let raw = world.namespace.kubectl().args(["get", "--raw", "/apis/away.example.com/v1"]).output();
        String::from_utf8_lossy(&raw.expect("kubectl runs").stderr).contains("(ServiceUnavailable)")
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !listed() || !away() {
        assert!(Instant::now() < deadline, "it is not listed, or not away");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
