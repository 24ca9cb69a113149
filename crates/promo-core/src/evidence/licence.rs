//! Licences as trees that can be judged. What must not live here: reading the text of an expression (promo-providers does, with the
//! list of SPDX), and which licences are welcome.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One licence of an expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Its identifier: of the list of SPDX when `listed`, else as it is written (`LicenseRef-…`, `DocumentRef-…:LicenseRef-…`).
    pub id: String,
    /// Whether the list of SPDX has the identifier.
    pub listed: bool,
    /// Whether a later version of the licence may be taken instead (`+`).
    pub or_later: bool,
    /// The exception behind `WITH`.
    pub exception: Option<String>,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.or_later {
            f.write_str("+")?;
        }
        match &self.exception {
            Some(exception) => write!(f, " WITH {exception}"),
            None => Ok(()),
        }
    }
}

/// An expression over licences. Neither list is ever empty: nothing to agree with is no agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    node: Node,
    /// How many levels of lists there are.
    depth: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Term(Term),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// The expression has more levels than [`Expression::DEPTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a licence expression of more than {} levels", Expression::DEPTH)]
pub struct TooDeep;

impl Expression {
    /// How many levels an expression may have: judging one calls itself once a level.
    pub const DEPTH: usize = 64;

    /// A single licence.
    #[must_use]
    pub const fn term(term: Term) -> Self {
        Self { node: Node::Term(term), depth: 0 }
    }

    /// Both of two (`AND`).
    ///
    /// # Errors
    /// [`TooDeep`].
    pub fn and(self, other: Self) -> Result<Self, TooDeep> {
        let inside = |one: &Self| one.depth + usize::from(!matches!(one.node, Node::All(_)));
        let depth = inside(&self).max(inside(&other));
        let parts = |one: Self| match one.node {
            Node::All(parts) => parts,
            node => alloc::vec![node],
        };
        Self::checked(depth, parts(self), parts(other), Node::All)
    }

    /// Either of two (`OR`).
    ///
    /// # Errors
    /// [`TooDeep`].
    pub fn or(self, other: Self) -> Result<Self, TooDeep> {
        let inside = |one: &Self| one.depth + usize::from(!matches!(one.node, Node::Any(_)));
        let depth = inside(&self).max(inside(&other));
        let parts = |one: Self| match one.node {
            Node::Any(parts) => parts,
            node => alloc::vec![node],
        };
        Self::checked(depth, parts(self), parts(other), Node::Any)
    }

    fn checked(
        depth: usize,
        mut parts: Vec<Node>,
        more: Vec<Node>,
        list: fn(Vec<Node>) -> Node,
    ) -> Result<Self, TooDeep> {
        if depth > Self::DEPTH {
            return Err(TooDeep);
        }
        parts.extend(more);
        Ok(Self { node: list(parts), depth })
    }

    /// Whether the expression is met when exactly those licences are that `welcome` takes. More licences that are taken never make an
    /// expression less met.
    pub fn is_met(&self, mut welcome: impl FnMut(&Term) -> bool) -> bool {
        self.node.is_met(&mut welcome)
    }

    /// Every licence of it, from left to right.
    #[must_use]
    pub fn terms(&self) -> Vec<&Term> {
        let mut out = Vec::new();
        self.node.terms(&mut out);
        out
    }
}

impl Node {
    fn is_met(&self, welcome: &mut impl FnMut(&Term) -> bool) -> bool {
        match self {
            Self::Term(term) => welcome(term),
            Self::All(parts) => parts.iter().all(|part| part.is_met(welcome)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(welcome)),
        }
    }

    fn terms<'a>(&'a self, out: &mut Vec<&'a Term>) {
        match self {
            Self::Term(term) => out.push(term),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.terms(out)),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, nested: bool) -> fmt::Result {
        let (parts, word) = match self {
            Self::Term(term) => return fmt::Display::fmt(term, f),
            Self::All(parts) => (parts, " AND "),
            Self::Any(parts) => (parts, " OR "),
        };
        if nested {
            f.write_str("(")?;
        }
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                f.write_str(word)?;
            }
            part.write(f, true)?;
        }
        if nested { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.write(f, false)
    }
}

/// What a document states of a licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stated {
    /// Nothing, or that nothing is asserted (`NOASSERTION`).
    Nothing,
    /// That there is none (`NONE`): nobody may use it.
    None,
    /// This one.
    Expression(Expression),
    /// This text, which is no expression over known licences. As it is written.
    Unreadable(String),
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::None => f.write_str("none"),
            Self::Expression(expression) => fmt::Display::fmt(expression, f),
            Self::Unreadable(text) => write!(f, "`{text}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn term(id: &str) -> Expression {
        Expression::term(Term { id: id.into(), listed: true, or_later: false, exception: None })
    }

    #[test]
    fn an_expression_is_written_with_the_brackets_that_it_needs() {
        let either = term("MIT").or(term("Apache-2.0")).unwrap().or(term("ISC")).unwrap();
        let all = either.and(term("Zlib")).unwrap();
        assert_eq!(all.to_string(), "(MIT OR Apache-2.0 OR ISC) AND Zlib");
        assert_eq!(all.terms().len(), 4);
        assert!(all.is_met(|term| ["ISC", "Zlib"].contains(&term.id.as_str())));
        assert!(!all.is_met(|term| term.id != "Zlib"));
    }

    #[test]
    fn an_expression_that_is_too_deep_is_refused() {
        let mut deep = term("A");
        for level in 0..Expression::DEPTH {
            deep = if level % 2 == 0 { deep.and(term("B")) } else { deep.or(term("B")) }.unwrap();
        }
        assert_eq!(deep.clone().and(term("B")), Err(TooDeep));
        assert!(deep.or(term("C")).is_ok(), "one more of the same kind is no level");
    }

    fn expressions() -> impl Strategy<Value = Expression> {
        let leaf = prop::sample::select(alloc::vec!["A", "B", "C", "D"]).prop_map(term);
        leaf.prop_recursive(5, 32, 2, |inner| {
            (inner.clone(), inner, any::<bool>()).prop_map(|(one, two, both)| {
                if both { one.and(two) } else { one.or(two) }.expect("no more than five levels")
            })
        })
    }

    proptest! {
        #[test]
        fn a_licence_more_that_is_welcome_never_makes_an_expression_less_met(
            expression in expressions(), welcome in 0_u8..16, more in 0_u8..16,
        ) {
            let takes = |mask: u8| move |term: &Term| mask & (1 << (term.id.as_bytes()[0] - b'A')) != 0;
            prop_assert!(!expression.is_met(takes(welcome)) || expression.is_met(takes(welcome | more)));
            prop_assert!(!expression.is_met(|_| false) && expression.is_met(|_| true));
        }
    }
}
