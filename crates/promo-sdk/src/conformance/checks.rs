//! What a provider that checks must do.

use std::sync::Arc;

use promo_core::kinds::Place;
use secrecy::SecretString;

use super::{Violation, cancellable, cancelled_after, described, failed, line, must};
use crate::context::{Context, Secrets};
use crate::error::{ErrorKind, ProviderError};
use crate::provider::{CheckRequest, CheckResult, Inputs, MAX_EVIDENCE, Provider};

/// The secret that [`checks`] gives for every name that it is asked for. It must be in no answer.
pub const SECRET: &str = "canary-6f1c0e52-never-to-be-seen";

/// What [`checks`] needs to try a provider.
pub struct CheckCases<'a> {
    /// Checks what is as it should be.
    pub passing: Inputs,
    /// Checks what is not as it should be.
    pub failing: Inputs,
    /// Cannot be made, by name: its tool is missing, the server that it asks *about* the environment fails, its settings make
    /// no sense. An environment that does not answer is no such case: that is what a check is there to find.
    pub broken: &'a [(&'a str, Inputs)],
    /// Would find nothing for as long as it looked, and has a timeout.
    pub endless: Inputs,
    /// Sees far more than can be kept.
    pub loud: Inputs,
}

/// How often a check is asked the same: it must answer the same.
const TIMES: usize = 3;

/// Turns that an endless check gets before it is cancelled.
const TURNS: usize = 3;

/// Tries a provider that checks.
///
/// # Errors
/// The first [`Violation`].
pub async fn checks(provider: &dyn Provider, cx: &Context, cases: &CheckCases<'_>) -> Result<(), Violation> {
    let description = described(provider)?;
    let offered = description.kinds.iter().any(|kind| kind.place == Place::Check && kind.kind == description.name);
    must(offered, "a provider that checks offers a check of its name", || format!("{:?}", description.kinds))?;
    let cx = Context { secrets: Arc::new(Canary), ..cx.clone() };

    for _ in 0..TIMES {
        let good = ask(provider, &cx, &cases.passing).await?.map_err(failed("a check of what is good is made"))?;
        must(good.passed, "what is as it should be passes, every time", || good.detail.clone())?;
        let bad = ask(provider, &cx, &cases.failing).await?.map_err(failed("a check of what is bad is made"))?;
        must(!bad.passed, "what is not as it should be fails, every time", || bad.detail.clone())?;
    }
    // What it saw is bounded, whether it was good or bad.
    ask(provider, &cx, &cases.loud).await?.map_err(failed("a check that sees much is made"))?;

    for (name, inputs) in cases.broken {
        if let Ok(answer) = ask(provider, &cx, inputs).await? {
            return Err(Violation {
                rule: "a check that cannot be made is an error, and never a verdict (S1.3)",
                found: format!("{name}: {answer:?}"),
            });
        }
    }
    if let Ok(answer) = ask(provider, &cx, &cases.endless).await? {
        must(!answer.passed, "a timeout is never a pass", || answer.detail.clone())?;
    }

    for turns in [0, TURNS] {
        let (cx, token) = cancellable(&cx);
        if turns == 0 {
            token.cancel();
        }
        let (answer, _) = cancelled_after(token, turns, ask(provider, &cx, &cases.endless)).await;
        match answer? {
            Err(error) if error.kind == ErrorKind::Cancelled => {}
            answer => {
                return Err(Violation {
                    rule: "a cancelled check says that it was cancelled, and nothing of what it checked",
                    found: format!("{answer:?} after {turns} turns"),
                });
            }
        }
    }
    Ok(())
}

/// Asks for a check. Whatever is answered is fit to be kept and shown.
async fn ask(
    provider: &dyn Provider,
    cx: &Context,
    inputs: &Inputs,
) -> Result<Result<CheckResult, ProviderError>, Violation> {
    let request = CheckRequest { inputs: inputs.clone(), check: "conformance".to_owned(), token: "run".to_owned() };
    let answer = provider.verify(cx, &request).await;
    // Before the text is judged by anything that would repeat it.
    let secret = format!("{answer:?}").contains(SECRET);
    must(!secret, "no answer contains a secret (S13.4)", || "the canary is in it".to_owned())?;
    match &answer {
        Ok(result) => {
            line(&result.detail, "the detail of a check is one bounded line")?;
            let bytes: usize = result.evidence.iter().map(|(key, value)| key.len() + value.len()).sum();
            must(bytes <= MAX_EVIDENCE, "evidence is bounded", || format!("{bytes} bytes"))?;
        }
        Err(error) => line(&error.message, "the message of an error is one bounded line")?,
    }
    Ok(answer)
}

/// The same secret under every name.
struct Canary;

