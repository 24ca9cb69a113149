//! The keys of every file as data: names, shapes and one line each. The checker below, the JSON Schema and the
//! reference are made from these tables, so they cannot drift apart. What must not live here: what a key does to
//! another (the lowering decides that).

use crate::kinds::Place;

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
    pub(crate) about: &'static str,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// The number of the format, which is 1.
    Format,
    /// A text that is not empty.
    Text,
    /// A text that is a name.
    Name,
    /// A whole number in a range, both ends included.
    Number(i64, i64),
    /// `true` or `false`.
    Flag,
    /// A duration.
    Duration,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A list of different names, not empty.
    Names,
    /// A list of different words out of some, not empty.
    Words(&'static [&'static str]),
    /// A list of texts, not empty.
    Texts,
    /// A local date, time or both, as a text or as TOML's own kind.
    Civil,
    /// A list of those.
    Civils,
    /// A number from 1 to 5, or `last`.
    Nth,
    /// A table with known keys.
    Table(&'static [Key]),
    /// A table of names, each with a table of known keys.
    Named(&'static [Key]),
    /// A list of tables with known keys.
    Tables(&'static [Key]),
    /// A table of texts.
    TextTable,
    /// A table of names, each with a table of texts.
    NamedTextTables,
    /// A table of kinds, each with the settings that its provider takes.
    Kinds(Place),
    /// A table of names, each with exactly one kind and its settings.
    NamedKinds(Place),
    /// A list of names, or the form with `at_least`.
    After,
    /// A table of names, each a duration or a table.
    Soaks,
    /// A duration or a table.
    Watch,
    /// A list of names, or the word `always`.
    NamesOrAlways,
    /// A decimal number as a text.
    Decimal,
    /// The word `required`, or a table with known keys.
    RequiredOr(&'static [Key]),
    /// A list of texts, not empty, or a table with known keys.
    TextsOr(&'static [Key]),
    /// A key of a later version.
    Later,
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, required: false, shape, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, required: true, shape, about }
}

pub(crate) const TIERS: &[&str] = &["development", "testing", "staging", "production"];

/// `promo.toml`
pub(crate) const PIPELINE_FILE: &[Key] = &[
    required("format", Shape::Format, "the format of this file, which is 1"),
    required("pipeline", Shape::Table(PIPELINE), "what the pipeline is called"),
    required("artifacts", Shape::Named(ARTIFACT), "what a release is made of, by component"),
    key("defaults", Shape::Table(DEFAULTS), "what every environment starts from"),
    key("checks", Shape::NamedKinds(Place::Check), "what environments name in `verify`"),
    key("windows", Shape::Named(WINDOW), "windows and freezes that environments name in `windows`"),
    required("environments", Shape::Named(ENVIRONMENT), "the nodes of the graph"),
    key(
        "gates",
        Shape::Named(GATE),
        "what is required of the evidence for a release, which environments name in `gates`",
    ),
    key("exceptions", Shape::Tables(EXCEPTION), "vulnerabilities that this file's gates let pass for a time"),
    key("signers", Shape::Named(SIGNER), "whose signatures this file's gates take"),
    key("trusted_roots", Shape::Named(TRUSTED_ROOT), "whose certificates and logs `identity` of `signers` takes"),
    key("sources", Shape::Named(SOURCE), "where metrics come from, which checks name in `source`"),
];

const SOURCE: &[Key] = &[required(
    "prometheus",
    Shape::Text,
    "the address of a server with the HTTP API of Prometheus, `https://…`; credentials come from the machine",
)];

const PIPELINE: &[Key] = &[
    required("name", Shape::Name, "its name, unique within a ledger"),
    key(
        "quiet",
        Shape::Duration,
        "how long nothing newer may have come before `promo release add --newest` makes a release; 10 minutes where there are several \
         artifacts, and nothing where there is one",
    ),
    key("ledger", Shape::Text, "repeats the ledger of the trust file; another one is refused (S0.1)"),
    key("policy", Shape::Text, "repeats the policy of the trust file; another one is refused (S0.1)"),
];

const ARTIFACT: &[Key] = &[
    key("image", Shape::Text, "a container image: `registry/repository` or `oci-layout:PATH`, without tag and digest"),
    key("chart", Shape::Text, "a Helm chart in an OCI registry: `oci://registry/repository`, without tag and digest"),
    key(
        "tags",
        Shape::Text,
        "which tags may become releases, as a glob such as `sha-*`; none lets only digests and exact tags in",
    ),
    key(
        "newest",
        Shape::OneOf(&["version", "created"]),
        "how `promo release add --newest` tells which of these tags is the newest: by the version that it names (the default), or by when \
         what it points at was created",
    ),
];

const START: Shape = Shape::OneOf(&["auto", "manual"]);
const ARRIVAL: Shape = Shape::OneOf(&["hold", "replace"]);
const ON_FAILURE: Shape = Shape::OneOf(&["rollback", "hold"]);
const ON_CLOSE: Shape = Shape::OneOf(&["finish", "stop-at-wave"]);

const DEFAULTS: &[Key] = &[
    key("start", START, "as in an environment"),
    key("arrival", ARRIVAL, "as in an environment"),
    key(
        "deploy",
        Shape::Kinds(Place::Deploy),
        "settings by kind; an environment that names a kind starts from that kind's",
    ),
    key("mirror", Shape::TextTable, "as in an environment; merged key by key"),
    key("verify", Shape::Names, "as in an environment; replaced as a whole"),
    key("approval", Shape::Tables(APPROVAL), "as in an environment; replaced as a whole"),
    key("windows", Shape::Names, "as in an environment; replaced as a whole"),
    key("on_failure", ON_FAILURE, "as in an environment"),
    key("on_close", ON_CLOSE, "as in an environment"),
    key("gates", Shape::Names, "as in an environment; replaced as a whole"),
    key("watch", Shape::Watch, "as in an environment; replaced as a whole"),
];

pub(crate) const ENVIRONMENT: &[Key] = &[
    required("tier", Shape::OneOf(TIERS), "how much it matters; policy attaches its floors to tiers (S0.3)"),
    key("after", Shape::After, "which environments must have verified a release first; a root has none (S3.4)"),
    key("start", START, "`auto`: `promo advance` promotes by itself; `manual`, the default: a person does"),
    key(
        "arrival",
        ARRIVAL,
        "what a newer release does to one that soaks here: `hold`, the default, or `replace` (S4.3)",
    ),
    key("soak", Shape::Soaks, "how long a release must have lived in a predecessor (S4)"),
    key("target", Shape::TextTable, "the one place it deploys to, in the words of its provider"),
    key("targets", Shape::NamedTextTables, "the places it deploys to, by name"),
    key(
        "deploy",
        Shape::Kinds(Place::Deploy),
        "how it is deployed: one kind and its settings; the word `none` for a node that deploys nothing",
    ),
    key("mirror", Shape::TextTable, "artifacts are copied first: repository prefix to repository prefix"),
    key("verify", Shape::Names, "checks that must pass here after a deployment"),
    key("approval", Shape::Tables(APPROVAL), "approval rules, all of which must hold (S6.4)"),
    key("windows", Shape::Names, "windows and freezes that apply here"),
    key("on_failure", ON_FAILURE, "`rollback`, the default, or `hold` (S9.6)"),
    key("waves", Shape::Tables(WAVE), "which of `targets` are deployed before which (R10)"),
    key(
        "on_close",
        ON_CLOSE,
        "what a window that closes between two waves does: `finish`, the default, or `stop-at-wave` (S5.5)",
    ),
    key("gates", Shape::Names, "gates over evidence that a release must pass to enter here"),
    key("watch", Shape::Watch, "how long its automatic checks are asked again after they have passed"),
    key(
        "attest",
        Shape::Table(ATTEST),
        "who signs what is written beside the artifacts that `mirror` copies, once a promotion was verified",
    ),
    key("hotfix", Shape::Later, "a second path for urgent fixes"),
];

const ATTEST: &[Key] = &[
    required("by", Shape::Text, "who says it, as a URI: `https://ci.example/promo`"),
    required(
        "key",
        Shape::Name,
        "the secret with the private key: `release` is `PROMO_SECRET_RELEASE`, a key in PEM (PKCS#8) or its path",
    ),
];

const WAVE: &[Key] = &[
    required("targets", Shape::Names, "which of the environment's targets, in the order in which they begin"),
    key("at_once", Shape::Number(1, 1_000), "how many of them are under way at once; 1 when left out"),
    key("pause", Shape::Duration, "how long the next wave waits once this one is done"),
];

pub(crate) const AFTER: &[Key] = &[
    required("at_least", Shape::Number(0, 1_000_000), "how many of `of`"),
    required("of", Shape::Names, "which environments count"),
    key("always", Shape::Names, "which of them must be among those"),
];

pub(crate) const SOAK: &[Key] = &[
    required("duration", Shape::Duration, "how long"),
    key(
        "mode",
        Shape::OneOf(&["reset", "accumulate"]),
        "`reset`, the default: one unbroken residence; `accumulate`: residences add up (S4.1)",
    ),
    key("unhealthy", Shape::OneOf(&["reset", "pause"]), "what recorded bad health does; `reset` is the default (S4.1)"),
];

pub(crate) const WATCH: &[Key] = &[
    required("for", Shape::Duration, "how long"),
    key("every", Shape::Duration, "time from one round of checks to the next; 1 minute when left out"),
];

pub(crate) const APPROVAL: &[Key] = &[
    key("count", Shape::Number(1, 100), "how many people; 1 when left out"),
    required("from", Shape::Names, "roles of which each of them holds one"),
    key("exclude", Shape::Words(&["initiator", "author", "builder", "applier"]), "who may not be among them (R22)"),
];

/// The settings of the check that a person gives a verdict on.
pub(crate) const MANUAL: &[Key] = &[required("from", Shape::Names, "roles of which one must be held (S6.10)")];

const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

pub(crate) const WINDOW: &[Key] = &[
    required("effect", Shape::OneOf(&["allow", "deny"]), "`allow`: open only inside; `deny`: a freeze"),
    required("timezone", Shape::Text, "IANA name of the zone, or `UTC`"),
    key("weekly", Shape::Table(WEEKLY), "days of the week"),
    key("monthly", Shape::Table(MONTHLY), "a day of each month"),
    key("yearly", Shape::Table(YEARLY), "days of each year"),
    key("once", Shape::Table(ONCE), "one stretch of local time"),
    key("valid", Shape::Table(VALID), "dates on which an occurrence may start"),
    key("except", Shape::Civils, "dates on which none starts"),
    key("environments", Shape::Names, "which environments it is about; all when left out"),
    key("artifacts", Shape::Names, "which artifacts it is about; all when left out"),
    key(
        "actions",
        Shape::Words(&["promote", "resume", "rollback", "hotfix"]),
        "what it binds; promote and resume when left out (S5.4)",
    ),
    key("invokers", Shape::Words(&["human", "automation"]), "whom it binds; both when left out"),
    key("severity", Shape::OneOf(&["soft", "hard"]), "of a deny: one or two people override it; `hard` when left out"),
    key("reason", Shape::Text, "why it is there"),
    key("owner", Shape::Text, "whom to ask"),
];

const TIME: Shape = Shape::Civil;

const WEEKLY: &[Key] = &[
    key("days", Shape::Words(DAYS), "days on which it starts; every day when left out"),
    key("start", TIME, "first minute, `HH:MM`"),
    key("end", TIME, "first minute after it, `HH:MM` or `24:00`"),
];

const MONTHLY: &[Key] = &[
    key("day", Shape::Number(1, 31), "day of the month"),
    key("nth", Shape::Nth, "with `weekday`: which one of them"),
    key("weekday", Shape::OneOf(DAYS), "with `nth`"),
    key("start", TIME, "first minute, `HH:MM`"),
    key("end", TIME, "first minute after it, `HH:MM` or `24:00`"),
];

const YEARLY: &[Key] = &[
    required("from", Shape::Civil, "first day, `MM-DD`"),
    required("until", Shape::Civil, "last day, `MM-DD`, included"),
    key("start", TIME, "first minute of the first day, `HH:MM`"),
    key("end", TIME, "first minute of the last day after it, `HH:MM` or `24:00`"),
];

const ONCE: &[Key] = &[
    required("start", Shape::Civil, "first minute, `YYYY-MM-DDTHH:MM`"),
    required("end", Shape::Civil, "first minute after it"),
];

const VALID: &[Key] = &[
    key("from", Shape::Civil, "first date, `YYYY-MM-DD`, included"),
    key("until", Shape::Civil, "last date, included"),
];

const LEVELS: &[&str] = &["negligible", "low", "medium", "high", "critical"];
const SCOPE: Key = key(
    "scope",
    Shape::OneOf(&["index", "each-platform", "any"]),
    "of what evidence must speak: of `each-platform` of an image, the default, of the `index`, or of `any`",
);
const BY: Key =
    key("by", Shape::Names, "by one of whom of `signers` a document must be signed to count; all count when left out");
const SUITES: Key = key("suites", Shape::Names, "the names under which it was brought, all of them; any when left out");

/// A gate over evidence, which has one key of what it requires.
const GATE: &[Key] = &[
    key(
        "artifacts",
        Shape::Names,
        "of which artifacts it is; of every image when left out, of all where there is none",
    ),
    key(
        "kinds",
        Shape::Words(&["image", "chart", "other"]),
        "of everything of which kinds it is, instead of `artifacts`; of nothing where a release has none of them",
    ),
    key("scan", Shape::Table(SCAN), "what scanners may have found"),
    key("licences", Shape::Table(LICENCES), "which licences components may have"),
    key("sbom", Shape::RequiredOr(SBOM), "that there is a bill of materials"),
    key("tests", Shape::Table(TESTS), "how tests ended; none may have failed when nothing is said"),
    key("coverage", Shape::Table(COVERAGE), "how much of the code tests reached"),
    key("number", Shape::Table(NUMBER), "what a measured number is, by itself and beside the release that runs"),
    key("metadata", Shape::TextsOr(METADATA), "keys that the build must have said something for"),
    key("signature", Shape::Table(SIGNATURE), "who must have signed the artifact"),
    key("provenance", Shape::Table(PROVENANCE), "who must have built it, and from what (SLSA)"),
    key(
        "source",
        Shape::Table(COMMIT),
        "in which repository its commit must be, and from which branches or tags reachable",
    ),
];

/// What a build has to have said, in full.
const METADATA: &[Key] = &[
    key("keys", Shape::Texts, "keys that the build must have said something for; `run-id` is any of `run_ids`"),
    key(
        "run_ids",
        Shape::Texts,
        "under which keys a build says of which run of a pipeline it is, one of which it must have said; `io.promo.run-id`, `ci.run-id` and `com.github.actions.run_id` when left out",
    ),
    key("signed", Shape::Flag, "whether provenance that one of `by` has signed must say it; `false` when left out"),
    key(
        "by",
        Shape::Names,
        "whose signed provenance counts, of `signers`; all provenance does when left out, and is as good as a label",
    ),
];

const COMMIT: &[Key] = &[
    required(
        "repository",
        Shape::Text,
        "the repository of git: `https://…`, `ssh://…`, `file:///…` or an absolute path, without credentials",
    ),
    required(
        "refs",
        Shape::Texts,
        "the branches and tags from one of which it must be reachable, by their whole names with at most one `*`: `refs/heads/main`, `refs/tags/v*`",
    ),
    key(
        "by",
        Shape::Names,
        "by one of whom of `signers` provenance must be signed to count for the commit; all counts when left out",
    ),
];

const SIGNATURE: &[Key] = &[
    required("by", Shape::Names, "whose signatures count, of `signers`"),
    key("at_least", Shape::Number(1, 100), "how many of them must have signed; 1 when left out"),
    key(
        "repository",
        Shape::Flag,
        "whether what was signed must name a repository in which the artifact lies; `false` when left out",
    ),
    key(
        "scope",
        Shape::OneOf(&["index", "each-platform", "any"]),
        "what they must have signed: the `index`, the default, `each-platform` of it, or `any` of these",
    ),
];

const PROVENANCE: &[Key] = &[
    required("by", Shape::Names, "whose word counts, of `signers`"),
    key("builders", Shape::Texts, "ids of builders that may have built it, `*` stands for anything; any when left out"),
    key(
        "sources",
        Shape::Texts,
        "repositories that it may be built from, `https://…`, `*` stands for anything; any when left out",
    ),
    key(
        "scope",
        Shape::OneOf(&["index", "each-platform", "any"]),
        "of what it must speak: of the `index`, of `each-platform`, of `any`; of the index or of each platform when left out",
    ),
];

const SIGNER: &[Key] = &[
    key("key", Shape::Text, "the public key in PEM, such as what is in cosign.pub; or `identity`"),
    key(
        "identity",
        Shape::Text,
        "whom the certificate of a signature names: an address, or the URI of a workflow; `*` stands for anything",
    ),
    key("issuer", Shape::Text, "who says that it is them: the issuer in the certificate, with `identity`"),
    key(
        "trusted_root",
        Shape::Name,
        "whose certificates and logs are believed, of `trusted_roots`, with `identity`; with `key` whose logs or time stamps must bear it out",
    ),
    key(
        "not_before",
        Shape::Civil,
        "from when the `key` counts: a day, `YYYY-MM-DD` in UTC, or a time with its offset; always when left out",
    ),
    key("not_after", Shape::Civil, "until when the `key` counts, a day included or up to a time; always when left out"),
];

const TRUSTED_ROOT: &[Key] =
    &[required("json", Shape::Text, "what is in trusted_root.json: a `TrustedRoot` of Sigstore")];

const SCAN: &[Key] = &[
    key("deny", Shape::Words(LEVELS), "the levels of which there may be no finding; a level means all worse ones too"),
    key("at_most", Shape::Table(AT_MOST), "how many findings of a level or a worse one there may be"),
    key("scanners", Shape::Texts, "scanners that must each have looked, by tool or format; any one when left out"),
    key("max_age", Shape::Duration, "how old a scan may be; any age when left out"),
    key("database_max_age", Shape::Duration, "how old the scanner's database may be; any age when left out"),
    key(
        "unknown_as",
        Shape::OneOf(&["ignore", "negligible", "low", "medium", "high", "critical"]),
        "what a finding counts as of which nobody says how bad it is; `high` when left out; `ignore` lets it pass",
    ),
    key(
        "severity",
        Shape::OneOf(&["scanner", "highest"]),
        "`scanner`, the default: as the scanner says; `highest`: a score or a database that says worse",
    ),
    key(
        "fixes",
        Shape::OneOf(&["any", "available"]),
        "`any`, the default: all findings count; `available`: not those of which it is said that there is no fix",
    ),
    key(
        "suppressed",
        Shape::OneOf(&["count", "shown", "accept"]),
        "what a report's author has suppressed: it counts as far as the report shows it, the default; counts, and a report without any is not relied on (`shown`); or is let pass",
    ),
    key(
        "vex",
        Shape::Names,
        "whose signed statements that a finding does not matter are believed; nobody's when left out",
    ),
    BY,
    SCOPE,
];

const AT_MOST: &[Key] = &[
    key("negligible", Shape::Number(0, i64::MAX), "of all levels"),
    key("low", Shape::Number(0, i64::MAX), "low or worse"),
    key("medium", Shape::Number(0, i64::MAX), "medium or worse"),
    key("high", Shape::Number(0, i64::MAX), "high or worse"),
    key("critical", Shape::Number(0, i64::MAX), "critical"),
];

const LICENCES: &[Key] = &[
    key(
        "allow",
        Shape::Texts,
        "SPDX identifiers that are welcome, `*` stands for anything; all that is not denied when left out",
    ),
    key("deny", Shape::Texts, "SPDX identifiers that are not, whatever `allow` says; `GPL-3.0` is also `-or-later`"),
    key(
        "unknown",
        Shape::OneOf(&["refuse", "take-of-system", "take"]),
        "components without a known licence: `refuse`, the default; take those of an operating system; or take all",
    ),
    BY,
    SCOPE,
];

const SBOM: &[Key] =
    &[key("components", Shape::Number(0, i64::MAX), "how many components it must list; 1 when left out"), BY, SCOPE];

const TESTS: &[Key] = &[
    SUITES,
    BY,
    key("pass_rate", Shape::Decimal, "how many percent of those that ran must have passed"),
    key(
        "failed",
        Shape::Number(0, i64::MAX),
        "how many may have failed; none where neither this nor `pass_rate` is said",
    ),
    key("skipped", Shape::Number(0, i64::MAX), "how many may have been skipped"),
    key("flaky", Shape::Number(0, i64::MAX), "how many may have passed only when they were tried again"),
];

const COVERAGE: &[Key] = &[
    SUITES,
    BY,
    key("lines", Shape::Decimal, "percent of lines, at least"),
    key("branches", Shape::Decimal, "percent of branches, at least"),
    key("functions", Shape::Decimal, "percent of functions, at least"),
];

const NUMBER: &[Key] = &[
    required(
        "name",
        Shape::Text,
        "the metric and its value, `http_req_duration.p(95)`, or a JSON pointer, `/latency/p95`",
    ),
    SUITES,
    BY,
    key("min", Shape::Decimal, "what it must be at least"),
    key("max", Shape::Decimal, "what it may be at most"),
    key("higher_by", Shape::Decimal, "how many percent it may be above that of the release that runs there"),
    key("lower_by", Shape::Decimal, "how many percent it may be below that of the release that runs there"),
];

const EXCEPTION: &[Key] = &[
    required("id", Shape::Text, "the vulnerability, by any of its ids"),
    key(
        "package",
        Shape::Text,
        "in which packages: a purl without version, `*` stands for anything; in all when left out",
    ),
    key("artifacts", Shape::Names, "of which artifacts; of all when left out"),
    required("owner", Shape::Text, "who answers for it"),
    required("reason", Shape::Text, "why it is let pass"),
    required("expires", Shape::Civil, "the last day on which it is, `YYYY-MM-DD`, in UTC"),
];

/// `policy.toml`
pub(crate) const POLICY_FILE: &[Key] = &[
    required("format", Shape::Format, "the format of this file, which is 1"),
    required("policy", Shape::Table(POLICY), "what the policy is called"),
    key("identities", Shape::Named(IDENTITY), "people and machines, their roles and keys (S6.3)"),
    key("claims", Shape::Tables(CLAIM), "what can be touched and how much it matters at least (S0.2)"),
    key("tiers", Shape::Table(TIER_TABLES), "rules by tier (S7.3)"),
    key("windows", Shape::Named(WINDOW), "windows and freezes of the organisation"),
    key("gates", Shape::Named(GATE), "what is required of the evidence for a release, which tiers name in `gates`"),
    key("exceptions", Shape::Tables(EXCEPTION), "vulnerabilities that this file's gates let pass for a time"),
    key("signers", Shape::Named(SIGNER), "whose signatures this file's gates take"),
    key("trusted_roots", Shape::Named(TRUSTED_ROOT), "whose certificates and logs `identity` of `signers` takes"),
    key("releases", Shape::Table(RELEASES), "what may become a release (S0.5)"),
    key("limits", Shape::Table(LIMITS), "what a pipeline file may grow to, where the defaults are too small (S13.2)"),
];

const RELEASES: &[Key] = &[key(
    "first_observation",
    Shape::Flag,
    "`false`: an artifact is taken only by the digest that its build reported; `true`, what its tag shows first will do, when left out",
)];

/// The least values are the defaults: policy raises limits and never lowers them.
const LIMITS: &[Key] = &[
    key("environments", Shape::Number(200, 100_000), "most environments of one pipeline; 200 when left out"),
    key("bytes", Shape::Number(1 << 20, 64 << 20), "largest pipeline file, in bytes; 1 MiB when left out"),
];

const POLICY: &[Key] = &[
    required("name", Shape::Name, "its name"),
    required("version", Shape::Number(1, i64::MAX), "its version; a lower one than the ledger has seen is refused"),
    key("expires", Shape::Civil, "last date on which it counts, `YYYY-MM-DD`, in UTC"),
];

const IDENTITY: &[Key] = &[
    required("roles", Shape::Names, "roles it holds"),
    key("keys", Shape::Texts, "public keys as OpenSSH writes them: `ssh-ed25519 AAAA…`"),
    key("emails", Shape::Texts, "addresses under which it authors commits"),
    key("human", Shape::Flag, "`false` for a machine, which never counts as an approver; `true` when left out"),
];

const CLAIM: &[Key] = &[
    key("directory", Shape::Text, "a directory and everything under it"),
    key("cluster", Shape::Text, "a cluster, by name"),
    key("namespace", Shape::Text, "a namespace of the cluster; all of them when left out"),
    key("registry", Shape::Text, "a repository and everything under it: `registry/prefix`"),
    required("tier", Shape::OneOf(TIERS), "the least tier of an environment that touches it"),
];

const TIER_TABLES: &[Key] = &[
    key("development", Shape::Table(TIER), "rules of the tier"),
    key("testing", Shape::Table(TIER), "rules of the tier"),
    key("staging", Shape::Table(TIER), "rules of the tier"),
    key("production", Shape::Table(TIER), "rules of the tier"),
];

const TIER: &[Key] = &[
    key("approval", Shape::Tables(APPROVAL), "approval rules that hold in addition to the environment's"),
    key("windows", Shape::NamesOrAlways, "windows of this file that apply, or `always` with a reason (S0.3)"),
    key("reason", Shape::Text, "with `windows = \"always\"`: why no window is needed"),
    key("verify", Shape::Names, "checks that an environment must name in `verify`"),
    key("gates", Shape::Names, "gates of this file that hold in addition to the environment's"),
    key("providers", Shape::Names, "providers that may deploy; all when left out"),
    key(
        "movable_images",
        Shape::Texts,
        "repositories, each with all under it, whose images may be deployed by a tag; none when left out (R2)",
    ),
    key("withdraw", Shape::Names, "roles that may withdraw an automatic check's verdict; nobody when left out (S3.1)"),
    key(
        "drills",
        Shape::Flag,
        "`false` where nobody may try a way back (`promo rollback --drill`); in production nobody may",
    ),
];

/// `trust.toml`
pub(crate) const TRUST_FILE: &[Key] = &[
    required("format", Shape::Format, "the format of this file, which is 1"),
    required("ledger", Shape::Text, "the ledger: a path, relative to this file, or a URL"),
    required("policy", Shape::Table(TRUST_POLICY), "where policy comes from"),
    key("checkpoint", Shape::Table(CHECKPOINT), "a state of the ledger that it must be, or extend (S0.1)"),
];

const CHECKPOINT: &[Key] = &[
    required("origin", Shape::Text, "the text that names the ledger for good"),
    required("size", Shape::Number(1, i64::MAX), "how many records it had"),
    required("root", Shape::Text, "its tree hash then (RFC 6962), `sha256:…`"),
];

const TRUST_POLICY: &[Key] = &[
    required("path", Shape::Text, "the policy file: a path, relative to this file"),
    key("digest", Shape::Text, "the digest that the file must have, `sha256:…`"),
    key("keys", Shape::Later, "public keys of those who sign policy"),
    key("threshold", Shape::Later, "how many of them must have signed"),
];
