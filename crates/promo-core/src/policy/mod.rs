//! The platform's policy: who is who, what may be touched, and what holds at each tier (S6.3, S7). What lives here:
//! the policy file read with every diagnostic at once, and [`govern`], which lays it over a pipeline. What must not:
//! fetching or pinning (the caller has a trust file for that), and decisions about single promotions.

mod claim;
mod govern;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::Digest;
use crate::approval::{Identity, PublicKey, Roster, RosterError};
use crate::config::{
    self, Checker, Entry, Limits, Node, Parsed, Places, START, Table, approval_rules, candidates, gates, keys, names,
    references, tier, window,
};
use crate::diagnostic::Diagnostic;
use crate::ids::{CheckName, GateName, IdentityName, RoleName, WindowName};
use crate::model::{ApprovalRule, Tier};
use crate::plan::PolicyRef;
use crate::requirement::EvidenceGate;
use crate::windows::WindowSpec;

pub use claim::{Claim, Place};
pub use govern::{Governed, TrustMode, govern};

/// A policy that has been read.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its version; a ledger that has seen a higher one refuses it.
    pub version: u64,
    /// Digest of the bytes of its file.
    pub digest: Digest,
    /// The last date, in UTC, on which it counts.
    pub expires: Option<Date>,
    /// Who is who.
    pub roster: Roster,
    /// What can be touched, and from which tier on.
    pub claims: Vec<Claim>,
    /// What holds at each tier; tiers without rules are absent.
    pub tiers: BTreeMap<Tier, TierRules>,
    /// The windows that tiers name.
    pub windows: BTreeMap<WindowName, WindowSpec>,
    /// The gates over evidence that tiers name.
    pub gates: BTreeMap<GateName, EvidenceGate>,
    /// Whether what a tag shows when a release is added stands in for the digest that the build reported (S0.5).
    pub first_observation: bool,
    /// What a pipeline file may grow to: the defaults, or what policy raised them to (S13.2).
    pub limits: Limits,
}

/// What policy adds at a tier. It can only ever add (S7.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TierRules {
    /// Approval rules that hold together with the environment's own.
    pub approval: Vec<ApprovalRule>,
    /// Windows of the policy that apply.
    pub windows: Vec<WindowName>,
    /// Why the tier needs no allow window (S0.3).
    pub always_open: Option<String>,
    /// Checks that each environment of the tier must name.
    pub verify: BTreeSet<CheckName>,
    /// Gates of the policy that a release must pass to enter.
    pub gates: Vec<GateName>,
    /// The only providers that may deploy; any when there is none.
    pub providers: Option<BTreeSet<String>>,
    /// Repositories, each with everything under it, whose images may be deployed by a tag (R2).
    pub movable_images: BTreeSet<String>,
    /// The roles that may withdraw the verdict of an automatic check (S3.1); nobody may when there is none.
    pub withdraw: BTreeSet<RoleName>,
    /// Whether nobody may try a way back there; production is no tier for that anyway.
    pub no_drills: bool,
}

impl Policy {
    /// How plans and records name it.
    #[must_use]
    pub fn reference(&self) -> PolicyRef {
        PolicyRef { name: self.name.clone(), version: self.version, digest: self.digest }
    }

    /// Whether it no longer counts at `now`: the day after `expires` has begun in UTC.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|last| now.to_zoned(TimeZone::UTC).date() > last)
    }
}

/// Reads a policy file: the policy if it has no error, and every diagnostic in the order of the text.
#[must_use]
pub fn policy(text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    let Parsed { root, diagnostics: syntax } = config::parse(text, &Limits::default());
    let Some(root) = root else { return (None, syntax) };
    let mut checker = Checker::new(&[]);
    checker.table(&root, &START, keys::POLICY_FILE);
    let policy = lower(text, &root, &mut checker);
    let diagnostics = config::settle(text, syntax, checker.out);
    (policy.filter(|_| !diagnostics.iter().any(Diagnostic::is_error)), diagnostics)
}

