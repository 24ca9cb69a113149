//! Policy laid over a pipeline: a meet, only ever tighter (S7.2), and the floors that hold whatever both say (S0.3).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Claim, Policy, TierRules, about};
use crate::approval::Identity;
use crate::config::{Places, words};
use crate::diagnostic::{Diagnostic, nearest};
use crate::graph::paths_into_production_without_staging;
use crate::ids::{ArtifactName, EnvironmentName, GateName, RoleName, WindowName};
use crate::model::{ApprovalRule, Artifact, Environment, Pipeline, Start, Tier};
use crate::plan::PolicyRef;
use crate::requirement::NamedGate;
use crate::windows::{Effect, Level, Window, WindowSpec};

/// The level of windows that policy declares.
const ORGANISATION: &str = "organisation";

/// Whether a trust file stands behind the run (S0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustMode {
    /// None: policy, if any, was named by whoever runs promo.
    Local,
    /// A trust file names ledger and policy.
    Trusted,
}

/// A pipeline under its policy: what every gate is decided from.
#[derive(Debug, Clone)]
pub struct Governed {
    /// The pipeline, as it was read.
    pub pipeline: Pipeline,
    /// By environment: the pipeline's rules and policy's, all of which must hold.
    pub approval: BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    /// By environment: the rules that say who lifts what stops promotions, and withdraws evidence (S10.4): policy's where it has any
    /// for the tier, so that no rule of the pipeline gives that away, else the pipeline's.
    pub lifting: BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    /// By environment: the windows of each level.
    pub windows: BTreeMap<EnvironmentName, Vec<Level>>,
    /// By environment: the gates over evidence, the pipeline's and policy's, each of which must be open; absent where there is none.
    pub gates: BTreeMap<EnvironmentName, Vec<NamedGate>>,
    /// By environment: why policy lets it go without an allow window.
    pub always_open: BTreeMap<EnvironmentName, String>,
    /// By environment: the repositories whose images may be deployed by a tag; absent where none may (R2).
    pub movable_images: BTreeMap<EnvironmentName, BTreeSet<String>>,
    /// By environment: the roles that may withdraw an automatic check's verdict; absent where nobody may (S3.1).
    pub withdraw: BTreeMap<EnvironmentName, BTreeSet<RoleName>>,
    /// Environments in which policy lets nobody try a way back.
    pub no_drills: BTreeSet<EnvironmentName>,
    /// Whether a release may be added by what its tags show (S0.5).
    pub first_observation: bool,
    /// The policy; none only in local mode.
    pub policy: Option<PolicyRef>,
    /// Whether this is local mode, which every screen and plan says.
    pub local: bool,
}

