//! Policy over a pipeline: trust, claims, floors, and that composition only ever adds (S0, S7.2).
#![allow(clippy::unwrap_used, reason = "tests")]

mod config_support;

use config_support::{KEY, kinds};
use promo_core::config::{self, Limits, Loaded};
use promo_core::diagnostic::Diagnostic;
use promo_core::model::{Pipeline, Tier};
use promo_core::policy::{Governed, Policy, TrustMode, govern, policy};
use promo_core::trust::trust;
use proptest::prelude::*;

const SHOP: &str = include_str!("config_support/shop.toml");

fn local_app() -> String {
    r#"
format = 1
[pipeline]
name = "shop"
[artifacts.api]
image = "oci-layout:registry/api"
[defaults]
verify = ["smoke"]
[defaults.deploy.directory]
templates = ["deploy/*.yaml"]
[checks.smoke]
command = { run = ["true"] }
[environments.dev]
tier = "development"
target = { directory = "env/dev" }
[environments.staging]
tier = "staging"
after = ["dev"]
target = { directory = "env/staging" }
[environments.production]
tier = "production"
after = ["staging"]
target = { directory = "env/production" }
windows = ["hours"]
[[environments.production.approval]]
from = ["lead"]
[windows.hours]
effect = "allow"
timezone = "UTC"
weekly = {}
"#
    .into()
}

fn organisation() -> String {
    format!(
        r#"
format = 1
[policy]
name = "platform"
version = 14
expires = "2027-01-31"
[identities.maria]
roles = ["lead", "release-manager", "platform-lead"]
keys = ["{KEY}"]
emails = ["maria@example.org"]
[identities.bot]
roles = ["machine"]
human = false
[[claims]]
directory = "env"
tier = "development"
[[claims]]
directory = "env/production"
tier = "production"
[[claims]]
cluster = "nonprod"
tier = "development"
[[claims]]
cluster = "staging"
tier = "staging"
[[claims]]
cluster = "prod-eu"
tier = "production"
[[claims]]
cluster = "prod-us"
namespace = "shop"
tier = "production"
[[claims]]
registry = "registry.prod.internal"
tier = "production"
[tiers.production]
verify = ["health"]
windows = ["no-friday"]
providers = ["helm"]
[[tiers.production.approval]]
count = 1
from = ["lead"]
exclude = ["applier"]
[windows.no-friday]
effect = "deny"
timezone = "UTC"
weekly = {{ days = ["fri"] }}
"#
    )
}

/// A policy that only says who may approve.
fn permissive() -> String {
    format!(
        "format = 1\n[policy]\nname = \"p\"\nversion = 1\n[identities.maria]\nroles = [\"lead\"]\nkeys = [\"{KEY}\"]\n"
    )
}

#[track_caller]
fn read(text: &str) -> Loaded {
    let loaded = config::load(text, &kinds(), &Limits::default());
    assert!(loaded.pipeline.is_some(), "{:#?}", loaded.diagnostics);
    loaded
}

#[track_caller]
fn rules(text: &str) -> Policy {
    let (read, told) = policy(text);
    assert!(told.is_empty(), "{told:#?}");
    read.unwrap()
}

fn lay(app: &str, policy: Option<&str>, mode: TrustMode) -> (Option<Governed>, Vec<Diagnostic>) {
    let app = read(app);
    let policy = policy.map(rules);
    govern(app.pipeline.as_ref().unwrap(), &app.places, policy.as_ref(), mode)
}

#[test]
fn policy_raises_the_limits_of_a_pipeline_file_and_never_lowers_them_s13_2() {
    let with = |limits: &str| format!("{}\n{limits}\n", organisation());
    assert_eq!(rules(&organisation()).limits, Limits::default());
    let raised = rules(&with("[limits]\nenvironments = 201")).limits;
    assert_eq!(raised, Limits { environments: 201, ..Limits::default() });
    let raised = rules(&with("[limits]\nbytes = 4194304")).limits;
    assert_eq!(raised, Limits { bytes: 4 << 20, ..Limits::default() });
    for lowered in ["environments = 199", "bytes = 1048575", "bytes = 0"] {
        let (read, told) = policy(&with(&format!("[limits]\n{lowered}")));
        assert!(read.is_none(), "{lowered}");
        assert_eq!(codes(&told), ["config-wrong-value"], "{lowered}");
    }

    let mut large = String::from("format = 1\n[pipeline]\nname = \"p\"\n[artifacts.a]\nimage = \"r.example/a\"\n");
    for n in 0..201 {
        large.push_str(&format!("[environments.e{n}]\ntier = \"development\"\n"));
    }
    assert_eq!(codes(&config::load(&large, &kinds(), &Limits::default()).diagnostics), ["limit-environments"]);
    let allowed = rules(&with("[limits]\nenvironments = 201")).limits;
    assert!(config::load(&large, &kinds(), &allowed).pipeline.is_some());
}

