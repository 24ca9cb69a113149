//! A window as it is written in TOML. What lives here: plain serde types, and nothing that judges what they say: that
//! is `Window::new`, which can name every mistake at once.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::value::Datetime;

/// What a window does while it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Promotions may start only while the window is open.
    Allow,
    /// Promotions may not start while the window is in force: a freeze.
    Deny,
}

/// How much it takes to override a deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// One person other than the applier may override it.
    Soft,
    /// Two people are needed to override it. The default.
    #[default]
    Hard,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Start a promotion.
    Promote,
    /// Go on with a run that was interrupted.
    Resume,
    /// Go back to an earlier release.
    Rollback,
    /// Promote on a declared hotfix path.
    Hotfix,
}

impl Action {
    /// The actions that a window binds when it names none (S5.4, S16).
    pub const DEFAULT: [Self; 2] = [Self::Promote, Self::Resume];
}

/// Who wants to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Invoker {
    /// A person at a terminal or behind a button.
    Human,
    /// A timer, a CI job, `promo advance`.
    Automation,
}

impl Invoker {
    /// The word for it, as windows name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Automation => "automation",
        }
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names of the days say what they are")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Which one of a month's equal weekdays: a number from 1 to 5, or the word `last`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number from 1 to 5 or \"last\"")]
pub enum Nth {
    /// The first, second, … of the month. A month without a fifth has no occurrence.
    Number(i64),
    /// `last`, the only word there is.
    Word(String),
}

/// A local date, time of day, or date and time, as written: a string, or one of TOML's own local kinds. TOML wants
/// seconds in a local time, so `09:00:00` stands for `09:00`; seconds other than zero stay in the text and are refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilText(pub String);

impl CivilText {
    /// The text, for instance `09:00`, `2026-12-24` or `2026-12-24T18:00`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(value: &Datetime) -> Self {
        let mut text = String::new();
        if let Some(date) = &value.date {
            text.push_str(&date.to_string());
        }
        if let Some(time) = &value.time {
            if value.date.is_some() {
                text.push('T');
            }
            if time.second.unwrap_or(0) == 0 && time.nanosecond.unwrap_or(0) == 0 {
                text.push_str(&format!("{:02}:{:02}", time.hour, time.minute));
            } else {
                text.push_str(&time.to_string());
            }
        }
        if let Some(offset) = &value.offset {
            text.push_str(&offset.to_string());
        }
        Self(text)
    }
}

impl From<&str> for CivilText {
    fn from(text: &str) -> Self {
        Self(text.to_string())
    }
}

impl Serialize for CivilText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CivilText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CivilText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a local date or time, as a string or as TOML's own kind")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CivilText, E> {
                Ok(CivilText(text.to_string()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<CivilText, E> {
                Ok(CivilText(text))
            }

            // TOML's dates reach a visitor as a map with one key of the crate's own.
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<CivilText, A::Error> {
                let value = Datetime::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(CivilText::of(&value))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Days of the week, each with the same hours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weekly {
    /// The days on which an occurrence starts; every day when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<Day>>,
    /// First minute, `"HH:MM"`. Without `start` and `end` the whole local day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CivilText>,
    /// First minute that no longer belongs to it, `"HH:MM"` or `"24:00"`; at or before `start` it is the next day's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<CivilText>,
}

/// One day of each month: a day number, or the nth or last of a weekday.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monthly {
    /// Day number 1 to 31. A month that does not have it has no occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<i64>,
    /// Together with `weekday`: which one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<Nth>,
    /// Together with `nth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekday: Option<Day>,
    /// As in [`Weekly`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CivilText>,
    /// As in [`Weekly`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<CivilText>,
}

/// The same days of each year. Without times every day is an occurrence of its own; with times the whole is one span,
/// from `start` on the first day to `end` on the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yearly {
    /// First day, `"MM-DD"`.
    pub from: CivilText,
    /// Last day, `"MM-DD"`, included; before `from` it is in the next year.
    pub until: CivilText,
    /// First minute on the first day, `"HH:MM"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CivilText>,
    /// First minute on the last day that no longer belongs to it, `"HH:MM"` or `"24:00"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<CivilText>,
}

/// One stretch of local time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Once {
    /// First minute, `"YYYY-MM-DDTHH:MM"`.
    pub start: CivilText,
    /// First minute that no longer belongs to it.
    pub end: CivilText,
}

/// The local dates on which an occurrence may start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Valid {
    /// First date, `"YYYY-MM-DD"`, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<CivilText>,
    /// Last date, `"YYYY-MM-DD"`, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<CivilText>,
}

/// A window as it stands in a pipeline or in policy, and in the plan. Exactly one of `weekly`, `monthly`, `yearly` and
/// `once` is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Allow or deny.
    pub effect: Effect,
    /// IANA name of the zone in which all dates and times are read, or `UTC`.
    pub timezone: String,
    /// Days of the week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Weekly>,
    /// A day of each month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<Monthly>,
    /// Days of each year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<Yearly>,
    /// One stretch of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Once>,
    /// Range of dates on which an occurrence may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<Valid>,
    /// Dates, `"YYYY-MM-DD"`, on which no occurrence starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<CivilText>,
    /// Environments it is about; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<String>>,
    /// Artifacts it is about; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Vec<String>>,
    /// Actions it binds, in place of [`Action::DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<Action>>,
    /// Invokers it binds; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invokers: Option<Vec<Invoker>>,
    /// For a deny: `soft` or `hard`, `hard` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why it is there, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whom to ask about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl WindowSpec {
    /// A window without any schedule yet, for building one in code.
    #[must_use]
    pub fn new(effect: Effect, timezone: &str) -> Self {
        Self {
            effect,
            timezone: timezone.to_string(),
            weekly: None,
            monthly: None,
            yearly: None,
            once: None,
            valid: None,
            except: Vec::new(),
            environments: None,
            artifacts: None,
            actions: None,
            invokers: None,
            severity: None,
            reason: None,
            owner: None,
        }
    }
}
