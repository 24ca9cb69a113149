//! What every provider must do, as code: run it from a provider's own tests against a real place.
//!
//! It decides by what the provider observes and by a snapshot that the caller takes without the provider, so a provider
//! that lies about its state is found too.

use std::collections::BTreeSet;

use promo_core::kinds::{KindSchema, Place};

use crate::context::Context;
use crate::error::{ErrorKind, ProviderError};
use crate::provider::{EnsureAnswer, EnsureRequest, Inputs, ObserveRequest, Preview, Provider};
use crate::{FileChange, State};

/// What [`deployment`] needs to try a provider.
pub struct DeploymentCases<'a> {
    /// What is deployed into the empty place.
    pub first: Inputs,
    /// What replaces it: the same target and another state.
    pub second: Inputs,
    /// Changes what is live, as somebody with an editor would.
    pub disturb: &'a (dyn Fn() + Sync),
    /// Everything at the place that a bystander could see, in any spelling that changes when it does.
    pub snapshot: &'a (dyn Fn() -> String + Sync),
}

/// A provider does not do what the contract says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider breaks the contract: {rule}; {found}")]
pub struct Violation {
    /// What the contract says.
    pub rule: &'static str,
    /// What happened instead.
    pub found: String,
}

fn must(holds: bool, rule: &'static str, found: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, found: found() }) }
}

/// Tries a deployment provider on an empty place.
///
/// # Errors
/// The first [`Violation`].
pub async fn deployment(provider: &dyn Provider, cx: &Context, cases: &DeploymentCases<'_>) -> Result<(), Violation> {
    description(provider, &[&cases.first, &cases.second])?;
    let trial = Trial { provider, cx, snapshot: cases.snapshot };

    let empty = trial.observe(&cases.first).await?;
    must(empty == State::Absent, "nothing is observed at an empty place", || format!("observed {empty}"))?;
    let preview = trial.preview(&cases.first).await?;
    must(preview.current == State::Absent, "a preview tells what is there", || format!("{}", preview.current))?;
    let all_new = !preview.changes.is_empty() && preview.changes.iter().all(|change| change.before.is_none());
    must(all_new, "at an empty place every change is new", || paths(&preview.changes))?;
    let first = preview.desired;
    trial.reach(&cases.first, State::Absent, first).await?;

    // The reply may have been lost: the same request finds its work done, whatever it expected before.
    for expected in [first, State::Absent] {
        trial.unchanged(&cases.first, expected, first).await?;
    }

    let preview = trial.preview(&cases.second).await?;
    must(preview.current == first, "a preview tells what is there", || format!("{}", preview.current))?;
    must(!preview.changes.is_empty(), "other inputs show what they change", || "no change is shown".to_owned())?;
    let second = preview.desired;
    must(second != first, "the cases have different states", || format!("both are {first}"))?;
    trial.reach(&cases.second, first, second).await?;

    trial.conflict(&cases.first, State::Absent, first, "a writer with an old expected state is refused").await?;
    trial.reach(&cases.first, second, first).await?;

    (cases.disturb)();
    let disturbed = trial.observe(&cases.first).await?;
    must(disturbed != first, "a change by hand is another state", || format!("still observed {first}"))?;
    trial.conflict(&cases.second, first, second, "a change by hand is not overwritten").await?;
    if disturbed == State::Unknown {
        trial.conflict(&cases.second, State::Unknown, second, "an unknown state is never expected").await
    } else {
        trial.reach(&cases.second, disturbed, second).await
    }
}

/// Checks what the provider says of itself, and that the cases use nothing else.
fn description(provider: &dyn Provider, cases: &[&Inputs]) -> Result<(), Violation> {
    let description = provider.describe();
    must(description == provider.describe(), "`describe` is constant", || "two answers differ".to_owned())?;
    let named = !description.name.is_empty() && !description.version.is_empty();
    must(named, "a provider has a name and a version", || format!("{description:?}"))?;
    for kind in &description.kinds {
        let names: BTreeSet<_> = kind.keys.iter().map(|key| &key.name).collect();
        must(names.len() == kind.keys.len(), "every setting has a name of its own", || kind.kind.clone())?;
    }
    let place = |kind: &&KindSchema| kind.place == Place::Deploy && kind.kind == description.name;
    let Some(kind) = description.kinds.iter().find(place) else {
        let found = format!("{:?}", description.kinds);
        return Err(Violation { rule: "a deployment provider offers a deployment of its name", found });
    };
    for inputs in cases {
        let settings = inputs.settings.as_object().into_iter().flatten();
        let unknown: Vec<_> =
            settings.map(|(name, _)| name).filter(|name| kind.keys.iter().all(|key| key.name != **name)).collect();
        must(unknown.is_empty(), "every setting that is used is described", || format!("{unknown:?}"))?;
        let missing = kind.keys.iter().find(|key| key.required && inputs.settings.get(&key.name).is_none());
        must(missing.is_none(), "every required setting is given", || format!("{missing:?}"))?;
        let target = inputs.target.0.keys().all(|key| kind.target_keys.contains(key));
        must(target, "every key of a target is described", || inputs.target.address())?;
    }
    Ok(())
}

