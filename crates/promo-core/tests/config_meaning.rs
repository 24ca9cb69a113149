//! What a pipeline file means: the example of the documentation, defaults, targets, settings.
#![allow(clippy::unwrap_used, reason = "tests")]

mod config_support;

use config_support::kinds;
use promo_core::config;
use promo_core::diagnostic::{Diagnostic, Source};
use promo_core::model::{After, Check, OnFailure, Pipeline, SoakMode, Start, Tier};
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
    assert_eq!(deploy.files, ["values/common.yaml", "values/dev.yaml"]);

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