#[test]
fn s0_5_policy_says_whether_a_release_may_be_added_by_what_its_tags_show() {
    let governed = |text: &str| lay(SHOP, Some(text), TrustMode::Trusted).0.unwrap().first_observation;
    assert!(governed(&organisation()), "allowed when left out, as by every policy before there was the key");
    assert!(governed(&(organisation() + "[releases]\nfirst_observation = true\n")));
    assert!(!governed(&(organisation() + "[releases]\nfirst_observation = false\n")));
    let (read, told) = policy(&(organisation() + "[releases]\nfirst_observation = \"no\"\n"));
    assert!(read.is_none());
    assert_eq!(codes(&told), ["config-wrong-type"]);
}

fn codes(told: &[Diagnostic]) -> Vec<&str> {
    told.iter().map(|d| d.code).collect()
}

#[test]
fn the_documented_pipeline_passes_under_its_policy_and_both_rules_hold() {
    let (governed, told) = lay(SHOP, Some(&organisation()), TrustMode::Trusted);
    assert!(told.is_empty(), "{told:#?}");
    let governed = governed.unwrap();
    let rules = &governed.approval["production"];
    assert_eq!(rules.len(), 2, "the environment's and policy's: {rules:?}");
    let levels: Vec<_> = governed.windows["production"].iter().map(|l| (l.name.as_str(), l.windows.len())).collect();
    assert_eq!(levels, [("organisation", 1), ("production", 1)]);
    assert_eq!(governed.policy.as_ref().map(|p| p.version), Some(14));
    assert!(!governed.local);
    assert!(governed.approval["dev"].is_empty());
}

#[test]
fn s0_1_without_a_trust_file_production_stays_on_this_machine_and_needs_people() {
    let (governed, told) = lay(SHOP, Some(&organisation()), TrustMode::Local);
    assert!(governed.is_none());
    assert_eq!(codes(&told), ["trust-remote-production"; 3], "two clusters and a registry");
    assert!(told.iter().all(|d| !d.labels.is_empty()));

    let (_, told) = lay(&local_app(), None, TrustMode::Local);
    assert_eq!(codes(&told), ["policy-missing"]);

    let (governed, told) = lay(&local_app(), Some(&permissive()), TrustMode::Local);
    assert!(told.is_empty(), "{told:#?}");
    assert!(governed.unwrap().local, "an unknown directory is taken in local mode");

    let (_, told) = lay(&local_app(), None, TrustMode::Trusted);
    assert!(codes(&told).contains(&"policy-required"));
}

#[test]
fn s0_1_another_ledger_or_policy_in_the_pipeline_is_refused() {
    let (trusted, told) = trust("format = 1\nledger = \"ledger.db\"\npolicy = { path = \"policy.toml\" }\n");
    assert!(told.is_empty(), "{told:?}");
    let trusted = trusted.unwrap();
    let same = SHOP.replace("name = \"shop\"\n", "name = \"shop\"\nledger = \"ledger.db\"\npolicy = \"policy.toml\"\n");
    let loaded = read(&same);
    assert!(trusted.compare(&loaded.repeated, &loaded.places).is_empty());
    let other = same.replace("ledger.db", "mine.db").replace("policy.toml", "weak.toml");
    let loaded = read(&other);
    let told = trusted.compare(&loaded.repeated, &loaded.places);
    assert_eq!(codes(&told), ["trust-differs"; 2]);
    assert_eq!(&other[told[0].labels[0].span.clone()], "ledger");
}

