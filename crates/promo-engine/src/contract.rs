//! Every provider of a session stands behind this: a panic becomes an error, and an answer that breaks the contract never
//! reaches a decision. What is found is worded for the provider's author. What must not live here: knowledge of any
//! provider, or what is done about an error.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use promo_core::inputs::Inputs;
use promo_core::kinds::Place;
use promo_core::state::State;
use promo_sdk::{
    Attached, AttachedRequest, CheckRequest, CheckResult, Context, Description, DriftAnswer, DriftClass, DriftRequest,
    EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, MAX_DETAIL, MAX_EVIDENCE, ObserveRequest, Preview, Provider,
    ProviderError, ResolveRequest, Resolved, RunningImage, Settled, Typed,
};
use tokio_util::sync::CancellationToken;

/// A provider whose every answer is checked.
pub(crate) struct Policed {
    inner: Arc<dyn Provider>,
    /// What it said of itself when the session began, and all that is ever believed of it.
    description: Description,
    /// The same of whether its checks look at targets; they do where it cannot say.
    looks_at_targets: bool,
    /// The same of whether they look while a deployment is under way; they do not where it cannot say.
    looks_during: bool,
    /// Why it cannot be used: said by every call, since one broken provider is no reason to refuse pipelines without it.
    unusable: Option<String>,
}

impl Policed {
    pub(crate) fn new(inner: Arc<dyn Provider>) -> Self {
        let nothing = || Description {
            name: String::new(),
            version: String::new(),
            effects: EffectClass::Opaque,
            kinds: Vec::new(),
        };
        let (description, unusable) = match describe(inner.as_ref()) {
            Some(description) => {
                let wrong = wrong_description(&description);
                (description, wrong)
            }
            None => (nothing(), Some("it panicked".to_string())),
        };
        let looks_at_targets = catch_unwind(AssertUnwindSafe(|| inner.looks_at_targets())).unwrap_or(true);
        let looks_during = catch_unwind(AssertUnwindSafe(|| inner.looks_during())).unwrap_or(false);
        Self { inner, description, looks_at_targets, looks_during, unusable }
    }

    /// Makes one call of the provider: its panic is an error, its answer is judged by `wrong`.
    async fn call<T>(
        &self,
        verb: &str,
        call: impl AsyncFnOnce() -> Result<T, ProviderError>,
        wrong: impl FnOnce(&T) -> Option<String>,
    ) -> Result<T, ProviderError> {
        if let Some(wrong) = &self.unusable {
            return Err(self.broken("describe", wrong));
        }
        // The text of a panic may hold anything, secrets included; the panic itself has printed it for the author.
        // The call is made inside: a method written by hand can panic before there is a future.
        match AssertUnwindSafe(async { call().await }).catch_unwind().await {
            Err(_) => Err(self.broken(verb, "it panicked")),
            Ok(Err(error)) => Err(ProviderError {
                kind: error.kind,
                message: cut(error.message),
                expected: error.expected.map(cut),
                found: error.found.map(cut),
                shown_by: error.shown_by.map(|typed| Box::new(Typed(cut(typed.0)))),
            }),
            Ok(Ok(answer)) => match wrong(&answer) {
                Some(wrong) => Err(self.broken(verb, &wrong)),
                None => Ok(answer),
            },
        }
    }

    fn broken(&self, verb: &str, wrong: &str) -> ProviderError {
        let Description { name, version, .. } = &self.description;
        let message = format!("provider `{name}` {version} broke its contract in `{verb}`: {wrong}");
        ProviderError::new(ErrorKind::Broken, message)
    }
}

fn describe(provider: &dyn Provider) -> Option<Description> {
    catch_unwind(AssertUnwindSafe(|| provider.describe())).ok()
}

#[async_trait]
impl Provider for Policed {
    fn describe(&self) -> Description {
        self.description.clone()
    }

    async fn resolve(&self, cx: &Context, request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        self.call("resolve", async || self.inner.resolve(cx, request).await, |answer| wrong_resolved(request, answer))
            .await
    }