fn entries<'t>(root: &'t Table, section: &str) -> &'t [Entry] {
    root.table(section).map(|t| t.entries.as_slice()).unwrap_or_default()
}

fn lower(text: &str, root: &Table, checker: &mut Checker<'_>) -> Option<Policy> {
    let roster = roster(root, checker);
    let claims =
        root.list("claims").iter().filter_map(|node| Claim::read(node.table()?, &node.span, checker)).collect();
    let mut windows = BTreeMap::new();
    for entry in entries(root, "windows") {
        if let (Some(spec), Ok(name)) = (window(entry, checker), entry.key.parse::<WindowName>()) {
            windows.insert(name, spec);
        }
    }
    let known: Vec<&str> = entries(root, "windows").iter().map(|e| e.key.as_str()).collect();
    let gates = gates(root, None, checker);
    let gate_names: Vec<&str> = entries(root, "gates").iter().map(|e| e.key.as_str()).collect();
    let roles = roles(root);
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut tiers = BTreeMap::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for entry in entries(root, "tiers") {
        let (Some(tier), Some(table)) = (tier(&entry.key), entry.node.table()) else { continue };
        references(checker, &table.texts("windows"), &known, "window");
        references(checker, &table.texts("gates"), &gate_names, "gate");
        named.extend(table.texts("gates").into_iter().map(|(name, _)| name.to_string()));
        used.extend(table.texts("windows").into_iter().map(|(name, _)| name.to_string()));
        let asked = table.list("approval").iter().filter_map(Node::table).flat_map(|rule| rule.texts("from"));
        for (role, span) in asked.chain(table.texts("withdraw")).filter(|(role, _)| !roles.contains(role)) {
            let Some(held) = candidates(role, &roles) else { continue };
            let message = format!("no person holds the role `{role}`");
            checker.push(Diagnostic::at("policy-unknown-role", span, message).nearest(role, held));
        }
        tiers.insert(tier, rules(entry, table, checker));
    }
    for entry in entries(root, "windows").iter().filter(|e| !used.contains(&e.key)) {
        let message = format!("no tier names the window `{}`, so it binds nothing", entry.key);
        checker.push(
            Diagnostic::at("policy-unused-window", entry.key_span.clone(), message)
                .help("name it in `windows` of a tier")
                .warning(),
        );
    }
    config::unused_gates(root, &named, "tier", checker);
    let about = root.table("policy")?;
    let expires = match about.get("expires") {
        None => None,
        Some(node) => Some(last_date(node, checker)?),
    };
    Some(Policy {
        name: about.text("name")?.to_string(),
        version: about.get("version").and_then(Node::integer).and_then(|n| u64::try_from(n).ok())?,
        digest: Digest::of(text.as_bytes()),
        expires,
        roster: roster?,
        claims,
        tiers,
        windows,
        gates,
        first_observation: !matches!(
            root.table("releases").and_then(|t| t.get("first_observation")).map(|n| &n.data),
            Some(config::Data::Flag(false))
        ),
        limits: limits(root),
    })
}

/// The default limits of a pipeline file, as far as policy does not raise them.
fn limits(root: &Table) -> Limits {
    let defaults = Limits::default();
    let raised = |key: &str, default: usize| {
        let stated = root.table("limits").and_then(|t| t.get(key)).and_then(Node::integer);
        stated.and_then(|n| usize::try_from(n).ok()).map_or(default, |n| n.max(default))
    };
    let environments = raised("environments", defaults.environments);
    Limits { environments, bytes: raised("bytes", defaults.bytes), ..defaults }
}

fn last_date(node: &Node, checker: &mut Checker<'_>) -> Option<Date> {
    config::date(node)?
        .map_err(|written| {
            let message = format!("`{written}` is not a date: expected `YYYY-MM-DD`");
            checker.push(Diagnostic::at("policy-expires", node.span.clone(), message));
        })
        .ok()
}

/// The roles that people hold; machines never approve (S6.4).
fn roles(root: &Table) -> Vec<&str> {
    entries(root, "identities")
        .iter()
        .filter_map(|e| e.node.table())
        .filter(|t| !matches!(t.get("human").map(|n| &n.data), Some(config::Data::Flag(false))))
        .flat_map(|t| t.texts("roles"))
        .map(|(role, _)| role)
        .collect()
}