#[test]
fn s7_1_a_pinned_policy_is_the_only_one_admitted() {
    let policy = rules(&organisation());
    let pinned = |digest: &str| {
        trust(&format!("format = 1\nledger = \"l\"\npolicy = {{ path = \"p\", digest = \"{digest}\" }}\n")).0.unwrap()
    };
    assert!(pinned(&policy.digest.to_string()).admit(&policy).is_ok());
    let other = pinned(&promo_core::Digest::of(b"other").to_string());
    assert_eq!(other.admit(&policy).unwrap_err().code, "trust-policy");
    let (none, told) = trust("format = 1\nledger = \"l\"\npolicy = { path = \"p\", digest = \"sha256:12\" }\n");
    assert!(none.is_none());
    assert_eq!(codes(&told), ["trust-digest"]);
}

#[test]
fn s0_1_a_trust_file_pins_a_checkpoint_of_the_ledger_and_every_wrong_value_of_it_is_told_at_its_place() {
    let file = |table: &str| format!("format = 1\nledger = \"l\"\npolicy = {{ path = \"p\" }}\n{table}");
    let root = promo_core::Digest::of(b"root");
    let (trusted, told) = trust(&file(&format!("[checkpoint]\norigin = \"o\"\nsize = 7\nroot = \"{root}\"\n")));
    assert!(told.is_empty(), "{told:?}");
    let expected = promo_core::plan::LedgerRef { origin: "o".into(), size: 7, root };
    assert_eq!(trusted.unwrap().checkpoint, Some(expected));
    assert_eq!(trust(&file("")).0.unwrap().checkpoint, None);

    for (table, told_at) in [
        (
            "checkpoint = { origin = \"\", size = 0, root = \"sha256:12\", at = 1 }",
            &[
                ("config-empty", "\"\""),
                ("config-wrong-value", "0"),
                ("trust-digest", "\"sha256:12\""),
                ("config-unknown-key", "at"),
            ][..],
        ),
        (
            "checkpoint = { origin = 1, size = \"7\", root = 2 }",
            &[("config-wrong-type", "1"), ("config-wrong-type", "\"7\""), ("config-wrong-type", "2")],
        ),
        (
            "checkpoint = { size = -1, root = \"\" }",
            &[
                ("config-missing-key", "{ size = -1, root = \"\" }"),
                ("config-wrong-value", "-1"),
                ("config-empty", "\"\""),
            ],
        ),
        (
            "checkpoint = { origin = \"o\", size = 99999999999999999999, root = \"x\" }",
            &[("config-wrong-value", "99999999999999999999"), ("trust-digest", "\"x\"")],
        ),
        ("checkpoint = \"sha256:12\"", &[("config-wrong-type", "\"sha256:12\"")]),
    ] {
        let text = file(table);
        let (none, told) = trust(&text);
        assert!(none.is_none(), "{table}");
        let told: Vec<(&str, &str)> = told.iter().map(|d| (d.code, &text[d.labels[0].span.clone()])).collect();
        assert_eq!(told, told_at, "{table}");
    }
}

#[test]
fn s0_2_a_target_claimed_at_a_higher_tier_is_refused_and_an_unknown_one_too() {
    for (app, expected) in [
        (
            SHOP.replace("cluster = \"staging\", namespace = \"shop\"", "cluster = \"prod-eu\", namespace = \"mine\""),
            "policy-tier-too-low",
        ),
        (SHOP.replace("cluster = \"staging\"", "cluster = \"unheard-of\""), "policy-unclaimed-target"),
        (
            SHOP.replace("prod-us\", namespace = \"shop\"", "prod-us\", namespace = \"other\""),
            "policy-unclaimed-target",
        ),
        (
            SHOP.replace("arrival = \"hold\"", "mirror = { \"registry.internal\" = \"registry.prod.internal/x\" }"),
            "policy-tier-too-low",
        ),
    ] {
        let (governed, told) = lay(&app, Some(&organisation()), TrustMode::Trusted);
        assert!(governed.is_none());
        assert_eq!(codes(&told), [expected], "{told:#?}");
        assert!(!told[0].labels.is_empty());
    }
    // A cluster that is one letter off is nobody's business but of whoever wrote it.
    for (misspelt, help) in [
        (
            "stagng",
            "did you mean the cluster `staging`? Else the owners of the policy add a claim for cluster=stagng namespace=shop",
        ),
        ("unheard-of", "the owners of the policy add a claim for it"),
    ] {
        let app = SHOP.replace("cluster = \"staging\"", &format!("cluster = \"{misspelt}\""));
        let (_, told) = lay(&app, Some(&organisation()), TrustMode::Trusted);
        assert_eq!(told[0].help.as_deref(), Some(help), "{told:#?}");
    }
    // A lower tier, a detour and a parent directory change nothing, in local mode neither.
    for directory in ["env/production/x", "env/dev/../production", "env"] {
        let app = local_app().replace("\"env/dev\"", &format!("\"{directory}\""));
        let policy = organisation().replace("providers = [\"helm\"]\n", "").replace("verify = [\"health\"]\n", "");
        let (_, told) = lay(&app, Some(&policy), TrustMode::Local);
        assert_eq!(codes(&told), ["policy-tier-too-low"], "{directory}: {told:#?}");
    }
}