    async fn tags(&self, cx: &Context, repository: &str) -> Result<BTreeSet<String>, ProviderError> {
        let wrong = |tags: &BTreeSet<String>| tags.iter().find_map(|tag| wrong_line("tag", tag));
        self.call("tags", async || self.inner.tags(cx, repository).await, wrong).await
    }

    async fn created(&self, cx: &Context, request: &ResolveRequest) -> Result<Option<Timestamp>, ProviderError> {
        self.call("created", async || self.inner.created(cx, request).await, |_| None).await
    }

    async fn attached(&self, cx: &Context, request: &AttachedRequest) -> Result<Vec<Attached>, ProviderError> {
        self.call(
            "attached",
            async || self.inner.attached(cx, request).await,
            |answer| answer.iter().find_map(|one| wrong_line("media type", &one.media_type)),
        )
        .await
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.call("observe", async || self.inner.observe(cx, request).await, |_| None).await
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.call(
            "preview",
            async || self.inner.preview(cx, request).await,
            |answer| wrong_preview(&request.inputs, answer),
        )
        .await
    }

    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        self.call(
            "drift",
            async || self.inner.drift(cx, request).await,
            |answer| wrong_drift(&request.recorded, answer),
        )
        .await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        // How doubt about the effect is settled was decided by the description that the plan was made with.
        if self.unusable.is_none() && describe(self.inner.as_ref()).as_ref() != Some(&self.description) {
            return Err(self.broken("describe", "it describes itself otherwise than when this run began"));
        }
        self.call(
            "ensure",
            async || self.inner.ensure(cx, request).await,
            |answer| wrong_line("detail", &answer.detail),
        )
        .await
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<Settled, ProviderError> {
        self.call("settle", async || self.inner.settle(cx, request).await, wrong_settled).await
    }

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        self.call("lint", async || self.inner.lint(cx, inputs).await, |images| wrong_images(images)).await
    }

    async fn programs(&self, cx: &Context, inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        let wrong = |programs: &BTreeMap<String, String>| {
            let texts = programs.iter().flat_map(|(name, version)| [name, version]);
            texts.into_iter().find_map(|text| wrong_line("name or version of a program", text))
        };
        self.call("programs", async || self.inner.programs(cx, inputs).await, wrong).await
    }

    async fn ready(&self, cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        self.call("ready", async || self.inner.ready(cx, request).await, |()| None).await
    }

    fn looks_at_targets(&self) -> bool {
        self.looks_at_targets
    }

    fn looks_during(&self) -> bool {
        self.looks_during
    }

    async fn during(
        &self,
        cx: &Context,
        request: &CheckRequest,
        over: &CancellationToken,
    ) -> Result<CheckResult, ProviderError> {
        self.call("during", async || self.inner.during(cx, request, over).await, wrong_result).await
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        self.call("verify", async || self.inner.verify(cx, request).await, wrong_result).await
    }
}

fn wrong_result(answer: &CheckResult) -> Option<String> {
    let evidence = answer.evidence.iter().map(|(key, value)| key.len() + value.len()).sum();
    wrong_line("detail", &answer.detail).or_else(|| too_much("evidence", evidence))
}

fn wrong_description(description: &Description) -> Option<String> {
    if description.name.is_empty() || description.version.is_empty() {
        return Some("it needs a name and a version".into());
    }
    let mut kinds = BTreeSet::new();
    for kind in &description.kinds {
        if !kinds.insert((kind.place == Place::Deploy, &kind.kind)) {
            return Some(format!("the kind `{}` is described twice", kind.kind));
        }
        let mut keys = BTreeSet::new();
        if let Some(key) = kind.keys.iter().find(|key| !keys.insert(&key.name)) {
            return Some(format!("the setting `{}` of `{}` is described twice", key.name, kind.kind));
        }
    }
    None
}

