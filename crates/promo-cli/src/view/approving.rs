//! What brings a plan further that people have to agree to, and who can do it: one definition for every screen that ends with it.
//! What must not live here: whether somebody may approve, which the engine decides.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use promo_core::Digest;
use promo_core::approval::{ApprovalProblem, Evaluation, Roster};
use promo_core::ids::{EnvironmentName, RoleName};
use promo_core::ledger::View;
use promo_core::model::Party;
use promo_core::plan::Document;
use promo_engine::Session;

use super::ways::new_release;
use crate::commands::plan::again;
use crate::commands::release::name_authors;
use crate::error::{CliError, command_line, who};

/// A command that leads on, and who can type it.
pub(crate) struct Way {
    /// The command.
    pub(crate) next: String,
    /// Who.
    pub(crate) who: Cow<'static, str>,
}

impl Way {
    fn new<'w>(words: impl IntoIterator<Item = &'w str>, who: impl Into<Cow<'static, str>>) -> Self {
        Self { next: command_line(words), who: who.into() }
    }
}

/// What leads on from how the rules of a plan stand that lies in a file; nothing where all of them are satisfied. `signer` are the
/// words that whoever signed before has chosen a signer with.
pub(crate) fn lead_on(
    session: &Session,
    view: &View,
    (document, digest): (&Document, &Digest),
    standings: &BTreeMap<EnvironmentName, Evaluation>,
    (file, signer): (&str, &[&str]),
) -> Result<Option<Way>, CliError> {
    let roster = &session.governance().roster;
    let open: Vec<(&EnvironmentName, &Evaluation)> = standings.iter().filter(|(_, one)| !one.satisfied()).collect();
    if open.is_empty() {
        return Ok(None);
    }
    let again = again(&document.body.request, file);
    let again = |who: &'static str| Some(Way::new(again.iter().map(String::as_str), who));
    if open.iter().any(|(_, one)| !one.rejections.is_empty() || one.lost(roster)) {
        return Ok(again("whoever plans it anew"));
    }
    for entry in &document.body.moves {
        if let Some(one) = session.unwritten(view, entry)?.into_iter().next() {
            return Ok(Some(match &one.author {
                None => Way::new(name_authors(&one.release), "somebody who knows who wrote it, with their key"),
                Some(_) => Way::new(["promo", "explain", "approval-unmapped-party"], who::PLATFORM),
            }));
        }
    }
    let problems = || open.iter().flat_map(|(_, one)| &one.rules).flat_map(|rule| &rule.problems);
    let unbuilt = |one: &ApprovalProblem| matches!(one, ApprovalProblem::UnnamedParty { party: Party::Builder, .. });
    if problems().any(unbuilt) {
        return Ok(Some(Way {
            next: new_release(session),
            who: "whoever builds it, with a release that says so".into(),
        }));
    }
    let unsigned = session.needs_signed_request(digest, open.iter().map(|(name, _)| *name)).is_err();
    if unsigned || !view.requests.contains_key(digest) {
        let key: &[&str] = if unsigned { &["--key", "KEY"] } else { &[] };
        let words = ["promo", "request", file].into_iter().chain(key.iter().copied());
        return Ok(Some(Way::new(words, "whoever asks for the promotion")));
    }
    if let Some((_, short)) = open.iter().find(|(_, one)| !one.enough(roster)) {
        let parts: BTreeSet<Party> =
            short.rules.iter().flat_map(|rule| &rule.excluded).map(|(_, part)| *part).collect();
        return Ok(match parts.last() {
            None => Some(Way::new(["promo", "explain", "approvals"], who::PLATFORM)),
            Some(Party::Initiator) if parts.len() == 1 => {
                again("somebody else who asks for it: whoever asked is needed to approve")
            }
            Some(_) => Some(Way::new(["promo", "explain", "approval-excluded"], who::PLATFORM)),
        });
    }
    let roles: BTreeSet<&RoleName> = open
        .iter()
        .flat_map(|(_, one)| &one.rules)
        .filter(|rule| rule.missing > 0)
        .flat_map(|rule| &rule.who_can)
        .collect();
    let roles: Vec<&str> = roles.into_iter().map(RoleName::as_str).collect();
    let words = ["promo", "approve", file, "--key", "KEY"].into_iter().chain(signer.iter().copied());
    Ok(Some(Way::new(words, format!("whoever approves: {}", roles.join(" or ")))))
}

/// Why nobody can approve what an evaluation is about, although a request is signed and every part is named: too few are left.
pub(crate) fn nobody(standing: &Evaluation, roster: &Roster) -> Option<String> {
    if standing.enough(roster) {
        return None;
    }
    let excluded: BTreeSet<(&str, &str)> = standing
        .rules
        .iter()
        .flat_map(|rule| rule.excluded.iter().map(|(who, party)| (who.as_str(), party.as_str())))
        .collect();
    let excluded: Vec<String> = excluded.into_iter().map(|(who, party)| format!("{who} ({party})")).collect();
    Some(match excluded.is_empty() {
        true => "policy knows too few people with its roles".to_owned(),
        false => format!("too few are left without {}; somebody else has to do that part", excluded.join(" and ")),
    })
}