/// Lays `policy` over `pipeline`. The result is none as soon as one diagnostic is an error; `places` puts the
/// diagnostics at their places in the pipeline's text and may be empty.
///
/// In [`TrustMode::Trusted`] a policy is required and must know every target; in local mode it is optional as long as
/// there is no production tier, and production-tier environments with remote targets are refused (S0.1, S0.2).
#[must_use]
pub fn govern(
    pipeline: &Pipeline,
    places: &Places,
    policy: Option<&Policy>,
    mode: TrustMode,
) -> (Option<Governed>, Vec<Diagnostic>) {
    let mut out = Vec::new();
    let none = TierRules::default();
    let mut governed = Governed {
        pipeline: pipeline.clone(),
        approval: BTreeMap::new(),
        lifting: BTreeMap::new(),
        windows: BTreeMap::new(),
        gates: BTreeMap::new(),
        always_open: BTreeMap::new(),
        movable_images: BTreeMap::new(),
        withdraw: BTreeMap::new(),
        no_drills: BTreeSet::new(),
        first_observation: policy.is_none_or(|p| p.first_observation),
        policy: policy.map(Policy::reference),
        local: mode == TrustMode::Local,
    };
    if policy.is_none() && mode == TrustMode::Trusted {
        out.push(Diagnostic::new("policy-required", "the trust file names a policy, and none was given"));
    }
    let mut artifacts: Vec<Option<&str>> = pipeline.artifacts.keys().map(ArtifactName::as_str).map(Some).collect();
    if artifacts.is_empty() {
        artifacts.push(None);
    }
    for (name, environment) in &pipeline.environments {
        let rules = policy.and_then(|p| p.tiers.get(&environment.tier)).unwrap_or(&none);
        let one = One { name, environment, places, policy, mode };
        one.trust(&mut out);
        one.claims(&mut out);
        one.demands(rules, &mut out);
        one.artifacts(rules, &pipeline.artifacts, &mut out);

        let mut approval = environment.approval.clone();
        approval.extend(rules.approval.iter().filter(|rule| !environment.approval.contains(rule)).cloned());
        one.roles(&approval, &mut out);

        let organisation = policy.map(|p| (ORGANISATION, &rules.windows, &p.windows));
        let own = (name.as_str(), &environment.windows, &pipeline.windows);
        let levels: Vec<Level> = organisation
            .into_iter()
            .chain([own])
            .filter_map(|(level, names, all)| one.level(level, names, all))
            .collect();

        if environment.tier == Tier::Production {
            one.floors(&approval, &levels, rules, &artifacts, &mut out);
        }
        // One by one, never merged: what policy requires stays what it is, whatever the pipeline adds (S7.2).
        let of_policy = policy.map(|policy| (true, &rules.gates, &policy.gates));
        let all = of_policy.into_iter().chain([(false, &environment.gates, &pipeline.gates)]);
        let gates: Vec<NamedGate> = all
            .flat_map(|(policy, names, known)| {
                let gate = move |name: &GateName| {
                    known.get(name).map(|gate| NamedGate { name: name.clone(), policy, gate: gate.clone() })
                };
                names.iter().filter_map(gate)
            })
            .collect();
        if !gates.is_empty() {
            governed.gates.insert(name.clone(), gates);
        }
        let lifting = if rules.approval.is_empty() { &approval } else { &rules.approval };
        governed.lifting.insert(name.clone(), lifting.clone());
        governed.approval.insert(name.clone(), approval);
        governed.windows.insert(name.clone(), levels);
        if !rules.movable_images.is_empty() {
            governed.movable_images.insert(name.clone(), rules.movable_images.clone());
        }
        if !rules.withdraw.is_empty() {
            governed.withdraw.insert(name.clone(), rules.withdraw.clone());
        }
        if rules.no_drills {
            governed.no_drills.insert(name.clone());
        }
        if let Some(reason) = &rules.always_open {
            governed.always_open.insert(name.clone(), reason.clone());
        }
    }
    for path in paths_into_production_without_staging(pipeline) {
        let goal = path.last().expect("invariant: a path has an end");
        let shown: Vec<&str> = path.iter().map(EnvironmentName::as_str).collect();
        let message = format!("a release can reach `{goal}` without staging: {}", shown.join(" -> "));
        let at = format!("environments.{goal}.after");
        let tier = |name: &&EnvironmentName| pipeline.environments[*name].tier == Tier::Staging;
        let help = match path.iter().find(tier) {
            Some(empty) => format!(
                "`{empty}` is of tier staging, and counts only if it deploys to a target and `verify` names a check"
            ),
            None => "put a staging-tier environment that deploys and verifies on every path into production".into(),
        };
        out.push(about(places, &at, "floor-staging", message).help(help));
    }
    let governed = (!out.iter().any(Diagnostic::is_error)).then_some(governed);
    (governed, out)
}

/// One environment while it is judged.
struct One<'a> {
    name: &'a EnvironmentName,
    environment: &'a Environment,
    places: &'a Places,
    policy: Option<&'a Policy>,
    mode: TrustMode,
}