struct Trial<'a> {
    provider: &'a dyn Provider,
    cx: &'a Context,
    snapshot: &'a (dyn Fn() -> String + Sync),
}

impl Trial<'_> {
    async fn observe(&self, inputs: &Inputs) -> Result<State, Violation> {
        let before = (self.snapshot)();
        let answer = self.provider.observe(self.cx, &ObserveRequest { inputs: inputs.clone() }).await;
        self.same(&before, "`observe` only reads")?;
        answer.map_err(failed("`observe` succeeds at a place that is in order"))
    }

    async fn preview(&self, inputs: &Inputs) -> Result<Preview, Violation> {
        let before = (self.snapshot)();
        let answer = self.provider.preview(self.cx, &ObserveRequest { inputs: inputs.clone() }).await;
        self.same(&before, "`preview` only reads")?;
        answer.map_err(failed("`preview` succeeds at a place that is in order"))
    }

    async fn ensure(&self, inputs: &Inputs, expected: State, desired: State) -> Result<EnsureAnswer, ProviderError> {
        let (inputs, token) = (inputs.clone(), "conformance/1".to_owned());
        self.provider.ensure(self.cx, &EnsureRequest { inputs, expected, desired, token, epoch: 1 }).await
    }

    /// `ensure` from `expected` to `desired` changes something, and what is observed afterwards is what was previewed.
    async fn reach(&self, inputs: &Inputs, expected: State, desired: State) -> Result<(), Violation> {
        let answer =
            self.ensure(inputs, expected, desired).await.map_err(failed("`ensure` succeeds from its state"))?;
        must(answer.changed, "an `ensure` that changes something says so", || answer.detail.clone())?;
        let found = self.observe(inputs).await?;
        must(found == desired, "what a preview promised is observed after `ensure`", || {
            format!("promised {desired}, observed {found}")
        })?;
        let preview = self.preview(inputs).await?;
        let settled = preview.current == desired && preview.desired == desired && preview.changes.is_empty();
        must(settled, "a preview of what is there shows no change (S8.5)", || paths(&preview.changes))
    }

    /// The desired state is there: nothing happens.
    async fn unchanged(&self, inputs: &Inputs, expected: State, desired: State) -> Result<(), Violation> {
        let before = (self.snapshot)();
        let answer = self.ensure(inputs, expected, desired).await;
        let answer = answer.map_err(failed("a second `ensure` succeeds"))?;
        must(!answer.changed, "a second `ensure` says that it changed nothing", || answer.detail.clone())?;
        self.same(&before, "a second `ensure` changes nothing")
    }

    async fn conflict(
        &self,
        inputs: &Inputs,
        expected: State,
        desired: State,
        rule: &'static str,
    ) -> Result<(), Violation> {
        let before = (self.snapshot)();
        match self.ensure(inputs, expected, desired).await {
            Err(error) if error.kind == ErrorKind::Conflict => {}
            other => return Err(Violation { rule, found: format!("{other:?}") }),
        }
        self.same(&before, "a refused `ensure` changes nothing")
    }

    fn same(&self, before: &str, rule: &'static str) -> Result<(), Violation> {
        let after = (self.snapshot)();
        must(before == after, rule, || format!("before:\n{before}\nafter:\n{after}"))
    }
}

fn failed(rule: &'static str) -> impl FnOnce(ProviderError) -> Violation {
    move |error| Violation { rule, found: format!("{:?}: {error}", error.kind) }
}

fn paths(changes: &[FileChange]) -> String {
    let paths: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
    format!("changes: {paths:?}")
}