fn roster(root: &Table, checker: &mut Checker<'_>) -> Option<Roster> {
    let mut identities: Vec<Identity> = Vec::new();
    let mut declared = BTreeSet::new();
    let mut spans = BTreeMap::new();
    for entry in entries(root, "identities") {
        let (Some(table), Ok(name)) = (entry.node.table(), entry.key.parse::<IdentityName>()) else { continue };
        let mut public = Vec::new();
        for (text, span) in table.texts("keys") {
            match text.parse::<PublicKey>() {
                Ok(key) => public.push(key),
                Err(error) => {
                    let diagnostic = Diagnostic::at("policy-key", span, format!("`{name}`: {error}"));
                    checker.push(diagnostic.help("paste the line of a `.pub` file, such as `ssh-ed25519 AAAA…`"));
                }
            }
        }
        let roles: BTreeSet<_> = names(table, "roles").into_iter().collect();
        declared.extend(roles.iter().cloned());
        let human = !matches!(table.get("human").map(|n| &n.data), Some(config::Data::Flag(false)));
        let emails = table.texts("emails").into_iter().map(|(email, _)| email.to_string()).collect();
        spans.insert(name.clone(), entry.key_span.clone());
        identities.push(Identity { name, roles, keys: public, human, emails });
    }
    let errors = match Roster::new(identities, &declared) {
        Ok(roster) => return Some(roster),
        Err(errors) => errors,
    };
    for error in errors {
        let (name, other) = match &error {
            RosterError::KeyInTwoIdentities { first, second, .. }
            | RosterError::EmailInTwoIdentities { first, second, .. } => (second, Some(first)),
            RosterError::NameTwice(identity)
            | RosterError::KeyTwice { identity, .. }
            | RosterError::Glob { identity, .. }
            | RosterError::Email { identity, .. }
            | RosterError::UnknownRole { identity, .. } => (identity, None),
        };
        let mut diagnostic = Diagnostic::new("policy-identity", error.to_string());
        for (name, words) in [(Some(name), "this one"), (other, "and this one")] {
            if let Some(span) = name.and_then(|name| spans.get(name)) {
                diagnostic = diagnostic.label(span.clone(), if other.is_some() { words } else { "" });
            }
        }
        checker.push(diagnostic);
    }
    None
}

fn rules(entry: &Entry, table: &Table, checker: &mut Checker<'_>) -> TierRules {
    let always = table.text("windows") == Some("always");
    let reason = table.text("reason").filter(|r| !r.is_empty());
    if always != reason.is_some() {
        let (place, message) = if always {
            ("windows", "`windows = \"always\"` needs a `reason`")
        } else {
            ("reason", "`reason` says why no window is needed, and stands beside `windows = \"always\"` only")
        };
        let span = table.entry(place).map_or_else(|| entry.key_span.clone(), |e| e.key_span.clone());
        checker.push(Diagnostic::at("policy-always", span, message));
    }
    TierRules {
        approval: approval_rules(table),
        windows: names(table, "windows"),
        always_open: reason.filter(|_| always).map(String::from),
        verify: names(table, "verify").into_iter().collect(),
        gates: names(table, "gates"),
        providers: table
            .get("providers")
            .map(|node| node.texts().into_iter().map(|(text, _)| text.to_string()).collect()),
        movable_images: table.texts("movable_images").into_iter().map(|(text, _)| text.to_string()).collect(),
        withdraw: names(table, "withdraw").into_iter().collect(),
        no_drills: matches!(table.get("drills").map(|node| &node.data), Some(config::Data::Flag(false))),
    }
}

/// A diagnostic about a part of the pipeline, at its place when there is one.
fn about(places: &Places, path: &str, code: &'static str, message: String) -> Diagnostic {
    let diagnostic = Diagnostic::new(code, message);
    match places.get(path) {
        Some(span) => diagnostic.label(span, ""),
        None => diagnostic,
    }
}
