//! What a pipeline file means: the example of the documentation, defaults, targets, settings.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config_support;

use config_support::kinds;
use promo_core::config;
use promo_core::diagnostic::{Diagnostic, Source};
use promo_core::ids::TargetName;
use promo_core::model::{After, Check, OnClose, OnFailure, Pipeline, SoakMode, Start, Tier};
use serde_json::json;

const EXAMPLE: &str = include_str!("config_support/shop.toml");

#[track_caller]
fn read(text: &str) -> Pipeline {
    let (pipeline, diagnostics) = config::pipeline(text, &kinds());
    let source = Source { name: "promo.toml", text };
    let shown: Vec<_> = diagnostics.iter().map(|d| (d.code, &d.message, source.place(d))).collect();
    assert!(diagnostics.is_empty(), "{shown:#?}");
    pipeline.unwrap()
}

fn told(text: &str) -> Vec<Diagnostic> {
    let (pipeline, diagnostics) = config::pipeline(text, &kinds());
    assert_eq!(pipeline.is_none(), diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:#?}");
    diagnostics
}

#[test]
fn the_documented_example_means_what_it_says() {
    let shop = read(EXAMPLE);
    assert_eq!(shop.name.as_str(), "shop");
    assert_eq!(shop.artifacts["chart"].repository, "registry.internal/shop/charts/api");
    assert_eq!(shop.artifacts["api"].tags.as_deref(), Some("sha-*"));

    let dev = &shop.environments["dev"];
    assert_eq!((dev.after.clone(), dev.start, dev.tier), (After::Root, Start::Auto, Tier::Development));
    let deploy = dev.deploy.as_ref().unwrap();
    assert_eq!(deploy.provider, "helm");
    assert_eq!(deploy.settings["values"], json!(["values/common.yaml", "values/dev.yaml"]), "one per environment");
    assert_eq!(deploy.files, ["values/common.yaml", "values/dev.yaml"], "the chart is an artifact, and no file");
    assert_eq!(
        deploy.settings["set"],
        json!({"replicas": 2, "host": "dev.internal", "list": [{ "on": true }]}),
        "values of any depth, for each environment"
    );

    let perf = shop.environments["perf"].deploy.as_ref().unwrap();
    assert_eq!((perf.provider.as_str(), &perf.settings), ("kubectl", &json!({"kustomize": "deploy/overlays/perf"})));

    let staging = &shop.environments["staging"];
    assert_eq!(staging.after, After::All(["qa".parse().unwrap(), "perf".parse().unwrap()].into()));

    let production = &shop.environments["production"];
    assert_eq!(production.start, Start::Manual, "manual is the default");
    assert_eq!(production.soak["staging"].seconds, 3600);
    assert_eq!(production.soak["staging"].mode, SoakMode::Reset);
    assert_eq!(production.targets["eu"].address(), "cluster=prod-eu namespace=shop");
    assert_eq!(production.mirror["registry.internal/shop"], "registry.prod.internal/shop");
    assert_eq!(production.on_failure, OnFailure::Rollback);
    assert_eq!(production.approval[0].count, 1);
    assert_eq!(production.approval[0].exclude.len(), 2);
    assert_eq!(production.windows[0].as_str(), "office-hours");
    assert!(shop.windows.contains_key("office-hours"));

    let Check::Automatic { settings, .. } = &shop.checks["health"] else { panic!("http is automatic") };
    assert_eq!(settings["for"], 30, "durations are seconds");
    assert_eq!(settings["url"], "http://api.{environment}.internal/healthz", "filled in per environment, later");
    let Check::Automatic { files, .. } = &shop.checks["regression"] else { panic!("command is automatic") };
    assert_eq!(files, &["tests/**"]);
    assert!(matches!(&shop.checks["uat"], Check::Manual { from } if from.len() == 1));
}

#[test]
fn a_missing_name_is_told_and_nothing_is_made() {
    let told = told(&EXAMPLE.replace("name = \"shop\"", ""));
    assert_eq!(told.iter().map(|d| d.code).collect::<Vec<_>>(), ["config-missing-key"]);
}

const SMALL: &str = r#"
format = 1
[pipeline]
name = "shop"
[artifacts.api]
image = "oci-layout:registry/api"
[checks.smoke]
command = { run = ["smoke", "{environment}"] }
[checks.load]
http = { url = "http://load/" }
[defaults]
verify = ["smoke"]
start = "auto"
mirror = { "a.io/x" = "b.io/x", "a.io/y" = "b.io/y" }
[defaults.deploy.directory]
templates = ["deploy/common/*", "deploy/{environment}/*"]
keep = 3
values = { region = "eu", size = "small" }
[[defaults.approval]]
from = ["lead"]
"#;

fn small(environments: &str) -> String {
    format!("{SMALL}{environments}")
}

#[test]
fn defaults_are_replaced_by_value_and_merged_by_table() {
    let pipeline = read(&small(
        r#"
[environments.dev]
tier = "development"
target = { directory = "env/{environment}" }
[environments.qa]
tier = "testing"
after = ["dev"]
start = "manual"
verify = ["load"]
approval = [{ count = 2, from = ["qa-lead"] }]
mirror = { "a.io/x" = "{environment}.io/x" }
target = { directory = "env/qa" }
deploy.directory = { templates = ["own/*"], values = { size = "large" } }
"#,
    ));
    let (dev, qa) = (&pipeline.environments["dev"], &pipeline.environments["qa"]);
    assert_eq!(dev.targets["default"].0["directory"], "env/dev", "one target is called default");
    assert_eq!((dev.start, qa.start), (Start::Auto, Start::Manual));
    assert_eq!(dev.verify[0].as_str(), "smoke");
    assert_eq!(qa.verify.iter().map(|c| c.as_str().to_string()).collect::<Vec<_>>(), ["load"], "lists are replaced");
    assert_eq!((dev.approval[0].count, qa.approval[0].count, qa.approval.len()), (1, 2, 1));
    assert_eq!(qa.mirror["a.io/x"], "qa.io/x");
    assert_eq!(qa.mirror["a.io/y"], "b.io/y", "tables are merged key by key");
    let settings = |e: &promo_core::model::Environment| e.deploy.as_ref().unwrap().settings.clone();
    assert_eq!(
        settings(dev),
        json!({"templates": ["deploy/common/*", "deploy/dev/*"], "keep": 3, "values": {"region": "eu", "size": "small"}})
    );
    assert_eq!(settings(qa), json!({"templates": ["own/*"], "keep": 3, "values": {"region": "eu", "size": "large"}}));
    assert_eq!(qa.deploy.as_ref().unwrap().files, ["own/*"]);
    let smoke = pipeline.checks["smoke"].for_environment(&"qa".parse().unwrap());
    assert!(matches!(smoke, Check::Automatic { settings, .. } if settings["run"] == json!(["smoke", "qa"])));
}

#[test]
fn another_kind_of_deployment_inherits_nothing_and_a_node_may_deploy_nothing() {
    let pipeline = read(&small(
        r#"
[environments.dev]
tier = "development"
target = { cluster = "c", namespace = "n" }
deploy.kubectl = { kustomize = "overlays/{environment}" }
[environments.join]
tier = "testing"
after = { at_least = 1, of = ["dev"], always = ["dev"] }
deploy = "none"
soak = { dev = { duration = "1h 30m", mode = "accumulate", unhealthy = "pause" } }
"#,
    ));
    let deploy = pipeline.environments["dev"].deploy.as_ref().unwrap();
    assert_eq!((deploy.provider.as_str(), &deploy.settings), ("kubectl", &json!({"kustomize": "overlays/dev"})));
    assert_eq!(deploy.files, ["overlays/dev"]);
    let join = &pipeline.environments["join"];
    assert!(join.is_control_only() && join.targets.is_empty());
    assert!(matches!(&join.after, After::AtLeast { at_least: 1, of, always } if of == always && of.len() == 1));
    let soak = join.soak["dev"];
    assert_eq!((soak.seconds, soak.mode), (5_400, SoakMode::Accumulate));
    assert_eq!(soak.unhealthy, promo_core::model::OnUnhealthy::Pause);
}

#[test]
fn a_circle_is_shown_as_the_whole_loop_with_a_label_at_every_after() {
    let ring = |name: &str, after: &str| {
        format!("[environments.{name}]\ntier = \"testing\"\nafter = [\"{after}\"]\ndeploy = \"none\"\n")
    };
    let text = small(&(ring("c", "b") + &ring("a", "c") + &ring("b", "a")));
    let told = told(&text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].message.ends_with("a -> b -> c -> a"), "{}", told[0].message);
    let labels: Vec<_> = told[0].labels.iter().map(|l| (&text[l.span.clone()], l.message.as_str())).collect();
    assert_eq!(
        labels,
        [("\"c\"", "`a` comes after `c`"), ("\"a\"", "`b` comes after `a`"), ("\"b\"", "`c` comes after `b`")]
    );
}

