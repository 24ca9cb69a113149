//! May this be done now, and when does that change? What lives here: scope and precedence over the levels (S5.4, S16).
//! What must not: overrides (a soft deny stays a deny here; who may override it is the approvals' matter).

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::civil::DAY;
use super::spec::{Action, Effect, Invoker, Severity};
use super::timeline::{self, Span};
use super::warning::is_over;
use super::window::Window;

/// How far ahead [`evaluate`] looks for the next change, in days. More than two years, so that anything that comes once
/// a year is found even where one occurrence is excepted.
pub const HORIZON_DAYS: i64 = 800;

/// The windows declared in one place. The level of a window is where it is declared.
#[derive(Debug, Clone)]
pub struct Level {
    /// `organisation`, an environment's or an artifact's name, as it is to be shown.
    pub name: String,
    /// Its windows.
    pub windows: Vec<Window>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The environment that would be changed.
    pub environment: &'a str,
    /// The artifacts that would move. Each of them must be allowed. With none, only windows that name no
    /// artifact are about it.
    pub artifacts: &'a [&'a str],
    /// What would be done.
    pub action: Action,
    /// By whom.
    pub invoker: Invoker,
}

/// The answer in one word and its first reason. The order of precedence is hard deny, soft deny, allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing stands against it.
    Open,
    /// A freeze is in force.
    ClosedByDeny {
        /// The heaviest one in force.
        severity: Severity,
        /// The denies of that severity, by id.
        windows: Vec<String>,
    },
    /// A level has allow windows, and none of them is open for this.
    OutsideAllow {
        /// The first such level.
        level: String,
        /// The allow windows of that level that can open it for this action and invoker. Empty: it never opens for them.
        windows: Vec<String>,
    },
}

/// A deny that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyInForce {
    /// The level that declares it.
    pub level: String,
    /// Its id.
    pub window: String,
    /// What it takes to override it.
    pub severity: Severity,
}

/// A level that is closed because none of its allow windows is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedLevel {
    /// Its name.
    pub level: String,
    /// The artifact it is closed for; `None` when no artifact moves.
    pub artifact: Option<String>,
    /// As in [`State::OutsideAllow`].
    pub windows: Vec<String>,
}

/// What windows say to a query at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The instant that was asked about.
    pub at: Timestamp,
    /// The answer.
    pub state: State,
    /// Every deny in force, in the order of levels and windows.
    pub denies: Vec<DenyInForce>,
    /// Every level that is closed for some artifact, also while a deny is in force: who overrides the deny still stands
    /// before these.
    pub closed: Vec<ClosedLevel>,
    /// The next instant at which open becomes closed or closed open, all windows taken together. `None`: not within
    /// [`HORIZON_DAYS`].
    pub next_change: Option<Timestamp>,
}

impl Answer {
    /// Whether it may be started.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// A level with allow windows for one artifact.
struct Gate<'a> {
    level: &'a str,
    artifact: Option<&'a str>,
    /// Those of its allow windows that cover the action and the invoker, as places in the list of relevant windows.
    openers: Vec<usize>,
}

/// The part of the levels that a query touches.
struct Relevant<'a> {
    windows: Vec<&'a Window>,
    /// Level, and place in `windows`.
    denies: Vec<(&'a str, usize)>,
    gates: Vec<Gate<'a>>,
}

impl<'a> Relevant<'a> {
    fn of(levels: &'a [Level], query: &Query<'a>) -> Self {
        let mut relevant = Self { windows: Vec::new(), denies: Vec::new(), gates: Vec::new() };
        let artifacts: Vec<Option<&str>> =
            if query.artifacts.is_empty() { vec![None] } else { query.artifacts.iter().copied().map(Some).collect() };
        for level in levels {
            for window in level.windows.iter().filter(|window| window.effect() == Effect::Deny) {
                let about = artifacts.iter().any(|artifact| window.is_about(query.environment, *artifact));
                if about && window.actions().contains(&query.action) && window.binds(query.invoker) {
                    let place = relevant.place(window);
                    relevant.denies.push((&level.name, place));
                }
            }
            for artifact in &artifacts {
                relevant.gate(level, *artifact, query);
            }
        }
        relevant
    }

    /// A level that has any allow window for the environment and artifact is closed to every default action and to
    /// every other action that one of those windows names, except where one that covers action and invoker is open.
    fn gate(&mut self, level: &'a Level, artifact: Option<&'a str>, query: &Query<'_>) {
        let allows = || {
            level
                .windows
                .iter()
                .filter(|window| window.effect() == Effect::Allow && window.is_about(query.environment, artifact))
        };
        let named = allows().any(|window| window.actions().contains(&query.action));
        let bound = allows().next().is_some() && (named || Action::DEFAULT.contains(&query.action));
        if !bound {
            return;
        }
        let covering: Vec<&Window> =
            allows().filter(|window| window.actions().contains(&query.action) && window.binds(query.invoker)).collect();
        let openers = covering.into_iter().map(|window| self.place(window)).collect();
        self.gates.push(Gate { level: &level.name, artifact, openers });
    }

