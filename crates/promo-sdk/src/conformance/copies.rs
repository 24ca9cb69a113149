//! What a provider that copies artifacts must do.

use promo_core::Digest;

use super::{Violation, cancellable, cancelled_after, described, failed, line, must};
use crate::State;
use crate::context::Context;
use crate::error::{ErrorKind, ProviderError};
use crate::provider::{EnsureAnswer, EnsureRequest, Inputs, ObserveRequest, Preview, Provider, ResolveRequest};

/// What [`copies`] needs to try a provider. Each of the inputs names one artifact with a source, and a tag.
pub struct CopyCases<'a> {
    /// Where the build put the artifact of [`CopyCases::first`], with its tag and without its digest.
    pub reference: &'a str,
    /// An artifact and a destination that is free.
    pub first: Inputs,
    /// The same destination and tag, and another artifact that its source holds.
    pub other: Inputs,
    /// A free destination, and a digest that the source does not hold.
    pub missing: Inputs,
    /// An artifact and another free destination: its copy is cancelled again and again before it is made.
    pub interrupted: Inputs,
    /// The digest of the bytes that anybody gets at a destination; none when nothing is there. Read without the provider.
    pub held: &'a (dyn Fn(&Inputs) -> Option<Digest> + Sync),
    /// Everything that a bystander could see at all destinations, in any spelling that changes when it does.
    pub snapshot: &'a (dyn Fn() -> String + Sync),
}

/// Turns that a copy gets before it is cancelled. A copy that ends sooner was not disturbed, which is no harm.
const TURNS: [usize; 8] = [0, 1, 2, 4, 8, 16, 64, 256];

/// Tries a provider that copies artifacts.
///
/// # Errors
/// The first [`Violation`].
pub async fn copies(provider: &dyn Provider, cx: &Context, cases: &CopyCases<'_>) -> Result<(), Violation> {
    described(provider)?;
    let trial = Trial { provider, cx, cases };
    trial.resolves().await?;
    trial.copies().await?;
    trial.refuses().await?;
    trial.resumes().await
}

struct Trial<'a> {
    provider: &'a dyn Provider,
    cx: &'a Context,
    cases: &'a CopyCases<'a>,
}

