//! What the engine says, as an error of the command line: whose turn it is and the next command. Part of the one place
//! where errors are worded; kept apart from `error` because it knows the engine.

use promo_core::gate::{Gate, GateKind};
use promo_engine::EngineError;

use crate::error::{CliError, command_line, who};

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        let (code, exit) = (error.code(), error.exit_code());
        let message = error.to_string();
        let new = |next: &str| Self::new(code, exit, message.clone(), next);
        let mut out = match &error {
            EngineError::Ledger(_) | EngineError::Illegal(_) | EngineError::NotAnExtension { .. } => {
                new("promo ledger verify").who(who::OPERATOR)
            }
            EngineError::Lease(_) => new("promo runs"),
            EngineError::Append(_) => new("promo runs"),
            EngineError::Provider { source, .. } => {
                let mut out = new("promo doctor").details([source.to_string()]);
                if let (Some(expected), Some(found)) = (&source.expected, &source.found) {
                    out = out.differs(expected.clone(), found.clone());
                }
                return out;
            }
            EngineError::NoProvider(_) => new("promo check").who(who::PIPELINE),
            EngineError::File { .. } => new("promo check").who(who::PIPELINE),
            EngineError::PlanFile(_) => new("promo plan --out plan.json").expected("the very bytes that promo wrote"),
            EngineError::OtherDigest { expected, found } => {
                new("promo show plan.json").differs(expected.to_string(), found.to_string())
            }
            EngineError::Elsewhere { planned, current, .. } => {
                new("promo plan --out plan.json").differs(current.clone(), planned.clone())
            }
            EngineError::Stale { moved, by } => {
                let change = |v: &Option<String>| v.clone().unwrap_or_else(|| "nothing".into());
                let lines = moved
                    .iter()
                    .map(|m| format!("{}: planned {}, now {}", m.input, change(&m.planned), change(&m.current)));
                new("promo plan --out plan.json").details(lines.chain(by.clone()))
            }
            EngineError::Spent { run: Some(_), .. } => new("promo runs"),
            EngineError::Spent { .. } => new("promo plan --out plan.json"),
            EngineError::Denied { environment, release, gates } => {
                closed(new(&why(environment.as_str(), release.as_str())), gates)
            }
            EngineError::Waiting { environment, release, gates } => {
                closed(new(&why(environment.as_str(), release.as_str())), gates)
            }
            EngineError::Invalid(_) => new("promo status"),
            EngineError::Approval(_) => new("promo approve --help"),
            EngineError::Stopped => new("promo runs"),
        };
        if let Some(source) = std::error::Error::source(&error) {
            out = out.because(source);
        }
        out
    }
}

fn why(environment: &str, release: &str) -> String {
    command_line(["promo", "why", environment, release])
}

/// The closed gates, a line each, and whose turn it is.
fn closed(error: CliError, gates: &[Gate]) -> CliError {
    let shut: Vec<&Gate> = gates.iter().filter(|g| !g.outcome.is_open()).collect();
    let who = match shut.first().map(|g| g.kind) {
        Some(GateKind::Approval) => "the approvers named below",
        Some(GateKind::Window | GateKind::Soak | GateKind::Arrival) => "time",
        _ => "whoever answers for the release",
    };
    error.who(who).details(shut.iter().map(|g| {
        let until = g.until.map(|t| format!(" (until {t})")).unwrap_or_default();
        format!("{}{until}", g.reason)
    }))
}