impl One<'_> {
    fn told(&self, key: &str, code: &'static str, message: String) -> Diagnostic {
        let path = if key.is_empty() {
            format!("environments.{}", self.name)
        } else {
            format!("environments.{}.{key}", self.name)
        };
        about(self.places, &path, code, message)
    }

    /// S0.1: production with remote targets needs a trust file, and production at all needs people that policy names.
    fn trust(&self, out: &mut Vec<Diagnostic>) {
        if self.environment.tier != Tier::Production || self.mode == TrustMode::Trusted {
            return;
        }
        for (target, place) in self.environment.targets.iter().filter(|(_, place)| !place.is_local()) {
            let message = format!(
                "without a trust file `{}` must not deploy to {}: it is production, and the place is not on this machine",
                self.name,
                place.address()
            );
            out.push(
                self.told(&self.target_key(target.as_str()), "trust-remote-production", message)
                    .help("name a trust file with `--trust` or PROMO_TRUST"),
            );
        }
        for to in self.environment.mirror.values().filter(|to| !to.starts_with("oci-layout:")) {
            let message = format!("without a trust file `{}` must not copy to {to}: it is production", self.name);
            out.push(
                self.told("mirror", "trust-remote-production", message)
                    .help("name a trust file with `--trust` or PROMO_TRUST"),
            );
        }
        if self.policy.is_none() {
            let message = format!("`{}` is production, and there is no policy to say who may approve", self.name);
            out.push(
                self.told("tier", "policy-missing", message)
                    .help("name one with `--policy FILE`: at least one person with a key and a role"),
            );
        }
    }

    fn target_key(&self, target: &str) -> String {
        let several = format!("targets.{target}");
        let path = format!("environments.{}.targets", self.name);
        match (self.places.get(&path), self.places.get(&format!("environments.{}", self.name))) {
            (Some(found), Some(whole)) if found != whole => several,
            _ => "target".to_string(),
        }
    }

    /// S0.2: what policy claims at a higher tier, or does not know at all.
    fn claims(&self, out: &mut Vec<Diagnostic>) {
        let Some(policy) = self.policy else { return };
        // Known is what a claim covers; the tier also counts claims inside what is touched, a parent directory for one.
        let mut touched = Vec::new();
        let clusters = || policy.claims.iter().filter_map(Claim::cluster);
        for (name, target) in &self.environment.targets {
            let known = policy.claims.iter().any(|c| c.covers(target));
            let tier = policy.claims.iter().filter(|c| c.touched_by(target)).map(|c| c.tier).max();
            // A cluster that policy names is not misspelt, whatever else is wrong.
            let cluster = target.0.get("cluster").filter(|given| !clusters().any(|known| known == given.as_str()));
            let meant = cluster.and_then(|given| nearest(given, clusters()));
            touched.push((self.target_key(name.as_str()), target.address(), known, tier, meant));
        }
        for to in self.environment.mirror.values() {
            let known = policy.claims.iter().any(|c| c.covers_repository(to));
            let tier = policy.claims.iter().filter(|c| c.touched_by_repository(to)).map(|c| c.tier).max();
            touched.push(("mirror".to_string(), to.clone(), known, tier, None));
        }
        for (key, place, known, tier, meant) in touched {
            match tier {
                Some(tier) if tier > self.environment.tier => {
                    let message = format!(
                        "policy claims {place} at tier {tier}, and `{}` is declared as {}",
                        self.name, self.environment.tier
                    );
                    out.push(
                        self.told(&key, "policy-tier-too-low", message)
                            .help(format!("declare `tier = \"{tier}\"`, or deploy elsewhere")),
                    );
                }
                _ if !known && self.mode == TrustMode::Trusted => {
                    let message = format!("policy does not know {place}, which `{}` touches", self.name);
                    let help = match meant {
                        Some(meant) => format!(
                            "did you mean the cluster `{meant}`? Else the owners of the policy add a claim for {place}"
                        ),
                        None => "the owners of the policy add a claim for it".into(),
                    };
                    out.push(self.told(&key, "policy-unclaimed-target", message).help(help));
                }
                _ => {}
            }
        }
    }

    /// What the tier demands or allows (S7.2).
    fn demands(&self, rules: &TierRules, out: &mut Vec<Diagnostic>) {
        if let (Some(allowed), Some(deploy)) = (&rules.providers, &self.environment.deploy)
            && !allowed.contains(&deploy.provider)
        {
            let message = format!(
                "policy does not let `{}` deploy at tier {}, as `{}` does",
                deploy.provider, self.environment.tier, self.name
            );
            out.push(
                self.told("deploy", "policy-provider", message)
                    .help(format!("allowed: {}", words(allowed.iter().map(String::as_str)))),
            );
        }
        for check in rules.verify.iter().filter(|c| !self.environment.verify.contains(c)) {
            let message = format!(
                "policy demands the check `{check}` at tier {}, and `{}` does not name it",
                self.environment.tier, self.name
            );
            out.push(
                self.told("verify", "policy-check-missing", message)
                    .help(format!("define `[checks.{check}]` and add it to `verify`")),
            );
        }
    }

    /// Gates of policy that name artifacts: one that the pipeline does not have could never be met, and one under another name would be
    /// passed over. A policy that many pipelines have names none, and then means every image.
    fn artifacts(&self, rules: &TierRules, known: &BTreeMap<ArtifactName, Artifact>, out: &mut Vec<Diagnostic>) {
        let Some(policy) = self.policy else { return };
        for (gate, stated) in rules.gates.iter().filter_map(|name| Some((name, policy.gates.get(name)?))) {
            for missing in stated.artifacts.iter().filter(|artifact| !known.contains_key(*artifact)) {
                let tier = self.environment.tier;
                let message = format!(
                    "policy's gate `{gate}` at tier {tier}, to which `{}` belongs, is about the artifact `{missing}`, and the pipeline has none of that name",
                    self.name
                );
                out.push(self.told("", "policy-artifact-missing", message).help(format!(
                    "this pipeline has {}: name the artifact as policy does, or let the owners of the policy leave `artifacts` out, which means every image",
                    words(known.keys().map(ArtifactName::as_str))
                )));
            }
        }
    }

    /// Roles that nobody holds: a rule that names only such can never be met. And rules that ask for more people than have a
    /// key: they cannot be met yet, which does not keep a pipeline from being read, and is to be known before somebody waits.
    fn roles(&self, approval: &[ApprovalRule], out: &mut Vec<Diagnostic>) {
        let Some(policy) = self.policy else { return };
        let held: Vec<&str> = policy
            .roster
            .identities()
            .filter(|identity| identity.human)
            .flat_map(|identity| identity.roles.iter().map(RoleName::as_str))
            .collect();
        for rule in approval {
            let missing = rule.from.iter().filter(|role| !held.contains(&role.as_str()));
            for role in missing {
                let message =
                    format!("no person in policy holds the role `{role}`, which approves for `{}`", self.name);
                let mut diagnostic = self.told("approval", "policy-unknown-role", message);
                // The label is the whole key, so the suggestion goes into words and not into a replacement.
                diagnostic.help =
                    nearest(role.as_str(), held.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                out.push(diagnostic);
            }
            let signs = |identity: &&Identity| identity.human && !identity.keys.is_empty();
            let could = |identity: &&Identity| !identity.roles.is_disjoint(&rule.from);
            let people = policy.roster.identities().filter(signs).filter(could).count();
            if people < rule.count as usize && rule.from.iter().all(|role| held.contains(&role.as_str())) {
                let roles = words(rule.from.iter().map(RoleName::as_str));
                let who = match people {
                    0 => "nobody who holds a role that it names has a key".to_string(),
                    _ => format!("no more than {people} of those who hold a role that it names have a key"),
                };
                let message = format!("an approval rule for `{}` cannot be met: {who}", self.name);
                out.push(self.told("approval", "policy-no-key", message).warning().help(format!(
                    "it asks for {} of {roles}: put the line of each one's `.pub` file into `keys` of their `[identities]` in the policy",
                    rule.count
                )));
            }
        }
    }

    fn level(&self, name: &str, names: &[WindowName], all: &BTreeMap<WindowName, WindowSpec>) -> Option<Level> {
        let windows: Vec<Window> =
            names.iter().filter_map(|name| Window::new(name.as_str(), all.get(name)?.clone()).ok()).collect();
        (!windows.is_empty()).then(|| Level { name: name.to_string(), windows })
    }

    /// S0.3, whatever policy and pipeline say. The staging floor is judged over the whole graph.
    fn floors(
        &self,
        approval: &[ApprovalRule],
        levels: &[Level],
        rules: &TierRules,
        artifacts: &[Option<&str>],
        out: &mut Vec<Diagnostic>,
    ) {
        let name = self.name;
        if approval.is_empty() {
            let message = format!("nobody approves promotions into `{name}`, which is production");
            let help = format!("add `[[environments.{name}.approval]]`, or a rule to `tiers.production` of the policy");
            out.push(self.told("", "floor-approval", message).help(help));
        }
        if self.environment.verify.is_empty() {
            let message = format!("nothing verifies `{name}`, which is production");
            out.push(self.told("", "floor-verification", message).help("name at least one check in `verify`"));
        }
        // An artifact that no allow window is about moves at any time, whatever the windows of the others say.
        let free = artifacts.iter().find(|artifact| {
            let about = |w: &Window| w.spec().effect == Effect::Allow && w.is_about(name.as_str(), **artifact);
            !levels.iter().flat_map(|l| &l.windows).any(about)
        });
        if let (None, Some(artifact)) = (&rules.always_open, free) {
            let what = artifact.map_or_else(|| "promotions".into(), |artifact| format!("promotions of `{artifact}`"));
            let message = format!("no allow window says when {what} into `{name}`, which is production, may start");
            out.push(
                self.told("windows", "floor-window", message)
                    .help("name an allow window in `windows`; or policy says `windows = \"always\"` with a reason"),
            );
        }
        if self.environment.start == Start::Auto {
            let message = format!("`{name}` is production and must not start by itself");
            out.push(self.told("start", "floor-start", message).help("write `start = \"manual\"`"));
        }
    }
}