    fn place(&mut self, window: &'a Window) -> usize {
        self.windows.iter().position(|known| core::ptr::eq(*known, window)).unwrap_or_else(|| {
            self.windows.push(window);
            self.windows.len() - 1
        })
    }

    fn spans(&self, lo: i64, hi: i64) -> Vec<Vec<Span>> {
        self.windows.iter().map(|window| timeline::in_force(window, lo, hi)).collect()
    }

    fn is_open(&self, spans: &[Vec<Span>], at: i64) -> bool {
        !self.denies.iter().any(|(_, place)| timeline::covers(&spans[*place], at))
            && self.gates.iter().all(|gate| gate.openers.iter().any(|place| timeline::covers(&spans[*place], at)))
    }

    /// The first second after `at` at which openness is not what it is at `at`. Looks at the bounds of windows only, and
    /// in growing steps, since most answers change within days.
    fn next_change(&self, at: i64) -> Option<i64> {
        let end = at.saturating_add(HORIZON_DAYS * DAY);
        let (mut lo, mut width) = (at, 8 * DAY);
        let mut now = None;
        while lo < end && !self.windows.is_empty() {
            let hi = end.min(lo + width);
            let spans = self.spans(lo, hi);
            let now = *now.get_or_insert_with(|| self.is_open(&spans, at));
            let mut bounds: Vec<i64> = spans.iter().flatten().flat_map(|span| [span.0, span.1]).collect();
            bounds.retain(|bound| *bound > at && (lo..hi).contains(bound));
            bounds.sort_unstable();
            bounds.dedup();
            if let Some(change) = bounds.into_iter().find(|bound| self.is_open(&spans, *bound) != now) {
                return Some(change);
            }
            (lo, width) = (hi, width * 4);
        }
        None
    }
}

/// Whether any window of `levels` has a say in `query`, so that the answer is a matter of time at all.
#[must_use]
pub fn bound(levels: &[Level], query: &Query<'_>) -> bool {
    let relevant = Relevant::of(levels, query);
    !relevant.denies.is_empty() || !relevant.gates.is_empty()
}

/// Whether `query` is closed for good at `at`: a level has windows that could open it, and none of them opens any more.
#[must_use]
pub fn over(levels: &[Level], query: &Query<'_>, at: Timestamp) -> bool {
    let relevant = Relevant::of(levels, query);
    let second = timeline::second(at);
    relevant.gates.iter().any(|gate| {
        !gate.openers.is_empty() && gate.openers.iter().all(|place| is_over(relevant.windows[*place], second))
    })
}

/// What the windows of `levels` say to `query` at `at`.
///
/// Denies of all levels add up; allows of different levels must all be open, and within a level one is enough. A level
/// without an allow window for the environment and artifact says nothing. The result depends on its arguments and the
/// bundled time zone database alone.
#[must_use]
pub fn evaluate(levels: &[Level], query: &Query<'_>, at: Timestamp) -> Answer {
    let relevant = Relevant::of(levels, query);
    let second = timeline::second(at);
    let spans = relevant.spans(second, second + 1);
    let in_force = |place: &usize| timeline::covers(&spans[*place], second);
    let denies: Vec<DenyInForce> = relevant
        .denies
        .iter()
        .filter(|(_, place)| in_force(place))
        .map(|(level, place)| {
            let window = relevant.windows[*place];
            DenyInForce {
                level: (*level).to_string(),
                window: window.id().to_string(),
                severity: window.severity().unwrap_or_default(),
            }
        })
        .collect();
    let closed: Vec<ClosedLevel> = relevant
        .gates
        .iter()
        .filter(|gate| !gate.openers.iter().any(in_force))
        .map(|gate| ClosedLevel {
            level: gate.level.to_string(),
            artifact: gate.artifact.map(ToString::to_string),
            windows: gate.openers.iter().map(|place| relevant.windows[*place].id().to_string()).collect(),
        })
        .collect();
    let state = if let Some(severity) = denies.iter().map(|deny| deny.severity).max() {
        let heaviest = denies.iter().filter(|deny| deny.severity == severity);
        State::ClosedByDeny { severity, windows: heaviest.map(|deny| deny.window.clone()).collect() }
    } else if let Some(gate) = closed.first() {
        State::OutsideAllow { level: gate.level.clone(), windows: gate.windows.clone() }
    } else {
        State::Open
    };
    let next_change = relevant.next_change(second).and_then(|change| Timestamp::from_second(change).ok());
    Answer { at, state, denies, closed, next_change }
}