#[test]
fn s0_2_no_spelling_of_a_mirror_evades_a_claim_in_local_mode_either() {
    let claims = "[[claims]]\nregistry = \"oci-layout:registry-production\"\ntier = \"production\"\n";
    let policy = organisation().replace("providers = [\"helm\"]\n", "").replace("verify = [\"health\"]\n", "") + claims;
    for place in [
        "oci-layout:registry-production",
        "oci-layout:./registry-production",
        "oci-layout:x/../registry-production/y",
        "oci-layout:env/production",
        "registry.prod.internal/x",
        "oci://registry.prod.internal/x",
        "Registry.Prod.internal/x",
        "registry.prod.internal:443/x",
    ] {
        let mirror =
            format!("target = {{ directory = \"env/dev\" }}\nmirror = {{ \"oci-layout:registry\" = \"{place}\" }}");
        let app = local_app().replace("target = { directory = \"env/dev\" }", &mirror);
        let (_, told) = lay(&app, Some(&policy), TrustMode::Local);
        assert_eq!(codes(&told), ["policy-tier-too-low"], "{place}: {told:#?}");
    }
    let app = local_app().replace("\"env/dev\"", "\"registry-production/shop\"");
    assert_eq!(
        codes(&lay(&app, Some(&policy), TrustMode::Local).1),
        ["policy-tier-too-low"],
        "a layout is a directory"
    );
}

#[test]
fn s0_3_each_floor_of_production_holds_whatever_the_files_say() {
    let policy = organisation()
        .replace("verify = [\"health\"]\n", "")
        .replace("providers = [\"helm\"]\n", "")
        .replace("[[tiers.production.approval]]\ncount = 1\nfrom = [\"lead\"]\nexclude = [\"applier\"]\n", "");
    let floor = |app: &str, policy: &str| -> Vec<&'static str> {
        lay(app, Some(policy), TrustMode::Local).1.iter().map(|d| d.code).collect()
    };
    let app = local_app();
    assert_eq!(floor(&app, &policy), Vec::<&str>::new());
    let approvals = "[[environments.production.approval]]\nfrom = [\"lead\"]\n";
    assert_eq!(floor(&app.replace(approvals, ""), &policy), ["floor-approval"]);
    assert_eq!(floor(&app.replace("windows = [\"hours\"]\n", ""), &policy), ["floor-window"]);
    assert_eq!(floor(&app.replace("effect = \"allow\"", "effect = \"deny\""), &policy), ["floor-window"]);
    assert_eq!(
        floor(&app.replace("weekly = {}", "weekly = {}\nenvironments = [\"dev\"]"), &policy),
        ["floor-window"],
        "an allow for another environment opens nothing here"
    );
    let chart_only = policy.replace("windows = [\"no-friday\"]", "windows = [\"no-friday\", \"charts\"]")
        + "[windows.charts]\neffect = \"allow\"\ntimezone = \"UTC\"\nweekly = {}\nartifacts = [\"chart\"]\n";
    assert_eq!(
        floor(&app.replace("windows = [\"hours\"]\n", ""), &chart_only),
        ["floor-window"],
        "an allow of policy for what the pipeline does not have binds nothing here"
    );
    let two = |artifacts: &str| {
        app.replace("[defaults]", "[artifacts.chart]\nchart = \"r.example/chart\"\n[defaults]")
            .replace("weekly = {}", &format!("weekly = {{}}\nartifacts = [{artifacts}]"))
    };
    assert_eq!(floor(&two("\"api\""), &policy), ["floor-window"], "the chart would move at any time");
    assert_eq!(floor(&two("\"api\", \"chart\""), &policy), Vec::<&str>::new());
    assert_eq!(floor(&app.replace("after = [\"staging\"]", "after = [\"dev\"]"), &policy), ["floor-staging"]);
    let staging = "target = { directory = \"env/staging\" }";
    for empty in ["deploy = \"none\"", "deploy = \"none\"\nverify = [\"smoke\"]"] {
        assert_eq!(floor(&app.replace(staging, empty), &policy), ["floor-staging"], "nothing is there to verify");
    }
    assert_eq!(
        floor(&app.replace("after = [\"staging\"]", "after = [\"staging\", \"dev\"]"), &policy),
        ["floor-staging"]
    );
    assert_eq!(floor(&app.replace("after = [\"staging\"]\n", ""), &policy), ["floor-staging"]);
    let always = policy
        .replace("windows = [\"no-friday\"]", "windows = \"always\"\nreason = \"the store is open day and night\"");
    let (always, told) = promo_core::policy::policy(&always);
    assert_eq!(codes(&told), ["policy-unused-window"]);
    let open = read(&app.replace("windows = [\"hours\"]\n", ""));
    let (governed, told) = govern(open.pipeline.as_ref().unwrap(), &open.places, always.as_ref(), TrustMode::Local);
    assert!(told.is_empty(), "{told:#?}");
    assert!(governed.unwrap().always_open["production"].contains("night"));

    // The type allows what the file does not: the floors are judged again.
    for empty in [(|staging| staging.verify.clear()) as fn(&mut promo_core::model::Environment), |staging| {
        staging.targets.clear();
    }] {
        let mut pipeline = read(&app).pipeline.unwrap();
        empty(pipeline.environments.get_mut("staging").unwrap());
        let (_, told) = govern(&pipeline, &config::Places::default(), Some(&rules(&policy)), TrustMode::Local);
        assert_eq!(codes(&told), ["floor-staging"]);
    }
    let mut pipeline = read(&app).pipeline.unwrap();
    let production = pipeline.environments.get_mut("production").unwrap();
    production.verify.clear();
    production.start = promo_core::model::Start::Auto;
    let (_, told) = govern(&pipeline, &config::Places::default(), Some(&rules(&policy)), TrustMode::Local);
    assert_eq!(codes(&told), ["floor-verification", "floor-start"]);
}

