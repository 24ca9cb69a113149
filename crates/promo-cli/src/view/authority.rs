//! Who asked for a plan and who said what about it, format 1. What must not live here: how it is drawn.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::Decision;
use promo_core::ids::{EnvironmentName, IdentityName, RoleName, RunId};
use promo_core::ledger::View;
use promo_engine::{Authority, Session};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::CliError;

/// Who asked for a plan, and who said what about it: every record whose signature holds, in the order of the ledger.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct AuthorityView {
    /// The plan.
    pub(crate) plan: Digest,
    /// The run that used it; null while none has.
    pub(crate) run: Option<RunId>,
    /// The environments that it moves.
    pub(crate) environments: BTreeSet<EnvironmentName>,
    /// Who asked for it.
    pub(crate) requests: Vec<AskedView>,
    /// Who approved or rejected it, or took an approval back.
    pub(crate) statements: Vec<StatedView>,
}

/// A request for the approval of a plan.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct AskedView {
    /// When.
    pub(crate) at: Timestamp,
    /// Who: whoever signed, else the name that was claimed.
    pub(crate) by: String,
    /// The fingerprint of the key that signed; null where nobody did.
    pub(crate) key: Option<String>,
}

/// A signed statement about a plan.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct StatedView {
    /// When it was recorded.
    pub(crate) at: Timestamp,
    /// `approve`, `reject`, `revoke` or `breakglass`.
    pub(crate) decision: Decision,
    /// Whose key it is by the policy of now; null where policy knows the key no longer.
    pub(crate) by: Option<IdentityName>,
    /// In which role.
    pub(crate) role: RoleName,
    /// The fingerprint of the key that signed.
    pub(crate) key: String,
    /// Until when it counts.
    pub(crate) until: Timestamp,
    /// The reason that was given; it is not signed.
    pub(crate) reason: Option<String>,
    /// Whether the run that used the plan began with it.
    pub(crate) used: bool,
}

impl AuthorityView {
    /// What was said about these plans; those about which nothing was said are left out.
    pub(crate) fn of(
        session: &Session,
        view: &View,
        plans: impl IntoIterator<Item = Digest>,
    ) -> Result<Vec<Self>, CliError> {
        let told = session.authorities(view, plans)?.into_iter();
        let said = told.filter(|one| !one.requests.is_empty() || !one.statements.is_empty());
        Ok(said.map(Self::from).collect())
    }

    /// When the last of it was said.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.requests.iter().map(|asked| asked.at).chain(self.statements.iter().map(|stated| stated.at)).max()
    }

    /// Who let the run in that used the plan, each once.
    pub(crate) fn let_in(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.statements.iter().filter(|stated| stated.used).map(StatedView::who) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl StatedView {
    /// Who said it, or which key did.
    pub(crate) fn who(&self) -> String {
        self.by.as_ref().map_or_else(|| format!("the key {}", self.key), ToString::to_string)
    }
}

impl From<Authority> for AuthorityView {
    fn from(told: Authority) -> Self {
        let asked = told.requests.into_iter().map(|asked| {
            let (by, key) = match asked.signer {
                Some((who, key)) => (who.to_string(), Some(key.to_string())),
                None => (asked.name, None),
            };
            AskedView { at: asked.at, by, key }
        });
        let stated = told.statements.into_iter().map(|stated| StatedView {
            at: stated.at,
            decision: stated.decision,
            by: stated.identity,
            role: stated.role,
            key: stated.key.to_string(),
            until: stated.until,
            reason: stated.reason,
            used: stated.used,
        });
        Self {
            plan: told.plan,
            run: told.run,
            environments: told.environments,
            requests: asked.collect(),
            statements: stated.collect(),
        }
    }
}
