//! Bills of materials (SBOM). What must not live here: which licences are welcome.

use alloc::string::String;
use alloc::vec::Vec;

use super::Stated;

/// One thing that an artifact is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its purl, as it is written.
    pub purl: Option<String>,
    /// The licence that somebody concluded it has, having looked.
    pub concluded: Stated,
    /// The licence that its authors declare.
    pub declared: Stated,
}

impl Component {
    /// The licence that counts: the concluded one, and the declared one where nothing was concluded, or `NONE` was.
    #[must_use]
    pub const fn licence(&self) -> &Stated {
        match &self.concluded {
            Stated::Nothing | Stated::None => match (&self.concluded, &self.declared) {
                (Stated::None, Stated::Nothing) => &self.concluded,
                _ => &self.declared,
            },
            Stated::Expression(_) | Stated::Unreadable(_) => &self.concluded,
        }
    }
}

/// What an artifact is made of. That of which the document speaks is not among its components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// How many components there are.
    pub count: u64,
    /// Each of them, in the order of the document, nested ones behind their parent. `None` where promo counts and does not read them (SPDX 3).
    pub components: Option<Vec<Component>>,
}

impl Bill {
    /// A bill with these components.
    #[must_use]
    pub fn of(components: Vec<Component>) -> Self {
        Self { count: components.len() as u64, components: Some(components) }
    }

    /// Of how many components nothing readable is said about the licence; `None` where licences are not read.
    #[must_use]
    pub fn without_licence(&self) -> Option<u64> {
        let unknown = |component: &&Component| matches!(component.licence(), Stated::Nothing | Stated::Unreadable(_));
        self.components.as_ref().map(|components| components.iter().filter(unknown).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, Term};
    use super::*;

    #[test]
    fn the_declared_licence_counts_where_nothing_was_concluded() {
        let mit = || {
            Stated::Expression(Expression::term(Term {
                id: "MIT".into(),
                listed: true,
                or_later: false,
                exception: None,
            }))
        };
        let other = || Stated::Unreadable("as is".into());
        let of = |concluded, declared| {
            Component { name: "a".into(), version: None, purl: None, concluded, declared }.licence().clone()
        };
        assert_eq!(of(mit(), other()), mit());
        assert_eq!(of(other(), mit()), other(), "what cannot be read is not passed over");
        assert_eq!(of(Stated::Nothing, mit()), mit());
        assert_eq!(of(Stated::None, mit()), mit());
        assert_eq!(of(Stated::None, Stated::Nothing), Stated::None);
        assert_eq!(of(Stated::Nothing, Stated::None), Stated::None);
        assert_eq!(of(Stated::Nothing, Stated::Nothing), Stated::Nothing);
    }
}
