//! Which statement on exploitability counts for a finding. What must not live here: whose statements are believed.

use alloc::collections::BTreeSet;
use alloc::string::String;

use jiff::Timestamp;

use super::exception::plain;
use super::piece::{Subject, latest};
use crate::Digest;
use crate::evidence::{Finding, Product, Statement, Status};

/// Whether the statements say that a finding does not matter in these platforms of the artifact, in all of it where there are none. Of those
/// that are about it the latest counts, and of several at the same time the one that takes nothing away; that counts whenever it was
/// made where it does not say so.
pub(super) fn clears<'a>(
    statements: impl IntoIterator<Item = &'a Statement>,
    subject: &Subject,
    platforms: &BTreeSet<Digest>,
    finding: &Finding,
) -> bool {
    let mut latest: Option<(Option<Timestamp>, bool)> = None;
    for statement in statements {
        let clear = takes_away(statement);
        if !is_about(statement, subject, (platforms, clear), finding) {
            continue;
        }
        match (latest, statement.at) {
            (_, None) if !clear => return false,
            (Some((known, _)), at) if known > at => {}
            (Some((known, before)), at) if known == at => latest = Some((known, before && clear)),
            (_, at) => latest = Some((at, clear)),
        }
    }
    latest.is_some_and(|(_, clear)| clear)
}

/// Whether a statement would take something away from a time on that has not come yet. One that takes nothing away counts whenever it is.
pub(super) fn is_ahead(statement: &Statement, now: Timestamp) -> bool {
    takes_away(statement) && statement.at.is_some_and(|at| at > latest(now))
}

/// OpenVEX 0.2, "Status Labels": `not_affected` has to say why.
fn takes_away(statement: &Statement) -> bool {
    match statement.status {
        Status::Fixed => true,
        Status::NotAffected => statement.justification.is_some() || statement.impact.is_some(),
        Status::Affected | Status::UnderInvestigation | Status::Word(_) => false,
    }
}

/// Whether a statement is about a finding: about every platform where it takes something away, about any of them where it does not.
fn is_about(
    statement: &Statement,
    subject: &Subject,
    (platforms, every): (&BTreeSet<Digest>, bool),
    finding: &Finding,
) -> bool {
    let ids = || core::iter::once(&statement.vulnerability).chain(&statement.aliases);
    let known = |id: &String| ids().any(|said| said.eq_ignore_ascii_case(id));
    if !(known(&finding.id) || finding.aliases.iter().any(known)) {
        return false;
    }
    let has_part = |product: &&Product| {
        let mut parts = product.parts.iter().chain(&statement.parts).peekable();
        parts.peek().is_none() || parts.any(|part| is_package(part, finding))
    };
    let named: BTreeSet<Digest> = statement.products.iter().filter(has_part).flat_map(digests).collect();
    if named.contains(&subject.digest) {
        return true;
    }
    let is_named = |(manifest, config): &(&Digest, &Option<Digest>)| {
        named.contains(*manifest) || config.is_some_and(|config| named.contains(&config))
    };
    let mut of_them = subject
        .platforms
        .iter()
        .filter(|(manifest, _)| platforms.is_empty() || platforms.contains(*manifest))
        .peekable();
    of_them.peek().is_some()
        && if every { of_them.all(|one| is_named(&one)) } else { of_them.any(|one| is_named(&one)) }
}

/// The digests by which a product is known. Where an image lies changes with every promotion.
fn digests(product: &Product) -> impl Iterator<Item = Digest> {
    let purl = |text: &String| {
        let (_, version) = text.strip_prefix("pkg:oci/")?.split(['?', '#']).next()?.split_once('@')?;
        version.replace("%3A", ":").replace("%3a", ":").parse().ok()
    };
    product.digests.iter().copied().chain(product.purl.iter().chain(&product.id).filter_map(purl))
}

fn is_package(part: &Product, finding: &Finding) -> bool {
    let Some(found) = &finding.purl else { return false };
    let same = |said: &String| {
        let version = |purl: &str| -> String {
            let bare = purl.split(['?', '#']).next().unwrap_or(purl);
            bare[plain(purl).len()..].into()
        };
        plain(said) == plain(found) && (version(said).is_empty() || version(said) == version(found))
    };
    part.purl.iter().chain(&part.id).any(same)
}
