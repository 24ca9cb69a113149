//! Which statement on exploitability counts for a finding. What must not live here: whose statements are believed.

use jiff::Timestamp;

use super::exception::plain;
use super::piece::Subject;
use crate::evidence::{Finding, Product, Statement, Status};

/// Whether the statements say that a finding does not matter in the artifact. Of those that are about it the latest counts; one without a
/// time counts only where none has one, and of several at the same time the one that takes nothing away.
pub(super) fn clears<'a>(
    statements: impl IntoIterator<Item = &'a Statement>,
    subject: &Subject,
    finding: &Finding,
) -> bool {
    let about = statements.into_iter().filter(|statement| is_about(statement, subject, finding));
    let mut latest: Option<(Option<Timestamp>, bool)> = None;
    for statement in about {
        let this = (statement.at, takes_away(statement));
        latest = Some(match latest {
            Some(known) if known.0 > this.0 => known,
            Some(known) if known.0 == this.0 => (known.0, known.1 && this.1),
            _ => this,
        });
    }
    latest.is_some_and(|(_, clear)| clear)
}

/// OpenVEX 0.2, "Status Labels": `not_affected` has to say why.
fn takes_away(statement: &Statement) -> bool {
    match statement.status {
        Status::Fixed => true,
        Status::NotAffected => statement.justification.is_some() || statement.impact.is_some(),
        Status::Affected | Status::UnderInvestigation | Status::Word(_) => false,
    }
}

fn is_about(statement: &Statement, subject: &Subject, finding: &Finding) -> bool {
    let ids = || core::iter::once(&statement.vulnerability).chain(&statement.aliases);
    let known = |id: &alloc::string::String| ids().any(|said| said.eq_ignore_ascii_case(id));
    if !(known(&finding.id) || finding.aliases.iter().any(known)) {
        return false;
    }
    statement.products.iter().filter(|product| is_subject(product, subject)).any(|product| {
        let mut parts = product.parts.iter().chain(&statement.parts).peekable();
        parts.peek().is_none() || parts.any(|part| is_package(part, finding))
    })
}

/// An image is known by its digest alone: where it lies changes with every promotion.
fn is_subject(product: &Product, subject: &Subject) -> bool {
    let ours = |digest: &crate::Digest| {
        subject.digest == *digest
            || subject.platforms.iter().any(|(known, config)| known == digest || *config == Some(*digest))
    };
    let purl = |text: &alloc::string::String| {
        let Some(rest) = text.strip_prefix("pkg:oci/") else { return false };
        let version = rest.split(['?', '#']).next().and_then(|name| name.split_once('@')).map(|(_, version)| version);
        version.is_some_and(|version| version.replace("%3A", ":").replace("%3a", ":").parse().is_ok_and(|d| ours(&d)))
    };
    product.digests.iter().any(ours) || product.purl.iter().chain(&product.id).any(purl)
}

fn is_package(part: &Product, finding: &Finding) -> bool {
    let Some(found) = &finding.purl else { return false };
    let same = |said: &alloc::string::String| {
        let version = |purl: &str| -> alloc::string::String {
            let bare = purl.split(['?', '#']).next().unwrap_or(purl);
            bare[plain(purl).len()..].into()
        };
        plain(said) == plain(found) && (version(said).is_empty() || version(said) == version(found))
    };
    part.purl.iter().chain(&part.id).any(same)
}