#[test]
fn r11_the_counterexample_is_a_shortest_way_around_staging() {
    let app = local_app().replace("after = [\"staging\"]", "after = [\"staging\", \"qa\"]")
        + "[environments.qa]\ntier = \"testing\"\nafter = [\"dev\"]\ntarget = { directory = \"env/qa\" }\n";
    let pipeline = read(&app).pipeline.unwrap();
    let paths = promo_core::graph::paths_into_production_without_staging(&pipeline);
    let shown: Vec<Vec<&str>> =
        paths.iter().map(|p| p.iter().map(promo_core::ids::EnvironmentName::as_str).collect()).collect();
    assert_eq!(shown, [["dev", "qa", "production"]]);
}

#[test]
fn r11_a_staging_node_that_deploys_nothing_is_named_in_the_counterexample() {
    let app = local_app().replace("target = { directory = \"env/staging\" }", "deploy = \"none\"");
    let (governed, told) = lay(&app, Some(&permissive()), TrustMode::Local);
    assert!(governed.is_none());
    assert_eq!(codes(&told), ["floor-staging"]);
    assert!(told[0].message.ends_with("dev -> staging -> production"), "{}", told[0].message);
    assert!(told[0].help.as_deref().unwrap().starts_with("`staging` is of tier staging, and counts only if"));
    // Beside one that proves something it may join and gate.
    let app = local_app().replace("after = [\"staging\"]", "after = [\"ready\"]")
        + "[environments.ready]\ntier = \"staging\"\nafter = [\"staging\"]\ndeploy = \"none\"\n";
    assert_eq!(codes(&lay(&app, Some(&permissive()), TrustMode::Local).1), Vec::<&str>::new());
}

#[test]
fn s7_2_checks_providers_and_roles_that_policy_demands_are_demanded() {
    let policy = organisation();
    let (_, told) = lay(&local_app(), Some(&policy), TrustMode::Local);
    assert_eq!(codes(&told), ["policy-provider", "policy-check-missing"]);
    let (_, told) = lay(&SHOP.replace("\"platform-lead\"", "\"platform-leda\""), Some(&policy), TrustMode::Trusted);
    assert_eq!(codes(&told), ["policy-unknown-role"]);
    assert_eq!(told[0].help.as_deref(), Some("did you mean `platform-lead`?"));
    let machine = SHOP.replace("[\"release-manager\", \"platform-lead\"]", "[\"machine\"]");
    let (_, told) = lay(&machine, Some(&policy), TrustMode::Trusted);
    assert_eq!(codes(&told), ["policy-unknown-role"], "a machine never approves (S6.4)");
}

