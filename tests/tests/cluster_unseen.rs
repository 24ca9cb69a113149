//! Clusters and namespaces that cannot be looked at: what each verb says of them, that none takes that for a failure of what runs
//! there, and that `promo doctor`, to which they lead, knows of them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl};

/// Development and staging, each of which is asked whether its map is there.
async fn pipeline(by: By) -> Option<Pipeline> {
    let pipeline = Pipeline::new(2, |namespaces| {
        let environment = |name: &str, tier: &str, after: &str, place: usize| {
            Pipeline::environment(name, tier, after, &namespaces[place]).replace("[\"smoke\"]", "[\"runs\"]")
        };
        format!(
            "[checks.runs]\nrollout = {{ objects = [\"Deployment/web\"], timeout = \"20s\" }}\n{}{}{}",
            by.settings("timeout = \"60s\"\n"),
            environment("dev", "development", "", 0),
            environment("staging", "staging", "", 1)
        )
    });
    let pipeline = pipeline.await?.with(by);
    pipeline.declare("1", WEB);
    Some(pipeline)
}

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 1\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    \
                   spec: { containers: [{ name: web, image: shop/web }] }\n";

fn last(screen: &str) -> &str {
    screen.lines().rev().find_map(|line| line.strip_prefix("Next: ")).unwrap_or_default()
}

/// How many records the ledger has.
fn records(pipeline: &Pipeline) -> u64 {
    pipeline.json(0, &["ledger", "verify"])["records"].as_u64().unwrap()
}

/// The line of `promo doctor` about something.
fn line<'a>(screen: &'a str, what: &str) -> &'a str {
    screen.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {screen}"))
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s13_6_no_such_cluster_or_namespace_is_no_failure_of_what_runs_and_is_told_by_doctor() {
        let Some(pipeline) = pipeline(By::Kubectl).await else { return };
        pipeline.release("1.0.0").await;
        pipeline.ends(0, &["advance"]);
        let (dev, staging) = (pipeline.dev().name().to_owned(), pipeline.staging().name().to_owned());
        let doctor = pipeline.ends(0, &["doctor"]);
        assert!(line(&doctor, "cluster ").contains("v1."), "{doctor}");
        for namespace in [&dev, &staging] {
            let told = line(&doctor, &format!("{namespace} of kit"));
            assert!(told.contains('✓') && told.ends_with("is there"), "{doctor}");
        }
        // Nobody says where the cluster is.
        let clusters = pipeline.read("clusters.toml");
        pipeline.write("clusters.toml", "format = 1\n");
        let before = records(&pipeline);
        let said = pipeline.ends(65, &["verify", "staging"]);
        assert!(said.contains("nothing says where cluster `kit` is") && last(&said).ends_with("doctor"), "{said}");
        assert_eq!(records(&pipeline), before, "nothing was recorded");
        let plan = pipeline.ends(0, &["plan", "staging"]);
        assert!(line(&plan, "! not known on default").contains("nothing says where cluster `kit` is"), "{plan}");
        let release = pipeline.json(0, &["status"])["environments"][0]["release"]["id"].as_str().unwrap().to_owned();
        let said = pipeline.ends(65, &["plan", "staging", "--release", &release]);
        assert!(!said.contains("release add") && last(&said).ends_with("doctor"), "{said}");
        let doctor = pipeline.ends(1, &["doctor"]);
        assert!(line(&doctor, "cluster ").contains("nothing says where cluster `kit` is"), "{doctor}");
        assert!(last(&doctor).ends_with("explain provider-not-found"), "{doctor}");
        pipeline.ends(0, &["doctor", "--offline"]);
        pipeline.write("clusters.toml", &clusters);
        // And here the namespace is another one than is there.
        pipeline.edit("promo.toml", &format!("\"{staging}\""), "\"nowhere\"");
        let doctor = pipeline.ends(1, &["doctor"]);
        assert!(line(&doctor, "nowhere of kit").contains("has no namespace nowhere"), "{doctor}");
        assert!(line(&doctor, &format!("{dev} of kit")).contains('✓'), "{doctor}");
        let said = pipeline.ends(65, &["verify", "staging"]);
        assert!(said.contains("has no namespace nowhere"), "{said}");
        assert_eq!(records(&pipeline), before, "nothing was recorded");
        // What was deployed is not there any more: that is a failure of the place, and none of the release.
        pipeline.edit("promo.toml", "\"nowhere\"", &format!("\"{staging}\""));
        kubectl(pipeline.staging(), &["delete", "deployment", "web"]);
        let said = pipeline.ends(21, &["verify", "staging"]);
        assert!(said.contains("what is said of it is no verdict on the release"), "{said}");
        assert_eq!(records(&pipeline), before, "nothing was recorded");
        // Nor does a namespace that somebody deletes cost the release its evidence, neither while it is gone nor once it is back.
        kubectl(pipeline.dev(), &["delete", "namespace", &staging]);
        let said = pipeline.ends(65, &["verify", "staging"]);
        assert!(said.contains("error[provider-not-found]") && said.contains("has no namespace"), "{said}");
        kubectl(pipeline.dev(), &["create", "namespace", &staging]);
        let said = pipeline.ends(21, &["verify", "staging"]);
        assert_eq!(records(&pipeline), before, "{said}");
        assert_eq!(pipeline.json(0, &["status"])["environments"][1]["verified"], true);
        let next = last(&said).split(' ').skip(1).collect::<Vec<_>>();
        let planned = pipeline.ends(0, &next);
        let again = last(&planned).split(' ').skip(1).collect::<Vec<_>>();
        assert_eq!(again[..3], ["plan", "staging", "--release"], "{planned}");
        pipeline.ends(0, &again);
        pipeline.ends(0, &["apply", "staging.plan.json"]);
        pipeline.ends(0, &["verify", "staging"]);
    }

    mod needs_helm {
        use super::*;
        use promo_tests::kubernetes::Helm;

        #[tokio::test(flavor = "multi_thread")]
        async fn doctor_names_helm_with_its_version_and_what_is_said_where_there_is_none() {
            let Some(pipeline) = pipeline(By::Helm(Helm::Four)).await else { return };
            let doctor = pipeline.ends(0, &["doctor"]);
            let told = line(&doctor, "program ");
            assert!(told.contains('✓') && told.contains("helm") && told.contains("v4."), "{doctor}");
            let mut without = pipeline.promo(&["doctor"]);
            let output = without.env("PROMO_HELM", "no-such-helm").output().unwrap();
            let said = promo_tests::kubernetes::pipeline::said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(line(&said, "program ").contains("helm 3.13 or newer"), "{said}");
            assert!(last(&said).ends_with("explain provider-not-found"), "{said}");
        }
    }
}
