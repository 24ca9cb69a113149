//! Runs that die or fail at every point they pass, and what `resume` makes of them (S9).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cell;
mod failures;
mod locks;
mod points;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::event::{Event, PromotionOutcome, RunOutcome};
use promo_core::plan::{Document, Goal, Request};
use promo_core::windows::Invoker;
use promo_engine::{ApplyOptions, EngineError, Fate, PLAN_LIFETIME, Progress, RunReport, Session, exit};
use promo_ledger::Store;
use promo_sdk::{
    Context, Description, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider,
    ProviderError, State,
};
use promo_tests::faults::{Faults, Mode, Point};
use promo_tests::small;
use promo_tests::world::{Setup, Time, World};

use cell::{Cell, FORK, PAIR, TEMPLATE, ended, fate, name};
