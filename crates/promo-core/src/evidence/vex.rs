//! Statements on whether a vulnerability matters in a product (OpenVEX). What must not live here: which statement wins, and whose is believed.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::Digest;

/// What is said of a vulnerability in a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does not matter there.
    NotAffected,
    /// It does.
    Affected,
    /// It did, and does not any more.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
    /// A word that promo does not know. It takes nothing away.
    Word(String),
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
            Self::Word(word) => word,
        }
    }
}

/// A product, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id, which may be a purl.
    pub id: Option<String>,
    /// Its purl, as it is written.
    pub purl: Option<String>,
    /// Digests by which it is known.
    pub digests: Vec<Digest>,
    /// Parts of it that are meant; all of it when there are none.
    pub parts: Vec<Product>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The vulnerability's id.
    pub vulnerability: String,
    /// Other ids of it.
    pub aliases: Vec<String>,
    /// In what.
    pub products: Vec<Product>,
    /// Parts that are meant in each of the products, beside those that a product names itself (OpenVEX before 0.2).
    pub parts: Vec<Product>,
    /// What is said.
    pub status: Status,
    /// Why, in one of the words of the format.
    pub justification: Option<String>,
    /// Why, in a sentence.
    pub impact: Option<String>,
    /// Since when; that of the document where it has none of its own.
    pub at: Option<Timestamp>,
}