impl Secrets for Canary {
    fn get(&self, _name: &str) -> Option<SecretString> {
        Some(SECRET.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use promo_core::kinds::KindSchema;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;
    use crate::provider::{Description, EffectClass};
    use crate::testing::context;

    /// What the provider under test does wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        NoCheck,
        AlwaysFails,
        AlwaysPasses,
        PassesOnce,
        PassesWithoutItsTool,
        FailsWithoutItsTool,
        PassesOnTimeout,
        IgnoresCancelling,
        JudgesWhenCancelled,
        ShowsASecret,
        FailsWithASecret,
        KeepsEverything,
        SaysEverything,
        SaysNothing,
    }

    struct Told {
        fault: Fault,
        asked: AtomicUsize,
    }

    impl Told {
        fn is(&self, fault: Fault) -> bool {
            self.fault == fault
        }
    }

    #[async_trait]
    impl Provider for Told {
        fn describe(&self) -> Description {
            let place = if self.is(Fault::NoCheck) { Place::Deploy } else { Place::Check };
            let (kind, about, keys, target_keys) = ("told".into(), String::new(), Vec::new(), Vec::new());
            let kinds = vec![KindSchema { place, kind, about, keys, target_keys }];
            Description { name: "told".into(), version: "1".into(), effects: EffectClass::Observable, kinds }
        }

        async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
            let says = |passed, detail: &str| {
                let evidence = [("output".to_owned(), detail.to_owned())].into();
                Ok(CheckResult { passed, detail: detail.to_owned(), evidence })
            };
            let secret = cx.secrets.get("token");
            let secret = secret.as_ref().map_or("", |secret| secret.expose_secret());
            match request.inputs.settings["case"].as_str().unwrap() {
                "passing" if self.is(Fault::AlwaysFails) => says(false, "no"),
                "passing" if self.is(Fault::ShowsASecret) => says(true, &format!("asked with {secret}")),
                "passing" if self.is(Fault::SaysNothing) => says(true, ""),
                "passing" => says(true, "yes"),
                "failing" if self.is(Fault::AlwaysPasses) => says(true, "yes"),
                "failing" if self.is(Fault::PassesOnce) => {
                    says(self.asked.fetch_add(1, Ordering::SeqCst) == TIMES - 1, "perhaps")
                }
                "failing" => says(false, "no"),
                "broken" if self.is(Fault::PassesWithoutItsTool) => says(true, "nothing was found"),
                "broken" if self.is(Fault::FailsWithoutItsTool) => says(false, "nothing was found"),
                "broken" if self.is(Fault::FailsWithASecret) => {
                    Err(ProviderError::new(ErrorKind::Denied, format!("{secret} was refused")))
                }
                "broken" => Err(ProviderError::new(ErrorKind::NotFound, "there is no such tool")),
                "loud" if self.is(Fault::SaysEverything) => says(true, &"x".repeat(100_000)),
                "loud" if self.is(Fault::KeepsEverything) => {
                    let evidence = [("output".to_owned(), "x".repeat(100_000))].into();
                    Ok(CheckResult { passed: true, detail: "much".into(), evidence })
                }
                "loud" => says(true, "much"),
                _ => {
                    // As long as it takes: nobody looks at a clock here.
                    for _ in 0..20 {
                        if cx.cancelled.is_cancelled() && !self.is(Fault::IgnoresCancelling) {
                            if self.is(Fault::JudgesWhenCancelled) {
                                return says(false, "stopped");
                            }
                            return Err(ProviderError::new(ErrorKind::Cancelled, "stopped"));
                        }
                        tokio::task::yield_now().await;
                    }
                    says(self.is(Fault::PassesOnTimeout), "nothing for a long time")
                }
            }
        }
    }

    async fn trial(fault: Fault) -> Result<(), Violation> {
        let inputs = |case: &str| Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings: json!({"case": case}),
            artifacts: [].into(),
            files: [].into(),
        };
        let cases = CheckCases {
            passing: inputs("passing"),
            failing: inputs("failing"),
            broken: &[("no tool", inputs("broken"))],
            endless: inputs("endless"),
            loud: inputs("loud"),
        };
        checks(&Told { fault, asked: AtomicUsize::new(0) }, &context("."), &cases).await
    }

    #[tokio::test]
    async fn a_provider_that_keeps_the_contract_passes() {
        assert_eq!(trial(Fault::None).await, Ok(()));
    }

    #[tokio::test]
    async fn every_breach_is_found_and_named() {
        let no_verdict = "a check that cannot be made is an error, and never a verdict (S1.3)";
        let cancelled = "a cancelled check says that it was cancelled, and nothing of what it checked";
        let secret = "no answer contains a secret (S13.4)";
        for (fault, rule) in [
            (Fault::NoCheck, "a provider that checks offers a check of its name"),
            (Fault::AlwaysFails, "what is as it should be passes, every time"),
            (Fault::AlwaysPasses, "what is not as it should be fails, every time"),
            (Fault::PassesOnce, "what is not as it should be fails, every time"),
            (Fault::PassesWithoutItsTool, no_verdict),
            (Fault::FailsWithoutItsTool, no_verdict),
            (Fault::PassesOnTimeout, "a timeout is never a pass"),
            (Fault::IgnoresCancelling, cancelled),
            (Fault::JudgesWhenCancelled, cancelled),
            (Fault::ShowsASecret, secret),
            (Fault::FailsWithASecret, secret),
            (Fault::KeepsEverything, "evidence is bounded"),
            (Fault::SaysEverything, "the detail of a check is one bounded line"),
            (Fault::SaysNothing, "the detail of a check is one bounded line"),
        ] {
            let violation = trial(fault).await.unwrap_err();
            assert_eq!(violation.rule, rule, "{fault:?}: {}", violation.found);
            assert!(!violation.to_string().contains(SECRET));
        }
    }
}
