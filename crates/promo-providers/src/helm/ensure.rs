//! Making a release be there: what is written before helm begins, helm itself, and what is looked at after it.

use promo_sdk::{Context, EnsureAnswer, EnsureRequest, ErrorKind, Output, ProviderError, State};
use serde_json::Value;

use super::chart::Chart;
use super::release::{self, ATTEMPT, EPOCH, RUN, Release, STEP};
use super::render::Job;
use super::seen::{self, Seen};
use super::settings::Settings;
use super::{Helm, Wanted, at, tool};
use crate::kubernetes::cluster::{MANAGER, Place};
use crate::kubernetes::inventory::{self, Entry, Inventory, Kept, Phase};
use crate::kubernetes::object::{DEFINITION, Id};
use crate::kubernetes::settings::Settings as ClusterSettings;
use crate::kubernetes::settled;
use crate::kubernetes::tried::of_release;

/// How much longer than its own timeout helm may take before it is ended.
const LONGER: std::time::Duration = std::time::Duration::from_secs(60);

fn conflict(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Conflict, message)
}

/// See [`promo_sdk::Provider::ensure`].
pub(super) async fn ensure(helm: &Helm, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
    let inputs = &request.inputs;
    let settings = Settings::of(inputs)?;
    let place = helm.clusters.place(cx, &inputs.target).await?;
    let at = at(cx, inputs)?;
    let seen = seen::look(&place, &settings.name, &at).await?;
    if seen.there.state == request.desired {
        return Ok(EnsureAnswer { changed: false, detail: "nothing to change".into() });
    }
    if seen.there.state != request.expected || request.expected == State::Unknown {
        let message = format!("{} holds something else than the plan found", inputs.target.address());
        return Err(conflict(message).differs(request.expected, seen.there.state));
    }
    if let Some(kept) = &seen.journal {
        kept.inventory.admits(request)?;
    }
    let wanted = helm.wanted(cx, inputs, &settings, &place).await?;
    if wanted.state != request.desired {
        let message =
            "the chart and the cluster would make something else of the release now than when the plan was made";
        return Err(conflict(message.into()).differs(request.desired, wanted.state));
    }
    let work = Work { helm, cx, request, settings: &settings, place: &place, seen: &seen, wanted: &wanted };
    // Before what is to be done is written: it is by what stood there that the broken-off revision is known for promo's own.
    if let Some(latest) = seen.latest.as_ref().filter(|latest| latest.status != "deployed") {
        release::heal(&place, &settings.name, latest).await?;
    }
    let written = work.begin().await?;
    work.define().await?;
    let made = work.upgrade(&written).await?;
    let pruned = work.prune(&written).await?;
    let inventory = Inventory { phase: Phase::Applied, revision: Some(made.revision), ..written.inventory.clone() };
    inventory::write(&place, &seen::journal(&settings.name), Some(&written), &inventory).await?;
    let mut detail = format!("revision {} of release {}", made.revision, settings.name);
    if pruned > 0 {
        detail.push_str(&format!(", {pruned} objects of a broken-off one taken away"));
    }
    Ok(EnsureAnswer { changed: true, detail })
}

/// A change under way.
struct Work<'a> {
    helm: &'a Helm,
    cx: &'a Context,
    request: &'a EnsureRequest,
    settings: &'a Settings,
    place: &'a Place,
    seen: &'a Seen,
    wanted: &'a Wanted,
}