#[test]
fn s7_2_a_gate_of_policy_about_an_artifact_that_is_not_there_is_refused_and_never_passed_over() {
    let gates = "[gates.bill]\nartifacts = [\"api\", \"web\"]\nsbom = \"required\"\n";
    let policy = format!("{}{gates}[tiers.development]\ngates = [\"bill\"]\n", permissive());
    let (governed, told) = lay(&local_app(), Some(&policy), TrustMode::Local);
    assert!(governed.is_none());
    let told: Vec<&Diagnostic> = told.iter().filter(|one| one.code == "policy-artifact-missing").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].is_error() && told[0].message.contains("the artifact `web`"), "{}", told[0].message);
    assert!(told[0].help.as_deref().unwrap().starts_with("this pipeline has `api`"), "{told:#?}");
}

#[test]
fn a_rule_that_asks_for_more_people_than_have_a_key_is_warned_of() {
    let app = local_app();
    let (governed, told) = lay(&app, Some(&permissive()), TrustMode::Local);
    assert!(told.is_empty() && governed.is_some(), "{told:#?}");
    let nobody = permissive().replace(&format!("keys = [\"{KEY}\"]"), "");
    for (app, policy, said) in [
        (app.clone(), nobody.clone(), "cannot be met: nobody who holds a role that it names has a key"),
        (app.replace("from = [\"lead\"]", "from = [\"lead\"]\ncount = 2"), permissive(), "no more than 1 of those"),
    ] {
        let (governed, told) = lay(&app, Some(&policy), TrustMode::Local);
        assert_eq!(codes(&told), ["policy-no-key"], "{told:#?}");
        assert!(told[0].message.contains(said) && !told[0].is_error() && governed.is_some(), "{told:#?}");
    }
}

#[test]
fn a_policy_file_is_judged_as_a_whole() {
    let other = KEY.replace("AAAAIP", "AAAAIQ");
    for (from, to, expected) in [
        ("version = 14", "version = 0", vec!["config-wrong-value"]),
        ("version = 14", "", vec!["config-missing-key"]),
        ("2027-01-31", "31.1.2027", vec!["policy-expires"]),
        ("tier = \"staging\"", "tier = \"stagign\"", vec!["config-wrong-value"]),
        ("cluster = \"staging\"\n", "", vec!["policy-claim"]),
        ("cluster = \"staging\"\n", "namespace = \"a\"\ndirectory = \"b\"\n", vec!["policy-claim"]),
        ("windows = [\"no-friday\"]", "windows = [\"no-firday\"]", vec!["config-unknown-name", "policy-unused-window"]),
        ("windows = [\"no-friday\"]", "windows = \"always\"", vec!["policy-always", "policy-unused-window"]),
        ("windows = [\"no-friday\"]", "windows = [\"no-friday\"]\nreason = \"a\"", vec!["policy-always"]),
        ("from = [\"lead\"]", "from = []", vec!["config-empty"]),
        ("from = [\"lead\"]", "from = [\"laed\"]", vec!["policy-unknown-role"]),
        ("from = [\"lead\"]", "from = [\"machine\"]", vec!["policy-unknown-role"]),
        ("roles = [\"machine\"]", &format!("roles = [\"machine\"]\nkeys = [\"{KEY}\"]"), vec!["policy-identity"]),
        ("roles = [\"machine\"]", &format!("roles = [\"machine\"]\nkeys = [\"{other}\"]"), vec![]),
        ("roles = [\"machine\"]", "roles = [\"machine\"]\nkeys = [\"ssh-dss AAAA\"]", vec!["policy-key"]),
        ("maria@example.org", "*@example.org", vec!["policy-identity"]),
        ("timezone = \"UTC\"", "timezone = \"CET\"", vec!["window-invalid"]),
        ("[tiers.production]", "[tiers.prodution]", vec!["config-unknown-key", "policy-unused-window"]),
    ] {
        let text = organisation().replacen(from, to, 1);
        let (read, told) = policy(&text);
        let mut found = codes(&told);
        found.sort_unstable();
        assert_eq!(found, expected, "{from} -> {to}: {told:#?}");
        assert_eq!(read.is_none(), told.iter().any(Diagnostic::is_error));
        for diagnostic in &told {
            assert!(diagnostic.labels.iter().all(|l| text.get(l.span.clone()).is_some()), "{diagnostic:?}");
        }
    }
}