#[test]
fn s13_2_limits_hold_and_environments_can_be_raised() {
    use promo_core::config::{Limits, load};
    let many: String =
        (0..201).map(|i| format!("[environments.e{i}]\ntier = \"testing\"\ndeploy = \"none\"\n")).collect();
    let text = small(&many);
    assert_eq!(told(&text).iter().map(|d| d.code).collect::<Vec<_>>(), ["limit-environments"]);
    let raised = load(&text, &kinds(), &Limits { environments: 201, ..Limits::default() });
    assert_eq!(raised.pipeline.unwrap().environments.len(), 201);

    let exact = small("[environments.e]\ntier = \"testing\"\ndeploy = \"none\"\n");
    let padded = |size: usize| format!("{exact}{}", "#".repeat(size - exact.len()));
    assert!(told(&padded(1 << 20)).is_empty());
    assert_eq!(told(&padded((1 << 20) + 1))[0].code, "limit-file-size");
    // Each part within the parser's own limits, their product far beyond them.
    let dotted = vec!["a"; 60].join(".");
    let nested = format!("{}1{}", format!("{{ {dotted} = ").repeat(60), " }".repeat(60));
    assert_eq!(told(&format!("x = {nested}"))[0].code, "limit-depth");
}

#[test]
fn a_file_of_another_format_is_told_in_few_words_and_little_time() {
    let yaml = "a: b\n".repeat(200_000);
    let told = told(&yaml);
    assert!(told.len() < 100 && told[0].code == "toml-syntax", "{}", told.len());
}