impl Work<'_> {
    /// The number of the revision that is there.
    fn base(&self) -> u64 {
        self.seen.latest.as_ref().map_or(0, |latest| latest.revision)
    }

    /// Writes what is to be done, and what is there before it.
    async fn begin(&self) -> Result<Kept, ProviderError> {
        let (request, there) = (self.request, &self.seen.there);
        let kept = self.seen.journal.as_ref();
        let phase = match kept.map(|kept| &kept.inventory.phase) {
            // The same way, gone on with: where it began is where it began.
            Some(begun @ Phase::Applying { from, to, .. })
                if *to == request.desired && there.state == State::between(from, to) =>
            {
                begun.clone()
            }
            _ => Phase::Applying {
                from: there.state,
                to: request.desired,
                found: there.found(self.place, &self.wanted.rendered.objects),
            },
        };
        let inventory = Inventory {
            release: request.inputs.release.to_string(),
            token: request.token.clone(),
            epoch: request.epoch,
            phase,
            entries: self.wanted.objects.iter().map(|(object, value)| Entry::new(self.place, object, value)).collect(),
            revision: Some(self.base()),
            ledger: request.ledger.clone(),
            hooks: Vec::new(),
            jobs: Vec::new(),
            ran: Vec::new(),
        };
        inventory::write(self.place, &seen::journal(&self.settings.name), kept, &inventory).await
    }

    /// Makes the definitions of `crds/` that are not there, as helm itself would only when it installs. Those that are there
    /// belong to whoever made them, in every namespace.
    async fn define(&self) -> Result<(), ProviderError> {
        let mut made: Vec<Id> = Vec::new();
        for definition in &self.wanted.rendered.definitions {
            if self.place.live(&definition.id).await?.is_none() {
                self.place.apply(MANAGER, definition, false, false).await?;
                made.push(definition.id.clone());
            }
        }
        if made.is_empty() {
            return Ok(());
        }
        settled::wait(self.cx, self.place, &made, self.settings.timeout).await
    }

    /// Lets helm make the next revision; gives it.
    async fn upgrade(&self, written: &Kept) -> Result<Release, ProviderError> {
        let (request, inputs, settings) = (self.request, &self.request.inputs, self.settings);
        let tool = self.helm.tools.find(self.cx).await?;
        let chart = Chart::of(self.cx, &self.helm.oci, inputs, settings).await?;
        let given = Job::new(self.cx, inputs, settings, &chart)?.give()?;
        let clusters = ClusterSettings::of_user(self.cx)?;
        let cluster = clusters.named(inputs.target.0.get("cluster").map(String::as_str).unwrap_or_default())?;
        let (run, step) = seen::named_in(&request.token);
        let attempt = written.version().unwrap_or_default();
        let mut words = ["upgrade", "--install", "--reset-values", "--skip-crds"].map(String::from).to_vec();
        words.extend(tool::cluster(&cluster.kubeconfig, &cluster.context, &self.place.namespace));
        words.extend(given.values());
        words.push(format!("--timeout={}s", settings.timeout.as_secs()));
        words.push(format!("--history-max={}", settings.history));
        words.push(format!("--labels={RUN}={run},{STEP}={step},{EPOCH}={},{ATTEMPT}={attempt}", request.epoch));
        words.push(format!("--description=promo: {}, run {run}, epoch {}", inputs.release, request.epoch));
        if tool.major >= 4 {
            // What the plan did not show as somebody's by hand is nobody else's: it was tried, and refused otherwise.
            words.extend(["--server-side=true", "--force-conflicts"].map(String::from));
        }
        words.extend([settings.name.clone(), given.chart.display().to_string()]);
        let ended = tool.run(self.cx, given.directory.path(), words, settings.timeout + LONGER).await;
        let latest = release::latest(self.place, &settings.name).await;
        let output = ended?;
        let latest = latest?;
        match latest {
            Some(made) if seen::is_of(&made, written) => match made.status.as_str() {
                "deployed" if self.wanted.rendered.is(&made)? => Ok(made),
                "deployed" => Err(ProviderError::new(
                    ErrorKind::Failed,
                    "helm has rendered something else in the cluster than for the plan: a template asks the cluster (`lookup`, or what its API offers)",
                )),
                _ => Err(failed(&output, Some(&made))),
            },
            Some(other) if other.revision > self.base() => Err(conflict(format!(
                "somebody else made revision {} of release {} meanwhile ({}): expected this run's revision {}",
                other.revision,
                settings.name,
                other.description(),
                self.base() + 1
            ))),
            _ => Err(failed(&output, None)),
        }
    }

    /// Takes away what was there before or came of a broken-off revision, is not declared any more, and says that it belongs to
    /// this release. helm itself takes away only what it finds in one revision and not in the next.
    async fn prune(&self, written: &Kept) -> Result<usize, ProviderError> {
        let mut pruned = 0;
        for object in written.inventory.all().iter().rev() {
            let id = &object.id;
            let declared = |wanted: &crate::kubernetes::object::Object| wanted.id.same(id);
            if id.kind.kind == DEFINITION || self.wanted.rendered.objects.iter().any(declared) {
                continue;
            }
            let Some(live) = self.place.live(id).await? else { continue };
            let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) else { continue };
            let going = live.pointer("/metadata/deletionTimestamp").is_some();
            if going || seen::is_kept(&live) || !of_release(self.place, &self.settings.name, &live) {
                continue;
            }
            inventory::still(self.place, &seen::journal(&self.settings.name), written).await?;
            self.place.delete(id, uid).await?;
            pruned += 1;
        }
        Ok(pruned)
    }
}

/// Words of helm that say that the server could not be asked, or not to the end.
const AWAY: [&str; 8] = [
    "connection refused",
    "connection reset",
    "i/o timeout",
    "unexpected EOF",
    "TLS handshake timeout",
    "http2: ",
    "the server is currently unable to handle the request",
    "Client.Timeout exceeded",
];

fn failed(output: &Output, made: Option<&Release>) -> ProviderError {
    let said = tool::said(output);
    let kind = match &said {
        said if AWAY.iter().any(|word| said.contains(word)) => ErrorKind::Transient,
        said if said.contains("is forbidden") && !said.contains("exceeded quota") => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    };
    let hooks = made.map(Release::failed_hooks).unwrap_or_default();
    let hooks = match hooks.is_empty() {
        true => String::new(),
        false => format!("; the hook {} failed", hooks.join(", ")),
    };
    ProviderError::new(kind, format!("helm: {said}{hooks}"))
}