#[test]
fn a_policy_counts_on_its_last_day_and_not_on_the_next() {
    let policy = rules(&organisation());
    assert!(!policy.expired("2027-01-31T23:59:59Z".parse().unwrap()));
    assert!(policy.expired("2027-02-01T00:00:00Z".parse().unwrap()));
}

/// Apps of up to five environments with tiers, predecessors, approvals and windows of their own.
fn apps() -> impl Strategy<Value = String> {
    let environment = (0usize..4, any::<u8>(), any::<bool>(), any::<bool>());
    prop::collection::vec(environment, 1..6).prop_map(|mut environments| {
        // Mostly as people write them, so that many pass: tiers go up, and each comes after at least the one before.
        environments.sort_by_key(|e| e.0);
        let mut text = local_app().split("[environments.dev]").next().unwrap().to_string();
        text.push_str("[windows.hours]\neffect = \"allow\"\ntimezone = \"UTC\"\nweekly = {}\n");
        text.push_str("[checks.health]\ncommand = { run = [\"true\"] }\n");
        for (i, (tier, before, approval, window)) in environments.iter().enumerate() {
            let before = if i > 0 && before % 4 < 3 { 1 << (i - 1) } else { *before };
            let after: Vec<String> = (0..i).filter(|j| before & (1 << j) != 0).map(|j| format!("\"e{j}\"")).collect();
            text.push_str(&format!(
                "[environments.e{i}]\ntier = \"{}\"\ntarget = {{ directory = \"free/e{i}\" }}\nverify = [\"smoke\", \"health\"]\n",
                Tier::ALL[*tier]
            ));
            if !after.is_empty() {
                text.push_str(&format!("after = [{}]\n", after.join(", ")));
            }
            if *window {
                text.push_str("windows = [\"hours\"]\n");
            }
            if *approval {
                text.push_str(&format!("[[environments.e{i}.approval]]\nfrom = [\"lead\"]\n"));
            }
        }
        text
    })
}

fn floors_hold(pipeline: &Pipeline, governed: &Governed) {
    for (name, environment) in pipeline.environments.iter().filter(|(_, e)| e.is_production()) {
        assert!(!governed.approval[name].is_empty() && !environment.verify.is_empty());
        let allow = governed.windows[name]
            .iter()
            .flat_map(|l| &l.windows)
            .any(|w| w.spec().effect == promo_core::windows::Effect::Allow);
        assert!(allow || governed.always_open.contains_key(name));
    }
    assert!(promo_core::graph::paths_into_production_without_staging(pipeline).is_empty());
}

proptest! {
    #[test]
    fn s7_2_the_composition_has_every_rule_of_policy_and_of_the_pipeline_and_every_floor(app in apps(), demanding in any::<bool>()) {
        let mut text = organisation().replace("providers = [\"helm\"]\n", "").replace("directory = \"env\"", "directory = \"free\"");
        if demanding {
            text.push_str("[tiers.testing]\nwindows = [\"no-friday\"]\n[[tiers.testing.approval]]\ncount = 3\nfrom = [\"lead\"]\n");
        }
        let policy = rules(&text);
        let loaded = read(&app);
        let pipeline = loaded.pipeline.as_ref().unwrap();
        let (governed, told) = govern(pipeline, &loaded.places, Some(&policy), TrustMode::Trusted);
        prop_assert_eq!(governed.is_none(), told.iter().any(Diagnostic::is_error));
        let Some(governed) = governed else { return Ok(()) };
        for (name, environment) in &pipeline.environments {
            let tier = policy.tiers.get(&environment.tier);
            let approval = &governed.approval[name];
            let demanded = tier.map(|t| t.approval.as_slice()).unwrap_or_default();
            prop_assert!(environment.approval.iter().chain(demanded).all(|rule| approval.contains(rule)));
            let windows: Vec<&str> = governed.windows[name].iter().flat_map(|l| &l.windows).map(promo_core::windows::Window::id).collect();
            let named = tier.map(|t| t.windows.as_slice()).unwrap_or_default();
            prop_assert!(environment.windows.iter().chain(named).all(|w| windows.contains(&w.as_str())));
        }
        floors_hold(pipeline, &governed);
    }
}
