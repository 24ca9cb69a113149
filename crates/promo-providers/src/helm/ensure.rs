//! Making a release be there: what is written before helm begins, helm itself, and what is looked at after it.

use promo_core::counted::counted;
use promo_sdk::{Context, EnsureAnswer, EnsureRequest, ErrorKind, Output, ProviderError, State};
use serde_json::Value;

use super::call::Call;
use super::release::{self, ATTEMPT, EPOCH, RUN, Release, STEP};
use super::seen::{self, Seen};
use super::settings::Settings;
use super::{Helm, Wanted, at, hooks};
use crate::kubernetes::cluster::{MANAGER, Place};
use crate::kubernetes::inventory::{self, Entry, Inventory, Kept, Phase};
use crate::kubernetes::object::{DEFINITION, Id, Object};
use crate::kubernetes::settled;
use crate::kubernetes::tried::of_release;
use crate::kubernetes::typed;

fn conflict(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Conflict, message)
}

/// See [`promo_sdk::Provider::ensure`].
pub(super) async fn ensure(helm: &Helm, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
    let inputs = &request.inputs;
    let settings = Settings::of(inputs)?;
    let place = helm.clusters.place(cx, &inputs.target).await?;
    let at = at(cx, inputs)?;
    let seen = seen::look(&place, &settings, &at).await?;
    seen.admits(&settings)?;
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
    hooks::guard(&place, &settings.name, &wanted.rendered, seen.latest.as_ref(), &helm.tools.find(cx).await?).await?;
    let work = Work { cx, request, settings: &settings, place: &place, seen: &seen, wanted: &wanted };
    // Before what is to be done is written: it is by what stood there that the broken-off revision is known for promo's own. helm
    // says nothing of a release on which it thinks that somebody is at work; one that only failed is left as it is until that is said.
    let (broken_off, failed) = match &seen.latest {
        Some(latest) if latest.is_pending() => (Some(latest), None),
        Some(latest) if latest.status != "deployed" => (None, Some(latest)),
        _ => (None, None),
    };
    if let Some(latest) = broken_off {
        release::heal(&place, &settings.name, latest).await?;
    }
    let call = Call::new(helm, cx, inputs, &settings, &place, &wanted.rendered).await?;
    let missing = wanted.rendered.undefined(&place).await?;
    if missing.is_empty() {
        call.compare(&wanted.rendered).await?;
    }
    if let Some(latest) = failed {
        release::heal(&place, &settings.name, latest).await?;
    }
    let written = work.begin().await?;
    if !missing.is_empty() {
        // Before they are there helm could not tell what it would make of their kinds.
        work.define(&missing, &written).await?;
        call.compare(&wanted.rendered).await?;
    }
    let made = work.upgrade(&call, &written).await?;
    let pruned = work.prune(&written).await?;
    let inventory = Inventory { phase: Phase::Applied, revision: Some(made.revision), ..written.inventory.clone() };
    inventory::write(&place, &seen::journal(&settings.name), Some(&written), &inventory).await?;
    let mut detail = format!("revision {} of release {}", made.revision, settings.name);
    if pruned > 0 {
        detail.push_str(&format!(", {} of a broken-off one taken away", counted(pruned, "object")));
    }
    // What is there is there, whether or not that can be told too.
    let left = hooks::left(&place, &settings.name, &made).await.unwrap_or_default();
    for left in &left {
        let kubectl = typed::kubectl(cx, &inputs.target)?;
        detail.push_str(&format!("; {} is still there: `{}`", left.told(), typed::delete(&kubectl, &left.id)));
    }
    Ok(EnsureAnswer { changed: true, detail })
}

/// A change under way.
struct Work<'a> {
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
        self.seen.revision
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
    async fn define(&self, missing: &[&Object], written: &Kept) -> Result<(), ProviderError> {
        let mut made: Vec<Id> = Vec::new();
        for definition in missing {
            inventory::still(self.place, &seen::journal(&self.settings.name), Some(written)).await?;
            self.place.apply(MANAGER, definition, false, false).await?;
            made.push(definition.id.clone());
        }
        settled::wait(self.cx, self.place, &made, self.settings.timeout).await
    }

    /// Lets helm make the next revision; gives it.
    async fn upgrade(&self, call: &Call<'_>, written: &Kept) -> Result<Release, ProviderError> {
        let (request, inputs, settings) = (self.request, &self.request.inputs, self.settings);
        let (run, step) = seen::named_in(&request.token);
        let attempt = written.version().unwrap_or_default();
        let also = vec![
            format!("--labels={RUN}={run},{STEP}={step},{EPOCH}={},{ATTEMPT}={attempt}", request.epoch),
            format!("--description=promo: {}, run {run}, epoch {}", inputs.release, request.epoch),
        ];
        // Whoever has come to write here since is at work now, and helm would only notice once it has begun.
        inventory::still(self.place, &seen::journal(&settings.name), Some(written)).await?;
        let ended = call.upgrade(also).await;
        let latest = release::latest(self.place, &settings.name).await;
        let output = ended?;
        let latest = latest?;
        match latest {
            Some(made) if seen::is_of(&made, written) => match made.status.as_str() {
                "deployed" if self.wanted.rendered.is(&made)? => Ok(made),
                "deployed" => Err(ProviderError::new(
                    ErrorKind::Failed,
                    "helm has rendered something else in the cluster than for the plan and a moment before: a template asks the cluster (`lookup`, or what its API offers)",
                )),
                _ => Err(failed(call, &output, Some(&made))),
            },
            Some(other) if other.revision > self.base() => Err(conflict(format!(
                "somebody else made revision {} of release {} meanwhile ({}): expected this run's revision {}",
                other.revision,
                settings.name,
                other.description(),
                self.base() + 1
            ))),
            _ => Err(failed(call, &output, None)),
        }
    }

    /// Takes away what was there before or came of a broken-off revision, is not declared any more, and says that it belongs to
    /// this release. helm itself takes away only what it finds in one revision and not in the next.
    async fn prune(&self, written: &Kept) -> Result<usize, ProviderError> {
        let mut pruned = 0;
        for object in written.inventory.all().iter().rev() {
            let id = &object.id;
            let declared = |wanted: &Object| wanted.id.same(id);
            if id.kind.kind == DEFINITION || self.wanted.rendered.objects.iter().any(declared) {
                continue;
            }
            let Some(live) = self.place.live(id).await? else { continue };
            let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) else { continue };
            let going = live.pointer("/metadata/deletionTimestamp").is_some();
            if going || seen::is_kept(&live) || !of_release(self.place, &self.settings.name, &live) {
                continue;
            }
            inventory::still(self.place, &seen::journal(&self.settings.name), Some(written)).await?;
            self.place.delete(id, uid).await?;
            pruned += 1;
        }
        Ok(pruned)
    }
}

fn failed(call: &Call<'_>, output: &Output, made: Option<&Release>) -> ProviderError {
    let mut error = call.failed(output);
    let hooks = made.map(Release::failed_hooks).unwrap_or_default();
    if !hooks.is_empty() {
        error.message.push_str(&format!("; the hook {} failed", hooks.join(", ")));
    }
    error
}