#[test]
fn what_seems_absent_in_a_broken_file_is_not_told_until_the_syntax_is_whole() {
    let told = told(&EXAMPLE.replace("name = \"shop\"", "name = \"shop"));
    assert_eq!(told.iter().map(|d| d.code).collect::<Vec<_>>(), ["toml-syntax"], "{told:#?}");
}

#[test]
fn bytes_that_are_not_utf_8_are_told_with_their_line() {
    let error = config::text(b"format = 1\n\xff").unwrap_err();
    assert_eq!(error.code, "toml-encoding");
    assert!(error.message.contains("line 2"), "{}", error.message);
}

#[test]
fn the_schema_comes_from_the_same_tables_as_the_reader() {
    let schema = config::schema(&kinds());
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["required"], json!(["format", "pipeline", "artifacts", "environments"]));
    let environment = &schema["properties"]["environments"]["additionalProperties"];
    assert!(environment["properties"].get("hotfix").is_none(), "keys of later versions are not offered");
    assert_eq!(environment["properties"]["tier"]["enum"][3], "production");
    let kinds_of_deployment = &environment["properties"]["deploy"]["anyOf"][1]["properties"];
    assert_eq!(kinds_of_deployment["helm"]["properties"]["values"]["minItems"], 1);
    let checks = &schema["properties"]["checks"]["additionalProperties"];
    assert_eq!(checks["maxProperties"], 1);
    assert_eq!(checks["properties"]["manual"]["required"], json!(["from"]));
    assert!(config::policy_schema()["properties"].get("claims").is_some());
    assert_eq!(config::trust_schema()["required"], json!(["format", "ledger", "policy"]));
    let checkpoint = &config::trust_schema()["properties"]["checkpoint"];
    assert_eq!(checkpoint["required"], json!(["origin", "size", "root"]));
}

#[test]
fn r10_waves_order_every_target_once_and_say_how_many_at_once_and_how_long_they_wait() {
    let pipeline = |also: &str| {
        let head = "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.a]\nimage = \"r.example/a\"\n\
                    [checks.smoke]\nhttp = { url = \"http://a/\" }\n[environments.dev]\ntier = \"development\"\n\
                    deploy.directory = { templates = [\"deploy/*\"] }\nverify = [\"smoke\"]\n";
        let targets = ["eu", "us", "asia"].map(|name| format!("{name} = {{ directory = \"{name}\" }}")).join(", ");
        read(&format!("{head}targets = {{ {targets} }}\n{also}"))
    };
    let waves = "waves = [{ targets = [\"eu\"], pause = \"10m\" }, { targets = [\"us\", \"asia\"], at_once = 2 }]\n";
    let dev = &pipeline(&format!("{waves}on_close = \"stop-at-wave\"\n")).environments["dev"];
    let told: Vec<_> =
        dev.waves.iter().map(|w| (w.targets.iter().map(TargetName::as_str).collect(), w.at_once, w.pause)).collect();
    assert_eq!(told, [(vec!["eu"], 1, Some(600)), (vec!["us", "asia"], 2, None)], "in the order of the file");
    assert_eq!(dev.on_close, OnClose::StopAtWave);

    let plain = pipeline("");
    assert_eq!((plain.environments["dev"].waves.len(), plain.environments["dev"].on_close), (0, OnClose::Finish));
    let text = serde_json::to_string(&plain).unwrap();
    assert!(
        !text.contains("waves") && !text.contains("on_close"),
        "the digest of a pipeline without them stays: {text}"
    );
}