fn wrong_resolved(request: &ResolveRequest, answer: &Resolved) -> Option<String> {
    let asked = request.reference.rsplit_once('@').map(|(_, digest)| digest);
    if let Some(asked) = asked.filter(|asked| *asked != answer.digest.to_string()) {
        return Some(format!("{asked} was asked for, and {} was answered", answer.digest));
    }
    if !answer.tree.contains(&answer.digest) {
        return Some(format!("the tree does not contain its own top, {}", answer.digest));
    }
    if let Some(stray) = answer.platforms.keys().find(|digest| !answer.tree.contains(digest)) {
        return Some(format!("{stray} is a platform, and not in the tree"));
    }
    let all = answer.metadata.iter().chain(&answer.contradicted).chain(&answer.said_where);
    let metadata = all.map(|(key, value)| key.len() + value.len()).sum();
    wrong_line("media type", &answer.media_type).or_else(|| too_much("metadata", metadata))
}

fn wrong_preview(inputs: &Inputs, answer: &Preview) -> Option<String> {
    if answer.desired == State::Unknown {
        return Some("what it would leave behind is unknown".into());
    }
    if answer.current == answer.desired && !answer.changes.is_empty() {
        return Some(format!("what is wanted is there, and {} changes are shown", answer.changes.len()));
    }
    // A copy has no target, and one artifact with a source: what it leaves behind is that artifact and nothing else.
    if let (true, Some(artifact)) = (inputs.target.0.is_empty(), inputs.artifacts.values().next())
        && artifact.source.is_some()
        && answer.desired != State::Present(artifact.digest)
    {
        return Some(format!("a copy of {} would leave {} behind", artifact.digest, answer.desired));
    }
    if let Some(wrong) = wrong_images(&answer.images) {
        return Some(wrong);
    }
    let mut paths = BTreeSet::new();
    for change in &answer.changes {
        if change.before.is_none() && change.after.is_none() {
            return Some(format!("the change of `{}` has neither a before nor an after", change.path));
        }
        if !paths.insert(&change.path) {
            return Some(format!("the change of `{}` is shown twice", change.path));
        }
        if let Some(wrong) = wrong_line("path of a change", &change.path) {
            return Some(wrong);
        }
    }
    None
}

fn wrong_drift(recorded: &State, answer: &DriftAnswer) -> Option<String> {
    let mut objects = BTreeSet::new();
    for object in &answer.objects {
        if !objects.insert(&object.object) {
            return Some(format!("`{}` is told twice", object.object));
        }
        if let Some(wrong) = wrong_line("name of an object", &object.object) {
            return Some(wrong);
        }
        if let Some(field) = object.fields.iter().find(|field| field.recorded.is_none() && field.live.is_none()) {
            return Some(format!("`{}` of `{}` is neither recorded nor there", field.path, object.object));
        }
        let classes = std::iter::once(object.class).chain(object.fields.iter().map(|field| field.class));
        if answer.live == *recorded && classes.into_iter().any(|class| class == DriftClass::Deleted) {
            return Some(format!("the recorded state is there, and of `{}` something is gone", object.object));
        }
    }
    let undeclared = answer.undeclared.iter().find_map(|one| wrong_line("name of what no file declares", one));
    undeclared.or_else(|| answer.note.as_ref().and_then(|note| wrong_line("note", note)))
}

fn wrong_settled(answer: &Settled) -> Option<String> {
    let bytes = answer.images.iter().map(|image| image.place.len() + image.running.len()).sum();
    let line = |image: &RunningImage| {
        let declared = image.declared.as_ref().and_then(|declared| wrong_line("image", declared));
        declared.or_else(|| wrong_line("place", &image.place)).or_else(|| wrong_line("running image", &image.running))
    };
    answer.images.iter().find_map(line).or_else(|| too_much("list of what runs", bytes))
}

fn wrong_images(images: &[String]) -> Option<String> {
    let bytes = images.iter().map(String::len).sum();
    images.iter().find_map(|image| wrong_line("image", image)).or_else(|| too_much("list of images", bytes))
}

