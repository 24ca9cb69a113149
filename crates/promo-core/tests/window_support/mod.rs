//! What the tests of windows have in common: windows out of a few lines of TOML.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod tzif;

use promo_core::windows::{Action, Invoker, Level, Query, Window, WindowSpec};

pub(crate) fn window(id: &str, toml: &str) -> Window {
    let spec: WindowSpec = toml::from_str(toml).unwrap_or_else(|error| panic!("{id}: {error}"));
    Window::new(id, spec).unwrap_or_else(|errors| panic!("{id}: {errors:?}"))
}

pub(crate) fn allow(timezone: &str, schedule: &str) -> Window {
    window("allow", &format!("effect = \"allow\"\ntimezone = \"{timezone}\"\n{schedule}"))
}

pub(crate) fn deny(timezone: &str, schedule: &str) -> Window {
    window("deny", &format!("effect = \"deny\"\ntimezone = \"{timezone}\"\n{schedule}"))
}

pub(crate) fn level(name: &str, windows: &[&Window]) -> Level {
    Level { name: name.to_owned(), windows: windows.iter().map(|window| (*window).clone()).collect() }
}

pub(crate) const PROMOTE: Query<'_> =
    Query { environment: "production", artifacts: &["api"], action: Action::Promote, invoker: Invoker::Human };
