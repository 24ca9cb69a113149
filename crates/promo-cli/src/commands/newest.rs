//! `promo release add --newest`: the newest tags, and what is said until they are a release. What must not live here: which they are,
//! which the engine finds, and how a release enters.

use promo_engine::EngineError;
use promo_engine::found::Looked;

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::output::forming as words;
use crate::project::Project;
use crate::ui::{self, Ui};
use crate::view::answers::ReleaseForming;
use crate::view::forming::Forming;

/// How long it is slept at most before the clock is read again: a machine that is suspended sleeps longer than it knows.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_secs(30);

/// The newest tags as `ARTIFACT=REFERENCE`, once they can be a release; none where that was said not to be so yet.
///
/// # Errors
/// As [`Session::look_for_newest`](promo_engine::Session::look_for_newest), told as `failed` says.
pub(super) fn find(
    ui: &Ui,
    global: &Global,
    project: &Project,
    wait: bool,
    failed: impl Fn(EngineError) -> CliError,
) -> Result<Option<Vec<String>>, CliError> {
    let (session, zone) = (&project.session, ui::zone(global)?);
    let mut said = None;
    loop {
        let found = match project.runtime.block_on(session.look_for_newest()).map_err(&failed)? {
            Looked::Ready(sources) => {
                return Ok(Some(sources.into_iter().map(|(name, reference)| format!("{name}={reference}")).collect()));
            }
            Looked::Quiet { sources, since, until } => Forming { artifacts: sources, since, until },
        };
        let now = session.now()?;
        if !wait {
            let next = ui.to_paste(&command_line(["promo", "release", "add", "--newest", "--wait"]));
            match ui.format() {
                Format::Json => ui.answer(&ReleaseForming { forming: found, next }),
                _ => ui.data(&format!(
                    "{}{}",
                    words::no_release_yet(&found, now, &zone),
                    ui.next("promo release add --newest --wait")
                )),
            }
            return Ok(None);
        }
        if said.as_ref() != Some(&found) {
            ui.talk(words::no_release_yet(&found, now, &zone).trim_end());
        }
        project.runtime.block_on(async {
            tokio::select! {
                biased;
                // Nothing is begun here that would have to be ended.
                Ok(()) = crate::project::asked_to_stop() => Err(EngineError::Stopped),
                () = sleep_until(project, found.until) => Ok(()),
            }
        })?;
        said = Some(found);
    }
}

async fn sleep_until(project: &Project, until: jiff::Timestamp) {
    while let Ok(now) = project.session.now() {
        let left = std::time::Duration::try_from(until.duration_since(now)).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}