impl Trial<'_> {
    /// What a reference means is told as it is.
    async fn resolves(&self) -> Result<(), Violation> {
        let wanted = digest(&self.cases.first)?;
        let ask = |reference: String| async move {
            let before = (self.cases.snapshot)();
            let answer = self.provider.resolve(self.cx, &ResolveRequest { reference }).await;
            self.same(&before, "`resolve` only reads")?;
            Ok(answer)
        };
        let found = ask(self.cases.reference.to_owned()).await?.map_err(failed("`resolve` finds what was built"))?;
        must(found.digest == wanted, "`resolve` tells the digest that is served", || found.digest.to_string())?;
        must(found.tree.contains(&wanted), "the tree contains its own top", || format!("{:?}", found.tree))?;
        let pinned = ask(format!("{}@{wanted}", self.cases.reference)).await?;
        pinned.map_err(failed("`resolve` finds what was built"))?;
        let other = digest(&self.cases.other)?;
        match ask(format!("{}@{other}", self.cases.reference)).await? {
            Err(_) => Ok(()),
            Ok(found) => Err(Violation {
                rule: "a tag that does not name the digest that was asked for is an error",
                found: format!("asked for {other}, answered {}", found.digest),
            }),
        }
    }

    /// A copy keeps bytes, is made once, and only from the state that was planned.
    async fn copies(&self) -> Result<(), Violation> {
        let first = &self.cases.first;
        let (wanted, other) = (State::Present(digest(first)?), State::Present(digest(&self.cases.other)?));
        let empty = self.observe(first).await?;
        must(empty == State::Absent, "nothing is observed at a free destination", || format!("observed {empty}"))?;
        let preview = self.preview(first).await?.map_err(failed("`preview` succeeds at a free destination"))?;
        let told = preview.current == State::Absent && preview.desired == wanted && !preview.changes.is_empty();
        must(told, "a preview tells what is there, what would be, and the change", || format!("{preview:?}"))?;

        self.refused(first, other, ErrorKind::Conflict, "a copy from another state than the planned one is a conflict")
            .await?;

        let answer = self.ensure(self.cx, first, State::Absent).await.map_err(failed("a copy succeeds"))?;
        must(answer.changed, "a copy that writes says so", || answer.detail.clone())?;
        line(&answer.detail, "the detail of an `ensure` is one bounded line")?;
        self.holds(first, "the destination serves the digest of the source (S2.3)").await?;
        let preview = self.preview(first).await?.map_err(failed("`preview` succeeds where the artifact is"))?;
        let settled = preview.current == wanted && preview.desired == wanted && preview.changes.is_empty();
        must(settled, "a preview of what is there shows no change (S8.5)", || format!("{preview:?}"))?;

        // The reply may have been lost: the same request finds its work done, whatever it expected before.
        for expected in [State::Absent, wanted] {
            let before = (self.cases.snapshot)();
            let again = self.ensure(self.cx, first, expected).await.map_err(failed("a second `ensure` succeeds"))?;
            must(!again.changed, "a second `ensure` says that it wrote nothing", || again.detail.clone())?;
            self.same(&before, "a second `ensure` writes nothing")?;
        }
        Ok(())
    }

    /// What cannot be copied is an error, and nothing is written.
    async fn refuses(&self) -> Result<(), Violation> {
        let (first, other, missing) = (&self.cases.first, &self.cases.other, &self.cases.missing);
        let taken = "a destination tag that has another digest is refused (S2.3)";
        // Planned when it was free, planned as it is now: an artifact is never replaced.
        for expected in [State::Absent, State::Present(digest(first)?)] {
            self.refused(other, expected, ErrorKind::Conflict, taken).await?;
        }
        match self.preview(other).await? {
            Err(error) if error.kind == ErrorKind::Conflict => {}
            answer => return Err(Violation { rule: taken, found: format!("previewed {answer:?}") }),
        }
        self.holds(first, "a refused copy leaves what was there").await?;

        let gone = "a source that does not hold the artifact is an error that says so";
        let error = self.refused(missing, State::Absent, ErrorKind::NotFound, gone).await?;
        line(&error.message, "the message of an error is one bounded line")?;
        let named = error.message.contains(&digest(missing)?.to_string());
        must(named, "the error names the artifact that is missing", || error.message.clone())?;
        match self.preview(missing).await? {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            answer => Err(Violation { rule: gone, found: format!("previewed {answer:?}") }),
        }
    }

    /// However a copy is interrupted, it can be made afterwards.
    async fn resumes(&self) -> Result<(), Violation> {
        let inputs = &self.cases.interrupted;
        let wanted = State::Present(digest(inputs)?);
        for turns in TURNS {
            let (cx, token) = cancellable(self.cx);
            if turns == 0 {
                token.cancel();
            }
            let before = (self.cases.snapshot)();
            let (answer, stopped) = cancelled_after(token, turns, self.ensure(&cx, inputs, State::Absent)).await;
            match answer {
                Ok(_) if turns > 0 => {}
                Err(error) if (stopped || turns == 0) && error.kind == ErrorKind::Cancelled => {}
                answer => {
                    let says = "a cancelled copy says that it was cancelled";
                    let rule = if stopped || turns == 0 { says } else { "a cancelled copy can be made afterwards" };
                    return Err(Violation { rule, found: format!("{answer:?} after {turns} turns") });
                }
            }
            if turns == 0 {
                self.same(&before, "a copy that was cancelled before it began writes nothing")?;
            }
            // What was on its way when it was cancelled may still land, so these two need not agree, nor stay.
            let found = self.provider.observe(self.cx, &ObserveRequest { inputs: inputs.clone() }).await;
            let found = found.map_err(failed("a place can be observed after a cancelled copy"))?;
            let rule = "after a cancelled copy the artifact is there as a whole or not at all";
            must(found == State::Absent || found == wanted, rule, || format!("observed {found} after {turns} turns"))?;
            let held = (self.cases.held)(inputs).map_or(State::Absent, State::Present);
            must(held == State::Absent || held == wanted, rule, || format!("{held} is served after {turns} turns"))?;
        }
        self.ensure(self.cx, inputs, State::Absent).await.map_err(failed("a cancelled copy can be made afterwards"))?;
        self.holds(inputs, "a cancelled copy can be made afterwards").await
    }

    async fn observe(&self, inputs: &Inputs) -> Result<State, Violation> {
        let before = (self.cases.snapshot)();
        let answer = self.provider.observe(self.cx, &ObserveRequest { inputs: inputs.clone() }).await;
        self.same(&before, "`observe` only reads")?;
        answer.map_err(failed("`observe` succeeds at a place that is in order"))
    }

    async fn preview(&self, inputs: &Inputs) -> Result<Result<Preview, ProviderError>, Violation> {
        let before = (self.cases.snapshot)();
        let answer = self.provider.preview(self.cx, &ObserveRequest { inputs: inputs.clone() }).await;
        self.same(&before, "`preview` only reads")?;
        Ok(answer)
    }

    async fn ensure(&self, cx: &Context, inputs: &Inputs, expected: State) -> Result<EnsureAnswer, ProviderError> {
        let desired = artifact(inputs).map_or(State::Unknown, State::Present);
        let (inputs, token) = (inputs.clone(), "conformance/1".to_owned());
        self.provider
            .ensure(
                cx,
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

    async fn refused(
        &self,
        inputs: &Inputs,
        expected: State,
        kind: ErrorKind,
        rule: &'static str,
    ) -> Result<ProviderError, Violation> {
        let before = (self.cases.snapshot)();
        let error = match self.ensure(self.cx, inputs, expected).await {
            Err(error) if error.kind == kind => error,
            answer => return Err(Violation { rule, found: format!("{answer:?}") }),
        };
        self.same(&before, "a refused copy writes nothing")?;
        Ok(error)
    }

    /// The artifact is at its destination: the provider says so, and so does everybody else.
    async fn holds(&self, inputs: &Inputs, rule: &'static str) -> Result<(), Violation> {
        let (wanted, held) = (digest(inputs)?, (self.cases.held)(inputs));
        must(held == Some(wanted), rule, || format!("{held:?} is served instead of {wanted}"))?;
        let found = self.observe(inputs).await?;
        must(found == State::Present(wanted), "what is served is observed", || format!("observed {found}"))
    }

    fn same(&self, before: &str, rule: &'static str) -> Result<(), Violation> {
        let after = (self.cases.snapshot)();
        must(before == after, rule, || format!("before:\n{before}\nafter:\n{after}"))
    }
}

fn artifact(inputs: &Inputs) -> Option<Digest> {
    inputs.artifacts.values().next().map(|artifact| artifact.digest)
}

fn digest(inputs: &Inputs) -> Result<Digest, Violation> {
    artifact(inputs).ok_or_else(|| Violation { rule: "every case names one artifact", found: format!("{inputs:?}") })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::provider::{ArtifactInput, Description, EffectClass, FileChange, Resolved};
    use crate::testing::context;

    /// What the provider under test does wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        ResolvesAnything,
        ResolvesATreeWithoutTop,
        ResolveWrites,
        ObserveWrites,
        PreviewWrites,
        PreviewShowsNothing,
        IgnoresExpected,
        ChangesBytes,
        WritesNothing,
        SaysUnchanged,
        WritesTwice,
        SaysChanged,
        ReplacesTag,
        PreviewsTakenTag,
        WritesBeforeItReads,
        HidesWhatIsMissing,
        MissingIsDenied,
        IgnoresCancelling,
        WritesBeforeItLooks,
        LeavesHalf,
        CannotGoOn,
    }

    /// Texts by place; what is at a place is served under the digest of its text.
    #[derive(Clone, Default)]
    struct Places(Arc<Mutex<BTreeMap<String, String>>>);

    impl Places {
        fn get(&self, place: &str) -> Option<String> {
            self.0.lock().unwrap().get(place).cloned()
        }
        fn set(&self, place: &str, text: &str) {
            self.0.lock().unwrap().insert(place.to_owned(), text.to_owned());
        }
    }

    struct Copier {
        places: Places,
        fault: Fault,
    }

    const BUILT: [&str; 2] = ["one", "two"];

    fn of(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn place(inputs: &Inputs) -> &str {
        &inputs.artifacts.values().next().unwrap().repository
    }

    impl Copier {
        fn is(&self, fault: Fault) -> bool {
            self.fault == fault
        }
        fn scribble(&self, fault: Fault, place: &str) {
            if self.is(fault) {
                let there = self.places.get(place).unwrap_or_default();
                self.places.set(place, &format!("{there}scribble"));
            }
        }
        fn state(&self, inputs: &Inputs) -> State {
            self.places.get(place(inputs)).map_or(State::Absent, |text| State::Present(of(&text)))
        }
        fn source(&self, inputs: &Inputs) -> Result<&'static str, ProviderError> {
            let wanted = artifact(inputs).unwrap();
            let missing = || {
                let kind = if self.is(Fault::MissingIsDenied) { ErrorKind::Denied } else { ErrorKind::NotFound };
                let what = if self.is(Fault::HidesWhatIsMissing) { "something".into() } else { wanted.to_string() };
                ProviderError::new(kind, format!("the source does not hold {what}"))
            };
            BUILT.into_iter().find(|text| of(text) == wanted).ok_or_else(missing)
        }
    }

    fn conflict() -> ProviderError {
        ProviderError::new(ErrorKind::Conflict, "another state")
    }

    #[async_trait]
    impl Provider for Copier {
        fn describe(&self) -> Description {
            Description { name: "copier".into(), version: "1".into(), effects: EffectClass::Observable, kinds: vec![] }
        }

        async fn resolve(&self, _: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
            self.scribble(Fault::ResolveWrites, "elsewhere");
            let digest = of("one");
            let asked = request.reference.split_once('@').map(|(_, digest)| digest);
            if asked.is_some_and(|asked| asked != digest.to_string()) && !self.is(Fault::ResolvesAnything) {
                return Err(ProviderError::new(ErrorKind::Moved, "the tag names another digest"));
            }
            let tree = if self.is(Fault::ResolvesATreeWithoutTop) { vec![] } else { vec![digest] };
            Ok(Resolved {
                digest,
                media_type: "text/plain".into(),
                size: 3,
                tree,
                platforms: [].into(),
                nature: None,
                metadata: [].into(),
                said_where: [].into(),
                contradicted: [].into(),
            })
        }

        async fn observe(&self, _: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
            let state = self.state(&request.inputs);
            self.scribble(Fault::ObserveWrites, "elsewhere");
            Ok(state)
        }

        async fn preview(&self, _: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
            let (current, desired) = (self.state(&request.inputs), State::Present(artifact(&request.inputs).unwrap()));
            self.scribble(Fault::PreviewWrites, "elsewhere");
            if current == desired {
                return Ok(Preview { current, desired, changes: vec![], images: vec![] });
            }
            if current != State::Absent && !self.is(Fault::PreviewsTakenTag) {
                return Err(conflict());
            }
            self.source(&request.inputs)?;
            let change = FileChange { path: "tag".into(), before: None, after: Some(desired.to_string()) };
            let changes = if self.is(Fault::PreviewShowsNothing) { vec![] } else { vec![change] };
            Ok(Preview { current, desired, changes, images: vec![] })
        }

        async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
            let (inputs, current) = (&request.inputs, self.state(&request.inputs));
            let answer = |changed| Ok(EnsureAnswer { changed, detail: "done".into() });
            if current == request.desired {
                self.scribble(Fault::WritesTwice, "elsewhere");
                return answer(self.is(Fault::SaysChanged));
            }
            if current != State::Absent && !self.is(Fault::ReplacesTag) {
                return Err(conflict());
            }
            if current != request.expected && !self.is(Fault::IgnoresExpected) {
                return Err(conflict());
            }
            if cx.cancelled.is_cancelled() {
                self.scribble(Fault::WritesBeforeItLooks, "elsewhere");
            }
            // Four pieces, between which it can be stopped.
            for piece in 0..4 {
                if cx.cancelled.is_cancelled() && !self.is(Fault::IgnoresCancelling) {
                    if piece > 0 {
                        self.scribble(Fault::LeavesHalf, place(inputs));
                        self.scribble(Fault::CannotGoOn, "a lock");
                    }
                    return Err(ProviderError::new(ErrorKind::Cancelled, "stopped"));
                }
                if self.is(Fault::CannotGoOn) && self.places.get("a lock").is_some() {
                    return Err(ProviderError::new(ErrorKind::Failed, "locked"));
                }
                tokio::task::yield_now().await;
            }
            self.scribble(Fault::WritesBeforeItReads, "elsewhere");
            let text = self.source(inputs)?;
            match self.fault {
                Fault::WritesNothing => {}
                Fault::ChangesBytes => self.places.set(place(inputs), &format!("{text} ")),
                _ => self.places.set(place(inputs), text),
            }
            answer(!self.is(Fault::SaysUnchanged))
        }
    }

    async fn trial(fault: Fault) -> Result<(), Violation> {
        let places = Places::default();
        let inputs = |text: &str, place: &str| {
            let artifact = ArtifactInput {
                repository: place.into(),
                digest: of(text),
                tag: Some("1".into()),
                source: Some("built".into()),
                tree: Vec::new(),
            };
            Inputs {
                environment: "prod".parse().unwrap(),
                release: "r-0123456789ab".parse().unwrap(),
                target: promo_core::model::Target([].into()),
                settings: serde_json::Value::Null,
                artifacts: [("app".parse().unwrap(), artifact)].into(),
                files: [].into(),
            }
        };
        let cases = CopyCases {
            reference: "built:1",
            first: inputs("one", "a"),
            other: inputs("two", "a"),
            missing: inputs("three", "b"),
            interrupted: inputs("one", "c"),
            held: &|inputs| places.get(place(inputs)).map(|text| of(&text)),
            snapshot: &|| format!("{:?}", places.0.lock().unwrap()),
        };
        copies(&Copier { places: places.clone(), fault }, &context("."), &cases).await
    }

    #[tokio::test]
    async fn a_provider_that_keeps_the_contract_passes() {
        assert_eq!(trial(Fault::None).await, Ok(()));
    }

    #[tokio::test]
    async fn every_breach_is_found_and_named() {
        let told = "a preview tells what is there, what would be, and the change";
        let bytes = "the destination serves the digest of the source (S2.3)";
        let taken = "a destination tag that has another digest is refused (S2.3)";
        let gone = "a source that does not hold the artifact is an error that says so";
        for (fault, rule) in [
            (Fault::ResolvesAnything, "a tag that does not name the digest that was asked for is an error"),
            (Fault::ResolvesATreeWithoutTop, "the tree contains its own top"),
            (Fault::ResolveWrites, "`resolve` only reads"),
            (Fault::ObserveWrites, "`observe` only reads"),
            (Fault::PreviewWrites, "`preview` only reads"),
            (Fault::PreviewShowsNothing, told),
            (Fault::IgnoresExpected, "a copy from another state than the planned one is a conflict"),
            (Fault::ChangesBytes, bytes),
            (Fault::WritesNothing, bytes),
            (Fault::SaysUnchanged, "a copy that writes says so"),
            (Fault::WritesTwice, "a second `ensure` writes nothing"),
            (Fault::SaysChanged, "a second `ensure` says that it wrote nothing"),
            (Fault::ReplacesTag, taken),
            (Fault::PreviewsTakenTag, taken),
            (Fault::WritesBeforeItReads, "a refused copy writes nothing"),
            (Fault::HidesWhatIsMissing, "the error names the artifact that is missing"),
            (Fault::MissingIsDenied, gone),
            (Fault::IgnoresCancelling, "a cancelled copy says that it was cancelled"),
            (Fault::WritesBeforeItLooks, "a copy that was cancelled before it began writes nothing"),
            (Fault::LeavesHalf, "after a cancelled copy the artifact is there as a whole or not at all"),
            (Fault::CannotGoOn, "a cancelled copy can be made afterwards"),
        ] {
            let violation = trial(fault).await.unwrap_err();
            assert_eq!(violation.rule, rule, "{fault:?}: {}", violation.found);
        }
    }
}
