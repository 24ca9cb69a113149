//! What a provider that deploys must do. It decides by what the provider observes and by a snapshot that the caller takes
//! without the provider.

use std::collections::BTreeSet;

use promo_core::kinds::{KindSchema, Place};

use super::{Violation, described, failed, must};
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
    let description = described(provider)?;
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
        self.provider
            .ensure(
                self.cx,
                &EnsureRequest {
                    inputs,
                    expected,
                    desired,
                    changes: Vec::new(),
                    token,
                    epoch: 1,
                    ledger: String::new(),
                },
            )
            .await
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

fn paths(changes: &[FileChange]) -> String {
    let paths: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
    format!("changes: {paths:?}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use promo_core::Digest;
    use promo_core::kinds::{KeySchema, ValueKind};
    use serde_json::json;

    use super::*;
    use crate::provider::{Description, EffectClass};
    use crate::testing::context;

    /// One text somewhere.
    type Thing = Arc<Mutex<Option<String>>>;

    /// What the provider under test does wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        ObserveWrites,
        PreviewWrites,
        PreviewSaysLess,
        WritesTwice,
        SaysUnchanged,
        Overwrites,
        ForgetsToWrite,
        RemembersItsState,
        NoSchema,
        NoSetting,
    }

    struct Text {
        thing: Thing,
        remembered: Mutex<Option<State>>,
        fault: Fault,
    }

    impl Text {
        fn state(&self) -> State {
            let state = self.thing.lock().unwrap().as_ref().map_or(State::Absent, |t| State::Present(digest(t)));
            self.remembered.lock().unwrap().filter(|_| self.fault == Fault::RemembersItsState).unwrap_or(state)
        }

        fn scribble(&self, fault: Fault) {
            if self.fault == fault {
                *self.thing.lock().unwrap() = Some("scribble".into());
            }
        }
    }

    fn digest(text: &str) -> Digest {
        // What a writer appends on every call is no part of the text.
        Digest::of(text.trim_end_matches('+').as_bytes())
    }

    fn text(inputs: &Inputs) -> String {
        inputs.settings["text"].as_str().unwrap().to_owned()
    }

    #[async_trait]
    impl Provider for Text {
        fn describe(&self) -> Description {
            let name = if self.fault == Fault::NoSetting { "other" } else { "text" };
            let key = KeySchema {
                name: name.into(),
                value: ValueKind::Text,
                required: true,
                files: false,
                about: String::new(),
            };
            let place = if self.fault == Fault::NoSchema { Place::Check } else { Place::Deploy };
            let (kind, about, target_keys) = ("text".into(), String::new(), vec!["directory".into()]);
            let kinds = vec![KindSchema { place, kind, about, keys: vec![key], target_keys }];
            Description { name: "text".into(), version: "1".into(), effects: EffectClass::Observable, kinds }
        }

        async fn observe(&self, _: &Context, _: &ObserveRequest) -> Result<State, ProviderError> {
            let state = self.state();
            self.scribble(Fault::ObserveWrites);
            Ok(state)
        }

        async fn preview(&self, _: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
            let (current, before) = (self.state(), self.thing.lock().unwrap().clone());
            self.scribble(Fault::PreviewWrites);
            let after = text(&request.inputs);
            let desired = State::Present(digest(&after));
            let change = FileChange { path: "text".into(), before, after: Some(after) };
            let shown = current != desired && self.fault != Fault::PreviewSaysLess;
            Ok(Preview { current, desired, changes: shown.then_some(change).into_iter().collect(), images: vec![] })
        }

        async fn ensure(&self, _: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
            let answer = |changed| Ok(EnsureAnswer { changed, detail: "done".into() });
            let found = self.state();
            if found == request.desired {
                if self.fault == Fault::WritesTwice {
                    self.thing.lock().unwrap().as_mut().unwrap().push('+');
                }
                return answer(false);
            }
            if found != request.expected && self.fault != Fault::Overwrites {
                return Err(ProviderError::new(ErrorKind::Conflict, "changed"));
            }
            if self.fault != Fault::ForgetsToWrite {
                *self.thing.lock().unwrap() = Some(text(&request.inputs));
                *self.remembered.lock().unwrap() = Some(request.desired);
            }
            answer(self.fault != Fault::SaysUnchanged)
        }
    }

    async fn trial(fault: Fault) -> Result<(), Violation> {
        let thing = Thing::default();
        let inputs = |text: &str| Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([("directory".to_owned(), "x".to_owned())].into()),
            settings: json!({"text": text}),
            artifacts: [].into(),
            files: [].into(),
        };
        let cases = DeploymentCases {
            first: inputs("one"),
            second: inputs("two"),
            disturb: &|| *thing.lock().unwrap() = Some("by hand".into()),
            snapshot: &|| format!("{:?}", thing.lock().unwrap()),
        };
        let provider = Text { thing: Arc::clone(&thing), remembered: Mutex::new(None), fault };
        deployment(&provider, &context("."), &cases).await
    }

    #[tokio::test]
    async fn a_provider_that_keeps_the_contract_passes() {
        assert_eq!(trial(Fault::None).await, Ok(()));
    }

    #[tokio::test]
    async fn every_breach_is_found_and_named() {
        for (fault, rule) in [
            (Fault::ObserveWrites, "`observe` only reads"),
            (Fault::PreviewWrites, "`preview` only reads"),
            (Fault::PreviewSaysLess, "at an empty place every change is new"),
            (Fault::WritesTwice, "a second `ensure` changes nothing"),
            (Fault::SaysUnchanged, "an `ensure` that changes something says so"),
            (Fault::Overwrites, "a writer with an old expected state is refused"),
            (Fault::ForgetsToWrite, "what a preview promised is observed after `ensure`"),
            (Fault::RemembersItsState, "a change by hand is another state"),
            (Fault::NoSchema, "a deployment provider offers a deployment of its name"),
            (Fault::NoSetting, "every setting that is used is described"),
        ] {
            assert_eq!(trial(fault).await.unwrap_err().rule, rule, "{fault:?}");
        }
    }
}
