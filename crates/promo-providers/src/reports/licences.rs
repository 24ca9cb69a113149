//! The text of licence expressions as trees (SPDX specification, annex D). What must not live here: which licences are welcome.

use promo_core::evidence::{Expression, Stated, Term};
use spdx::expression::{ExprNode, Operator};
use spdx::{LicenseItem, ParseMode};

/// A longer text is none: the longest real expressions, those of whole distributions, have a few thousand letters.
const LIMIT: usize = 16 << 10;

/// Reads what a document says of a licence: by the letter of the specification first, then with the old and loose names that are seen
/// in the wild (`GPL-2.0+`, `Apache 2.0`, `MIT/Apache-2.0`).
pub(super) fn stated(text: &str) -> Stated {
    match text.trim() {
        "" | "NOASSERTION" => Stated::Nothing,
        "NONE" => Stated::None,
        text => expression(text).map_or_else(|| Stated::Unreadable(text.to_owned()), Stated::Expression),
    }
}

/// What several entries state together: all of them. Entries that cannot be read make the whole unreadable.
pub(super) fn all(entries: Vec<Stated>) -> Stated {
    let (mut out, mut unreadable) = (Stated::Nothing, Vec::new());
    for entry in entries {
        out = match (out, entry) {
            (out, Stated::Unreadable(text)) => {
                unreadable.push(text);
                out
            }
            (Stated::Nothing, entry) => entry,
            (out, Stated::Nothing) => out,
            (Stated::Expression(one), Stated::Expression(two)) => match one.and(two) {
                Ok(both) => Stated::Expression(both),
                Err(error) => {
                    unreadable.push(error.to_string());
                    Stated::Nothing
                }
            },
            (Stated::None | Stated::Unreadable(_), _) | (_, Stated::None) => Stated::None,
        };
    }
    if unreadable.is_empty() { out } else { Stated::Unreadable(unreadable.join(", ")) }
}

fn expression(text: &str) -> Option<Expression> {
    if text.len() > LIMIT {
        return None;
    }
    // The parser of `spdx` calls itself for nothing, but a tree is only as deep as its brackets.
    let parsed = spdx::Expression::parse_mode(text, ParseMode::STRICT)
        .or_else(|_| spdx::Expression::parse_mode(text, ParseMode::LAX))
        .ok()?;
    let mut stack: Vec<Expression> = Vec::new();
    for node in parsed.iter() {
        let next = match node {
            ExprNode::Req(req) => Expression::term(term(&req.req)),
            ExprNode::Op(operator) => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                match operator {
                    Operator::And => left.and(right),
                    Operator::Or => left.or(right),
                }
                .ok()?
            }
        };
        stack.push(next);
    }
    let whole = stack.pop()?;
    stack.is_empty().then_some(whole)
}

fn term(req: &spdx::LicenseReq) -> Term {
    let (id, listed, or_later) = match &req.license {
        LicenseItem::Spdx { id, or_later } => (id.name.to_owned(), true, *or_later),
        other @ LicenseItem::Other(_) => (other.to_string(), false, false),
    };
    Term { id, listed, or_later, exception: req.addition.as_ref().map(ToString::to_string) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_trees_with_the_precedence_of_spdx() {
        for (text, tree) in [
            ("MIT", "MIT"),
            ("MIT OR Apache-2.0 AND ISC", "MIT OR (Apache-2.0 AND ISC)"),
            ("(MIT OR Apache-2.0) AND ISC", "(MIT OR Apache-2.0) AND ISC"),
            ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
            ("LicenseRef-Acme AND MIT", "LicenseRef-Acme AND MIT"),
            ("Apache 2.0", "Apache-2.0"),
            ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ] {
            assert_eq!(stated(text).to_string(), tree, "{text}");
        }
        assert_eq!(stated("NOASSERTION"), Stated::Nothing);
        assert_eq!(stated("NONE"), Stated::None);
        assert_eq!(stated("as you like"), Stated::Unreadable("as you like".to_owned()));
    }

    #[test]
    fn several_entries_hold_together() {
        let of = |texts: &[&str]| all(texts.iter().map(|text| stated(text)).collect());
        assert_eq!(of(&["MIT", "Apache-2.0 OR ISC"]).to_string(), "MIT AND (Apache-2.0 OR ISC)");
        assert_eq!(of(&["MIT", "as you like"]), Stated::Unreadable("as you like".to_owned()));
        assert_eq!(of(&["NOASSERTION", "MIT"]).to_string(), "MIT");
        assert_eq!(of(&[]), Stated::Nothing);
    }

    #[test]
    fn an_expression_of_many_levels_is_unreadable_and_does_not_break_the_stack() {
        let deep = format!("{}MIT{}", "(".repeat(4000), ")".repeat(4000));
        assert!(!matches!(stated(&deep), Stated::Nothing));
        let mut nested = "MIT".to_owned();
        for level in 0..200 {
            nested = format!("({nested}) {} ISC", if level % 2 == 0 { "AND" } else { "OR" });
        }
        assert!(matches!(stated(&nested), Stated::Unreadable(_)));
    }
}