fn wrong_line(what: &str, text: &str) -> Option<String> {
    match text {
        "" => Some(format!("the {what} is empty")),
        text if text.len() > MAX_DETAIL => {
            Some(format!("the {what} has {} bytes: at most {MAX_DETAIL} are taken", text.len()))
        }
        text if text.contains('\n') => Some(format!("the {what} has more than one line")),
        // `\r` and ESC among them: they rewrite the line that they stand in.
        text if text.contains(char::is_control) => Some(format!("the {what} has control characters")),
        _ => None,
    }
}

fn too_much(what: &str, bytes: usize) -> Option<String> {
    (bytes > MAX_EVIDENCE).then(|| format!("the {what} has {bytes} bytes: at most {MAX_EVIDENCE} are taken"))
}

/// What an error says stays an error, however long its sentence is.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        let end = (0..=MAX_DETAIL).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    use promo_core::Digest;
    use promo_core::inputs::{ArtifactInput, FileChange};
    use promo_core::kinds::KindSchema;
    use promo_sdk::testing::context;

    use super::*;

    /// Answers as it is told to; `None` is a panic.
    #[derive(Default)]
    struct Told {
        resolved: Option<Resolved>,
        preview: Option<Preview>,
        ensured: Option<EnsureAnswer>,
        checked: Option<Result<CheckResult, ProviderError>>,
        kinds: Vec<KindSchema>,
        opaque: AtomicBool,
    }

    const PANIC: &str = "a canary-secret that nobody should read";

    #[async_trait]
    impl Provider for Told {
        fn describe(&self) -> Description {
            let opaque = self.opaque.load(Ordering::SeqCst);
            let effects = if opaque { EffectClass::Opaque } else { EffectClass::Observable };
            Description { name: "told".into(), version: "1".into(), effects, kinds: self.kinds.clone() }
        }
        async fn resolve(&self, _: &Context, _: &ResolveRequest) -> Result<Resolved, ProviderError> {
            Ok(self.resolved.clone().expect(PANIC))
        }
        async fn observe(&self, _: &Context, _: &ObserveRequest) -> Result<State, ProviderError> {
            panic!("{PANIC}")
        }
        async fn preview(&self, _: &Context, _: &ObserveRequest) -> Result<Preview, ProviderError> {
            Ok(self.preview.clone().expect(PANIC))
        }
        async fn ensure(&self, _: &Context, _: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
            Ok(self.ensured.clone().expect(PANIC))
        }
        async fn verify(&self, _: &Context, _: &CheckRequest) -> Result<CheckResult, ProviderError> {
            self.checked.clone().expect(PANIC)
        }
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn inputs() -> Inputs {
        let artifact = ArtifactInput {
            repository: "oci-layout:prod".into(),
            digest: digest("app"),
            tag: None,
            source: Some("oci-layout:images".into()),
            tree: vec![],
        };
        Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings: serde_json::Value::Null,
            artifacts: [("app".parse().unwrap(), artifact)].into(),
            files: [].into(),
        }
    }

    fn ensure() -> EnsureRequest {
        let (expected, desired) = (State::Absent, State::Present(digest("app")));
        EnsureRequest {
            inputs: inputs(),
            expected,
            desired,
            changes: Vec::new(),
            token: "run/step".into(),
            epoch: 1,
            ledger: String::new(),
        }
    }

    async fn everything(told: Told, reference: &str) -> [Result<(), ProviderError>; 5] {
        let (policed, cx) = (Policed::new(Arc::new(told)), context("."));
        let observe = ObserveRequest { inputs: inputs() };
        let check = CheckRequest { inputs: inputs(), check: "smoke".into(), token: "run".into() };
        [
            policed.resolve(&cx, &ResolveRequest { reference: reference.into() }).await.map(|_| ()),
            policed.observe(&cx, &observe).await.map(|_| ()),
            policed.preview(&cx, &observe).await.map(|_| ()),
            policed.ensure(&cx, &ensure()).await.map(|_| ()),
            policed.verify(&cx, &check).await.map(|_| ()),
        ]
    }

    fn says(result: &Result<(), ProviderError>, expected: &str) {
        let error = result.as_ref().expect_err(expected);
        assert_eq!(error.kind, ErrorKind::Broken, "{error}");
        assert!(error.message.starts_with("provider `told` 1 broke its contract in `"), "{error}");
        assert!(error.message.ends_with(expected), "{error}");
    }

    #[tokio::test]
    async fn a_panic_in_any_call_is_an_error_that_does_not_repeat_its_text() {
        for result in everything(Told::default(), "a:1").await {
            says(&result, "it panicked");
        }
    }

    /// Written by hand, without `async`: it panics before there is a future.
    struct Early;

    impl Provider for Early {
        fn describe(&self) -> Description {
            Told::default().describe()
        }
        fn observe<'life0, 'life1, 'life2, 'async_trait>(
            &'life0 self,
            _: &'life1 Context,
            _: &'life2 ObserveRequest,
        ) -> Pin<Box<dyn Future<Output = Result<State, ProviderError>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            'life1: 'async_trait,
            'life2: 'async_trait,
            Self: 'async_trait,
        {
            panic!("{PANIC}")
        }
    }

    #[tokio::test]
    async fn a_panic_before_there_is_a_future_is_an_error_too() {
        let policed = Policed::new(Arc::new(Early));
        let result = policed.observe(&context("."), &ObserveRequest { inputs: inputs() }).await;
        says(&result.map(|_| ()), "it panicked");
    }

    #[tokio::test]
    async fn every_text_of_an_error_is_bounded() {
        let long = "x".repeat(MAX_DETAIL + 1);
        let error = ProviderError::new(ErrorKind::Conflict, "differs").differs(&long, &long);
        let [.., checked] = everything(Told { checked: Some(Err(error)), ..Told::default() }, "a:1").await;
        let error = checked.unwrap_err();
        for text in [error.expected.unwrap(), error.found.unwrap()] {
            assert_eq!(text.len(), MAX_DETAIL + " …".len());
        }
    }

    #[tokio::test]
    async fn an_artifact_that_was_not_asked_for_is_no_answer() {
        let resolved = |tree| Resolved {
            digest: digest("app"),
            media_type: "application/vnd.oci.image.index.v1+json".into(),
            size: 1,
            tree,
            platforms: [].into(),
            nature: None,
            metadata: [].into(),
            said_where: [].into(),
            contradicted: [].into(),
        };
        let told = |resolved| Told { resolved: Some(resolved), ..Told::default() };
        let asked = format!("oci-layout:images:1@{}", digest("other"));
        let [result, ..] = everything(told(resolved(vec![digest("app")])), &asked).await;
        says(&result, &format!("{} was asked for, and {} was answered", digest("other"), digest("app")));
        let [result, ..] = everything(told(resolved(vec![digest("app")])), "oci-layout:images:1").await;
        assert_eq!(result, Ok(()));
        let [result, ..] = everything(told(resolved(vec![])), "a:1").await;
        says(&result, &format!("the tree does not contain its own top, {}", digest("app")));
        let platforms = [(digest("elsewhere"), None)].into();
        let [result, ..] = everything(told(Resolved { platforms, ..resolved(vec![digest("app")]) }), "a:1").await;
        says(&result, &format!("{} is a platform, and not in the tree", digest("elsewhere")));
        let metadata = [("label".to_string(), "x".repeat(MAX_EVIDENCE))].into();
        let [result, ..] = everything(told(Resolved { metadata, ..resolved(vec![digest("app")]) }), "a:1").await;
        says(&result, "the metadata has 65541 bytes: at most 65536 are taken");
    }

    #[tokio::test]
    async fn a_preview_that_contradicts_itself_or_its_request_is_no_answer() {
        let wanted = State::Present(digest("app"));
        let change = |path: &str, after: Option<&str>| FileChange {
            path: path.into(),
            before: None,
            after: after.map(Into::into),
        };
        let good = || Preview {
            current: State::Absent,
            desired: wanted,
            changes: vec![change("a", Some("1"))],
            images: vec![],
        };
        for (preview, expected) in [
            (Preview { desired: State::Unknown, ..good() }, "what it would leave behind is unknown".to_string()),
            (Preview { current: wanted, ..good() }, "what is wanted is there, and 1 changes are shown".into()),
            (
                Preview { desired: State::Present(digest("other")), ..good() },
                format!("a copy of {} would leave sha256:{} behind", digest("app"), digest("other").hex()),
            ),
            (
                Preview { changes: vec![change("a", None)], ..good() },
                "the change of `a` has neither a before nor an after".into(),
            ),
            (
                Preview { changes: vec![change("a", Some("1")), change("a", Some("2"))], ..good() },
                "the change of `a` is shown twice".into(),
            ),
            (Preview { changes: vec![change("", Some("1"))], ..good() }, "the path of a change is empty".into()),
        ] {
            let [_, _, result, ..] = everything(Told { preview: Some(preview), ..Told::default() }, "a:1").await;
            says(&result, &expected);
        }
        let [_, _, result, ..] = everything(Told { preview: Some(good()), ..Told::default() }, "a:1").await;
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn details_and_evidence_are_one_line_and_bounded() {
        let long = "x".repeat(MAX_DETAIL + 1);
        for (detail, expected) in [
            ("", "the detail is empty"),
            ("a\nb", "the detail has more than one line"),
            ("fine\rbad", "the detail has control characters"),
            ("a\u{1b}[2Kb", "the detail has control characters"),
            (long.as_str(), "the detail has 8193 bytes: at most 8192 are taken"),
        ] {
            let answer = EnsureAnswer { changed: true, detail: detail.into() };
            let check = CheckResult { passed: true, detail: detail.into(), evidence: [].into() };
            let told = Told { ensured: Some(answer), checked: Some(Ok(check)), ..Told::default() };
            let [_, _, _, ensured, checked] = everything(told, "a:1").await;
            says(&ensured, expected);
            says(&checked, expected);
        }
        let evidence = [("output".to_string(), "x".repeat(MAX_EVIDENCE))].into();
        let check = CheckResult { passed: true, detail: "fine".into(), evidence };
        let [.., checked] = everything(Told { checked: Some(Ok(check)), ..Told::default() }, "a:1").await;
        says(&checked, "the evidence has 65542 bytes: at most 65536 are taken");
        let error = ProviderError::new(ErrorKind::Denied, "é".repeat(MAX_DETAIL));
        let [.., checked] = everything(Told { checked: Some(Err(error)), ..Told::default() }, "a:1").await;
        let error = checked.unwrap_err();
        assert_eq!((error.kind, error.message.len()), (ErrorKind::Denied, MAX_DETAIL + " …".len()));
    }

    #[tokio::test]
    async fn a_class_of_effects_that_changes_in_mid_run_stops_the_step_before_it_acts() {
        let answer = EnsureAnswer { changed: true, detail: "done".into() };
        let told = Arc::new(Told { ensured: Some(answer), ..Told::default() });
        let policed = Policed::new(told.clone());
        assert!(policed.ensure(&context("."), &ensure()).await.is_ok());
        told.opaque.store(true, Ordering::SeqCst);
        let result = policed.ensure(&context("."), &ensure()).await.map(|_| ());
        says(&result, "it describes itself otherwise than when this run began");
        assert_eq!(policed.describe().effects, EffectClass::Observable, "what it said first is what counts");
    }

    #[tokio::test]
    async fn a_description_that_is_ambiguous_makes_every_call_an_error() {
        let kind = KindSchema {
            place: Place::Check,
            kind: "told".into(),
            about: String::new(),
            keys: Vec::new(),
            target_keys: Vec::new(),
        };
        for result in everything(Told { kinds: vec![kind.clone(), kind], ..Told::default() }, "a:1").await {
            says(&result, "the kind `told` is described twice");
        }
    }
}
