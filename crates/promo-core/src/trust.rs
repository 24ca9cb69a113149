//! The trust file: where the ledger is and where policy comes from, said by the runner and never by the application
//! (S0.1). What lives here: its form and the comparison with what a pipeline repeats. What must not: looking for it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::Digest;
use crate::config::{self, Checker, Limits, Node, Parsed, Places, Repeated, START, Table, keys};
use crate::diagnostic::Diagnostic;
use crate::plan::LedgerRef;
use crate::policy::Policy;

/// A trust file that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The ledger: a path, relative to the file, or a URL.
    pub ledger: String,
    /// The policy.
    pub policy: PolicyOrigin,
    /// The checkpoint that the ledger must extend: without one, any ledger at that place is taken.
    pub checkpoint: Option<LedgerRef>,
}

/// Where policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOrigin {
    /// Its file, relative to the trust file.
    pub path: String,
    /// The digest that the file must have.
    pub digest: Option<Digest>,
}

/// Reads a trust file: what it says if it has no error, and every diagnostic in the order of the text.
#[must_use]
pub fn trust(text: &str) -> (Option<Trust>, Vec<Diagnostic>) {
    let Parsed { root, diagnostics: syntax } = config::parse(text, &Limits::default());
    let Some(root) = root else { return (None, syntax) };
    let mut checker = Checker::new(&[]);
    checker.table(&root, &START, keys::TRUST_FILE);
    let policy = root.table("policy");
    let digest = policy.and_then(|policy| digest_of(policy, "digest", &mut checker));
    let pinned = root.table("checkpoint");
    let checkpoint = pinned.and_then(|table| {
        let head = digest_of(table, "root", &mut checker);
        let size = table.get("size").and_then(Node::integer).and_then(|size| u64::try_from(size).ok());
        Some(LedgerRef { origin: table.text("origin")?.to_string(), size: size?, root: head? })
    });
    let diagnostics = config::settle(text, syntax, checker.out);
    let trust = root.text("ledger").zip(policy.and_then(|p| p.text("path"))).map(|(ledger, path)| Trust {
        ledger: ledger.to_string(),
        policy: PolicyOrigin { path: path.to_string(), digest },
        checkpoint,
    });
    // A checkpoint that could not be read is never one that was left out.
    let whole = |trust: &Trust| trust.checkpoint.is_some() == root.get("checkpoint").is_some();
    (trust.filter(|t| whole(t) && !diagnostics.iter().any(Diagnostic::is_error)), diagnostics)
}

/// The digest behind a key; told where it is none. The checker has told what is no text, or empty.
fn digest_of(table: &Table, key: &str, checker: &mut Checker<'_>) -> Option<Digest> {
    let node = table.get(key)?;
    match node.text().filter(|text| !text.is_empty())?.parse::<Digest>() {
        Ok(digest) => Some(digest),
        Err(error) => {
            checker.push(Diagnostic::at("trust-digest", node.span.clone(), error.to_string()));
            None
        }
    }
}

impl Trust {
    /// What a pipeline says of ledger and policy and the trust file does not: each an error, at its place in the
    /// pipeline's text.
    #[must_use]
    pub fn compare(&self, repeated: &Repeated, places: &Places) -> Vec<Diagnostic> {
        let pairs = [("ledger", &repeated.ledger, &self.ledger), ("policy", &repeated.policy, &self.policy.path)];
        let mut out = Vec::new();
        for (key, said, trusted) in pairs {
            if let Some(said) = said.as_ref().filter(|said| *said != trusted) {
                let message = format!("the pipeline names the {key} `{said}`, and the trust file names `{trusted}`");
                let mut diagnostic = Diagnostic::new("trust-differs", message);
                if let Some(span) = places.get(&format!("pipeline.{key}")) {
                    diagnostic = diagnostic.label(span, "");
                }
                out.push(diagnostic.help("take the key out: the trust file alone decides"));
            }
        }
        out
    }

    /// Refuses a policy whose file is not the pinned one.
    ///
    /// # Errors
    /// `trust-policy`, with both digests.
    pub fn admit(&self, policy: &Policy) -> Result<(), Diagnostic> {
        match self.policy.digest {
            Some(pinned) if pinned != policy.digest => {
                let message = format!("the trust file pins the policy {pinned}, and this one is {}", policy.digest);
                Err(Diagnostic::new("trust-policy", message)
                    .help("use the pinned policy, or have the runner's owner pin the new one"))
            }
            _ => Ok(()),
        }
    }
}
