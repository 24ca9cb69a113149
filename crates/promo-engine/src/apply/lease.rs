//! The lock of a run: leases on the environments and places that it moves, kept alive while it works (S9.4).

use std::collections::BTreeSet;
use std::time::Duration;

use promo_core::ids::{EnvironmentName, RunId};
use promo_core::plan::Move;
use promo_ledger::{Fence, Lease};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::wait::Process;
use crate::error::EngineError;
use crate::session::Session;

/// Leases that are held, and the task that renews them.
pub(crate) struct Held {
    session: Session,
    lease: Lease,
    keeper: JoinHandle<()>,
}

/// Whoever is dropped in mid-run must not go on holding the lock: then it expires, and the run can be resumed.
impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Held {
    /// Takes the leases. `stop` is cancelled when they cannot be renewed in time: a run that may have lost its lock
    /// begins nothing new, and what it still writes is refused by its epoch.
    pub(crate) fn acquire(
        session: &Session,
        run: &RunId,
        resources: BTreeSet<String>,
        stop: CancellationToken,
    ) -> Result<Self, EngineError> {
        let resources: Vec<String> = resources.into_iter().collect();
        // A holder is one process at one run: two processes resuming the same run must not share a lease.
        let mut holder = format!("{run}/{}", uuid::Uuid::now_v7());
        if let Some(process) = Process::this() {
            holder.push_str(&format!("@{process}"));
        }
        let lease = session.store.acquire(&resources, &holder, session.lease_ttl)?;
        let keeper = tokio::spawn(keep(session.clone(), lease.clone(), stop));
        Ok(Self { session: session.clone(), lease, keeper })
    }

    pub(crate) fn fence(&self) -> Fence {
        self.lease.fence()
    }

    /// Gives the leases back. A failure is no harm: they expire.
    pub(crate) async fn release(mut self) {
        self.keeper.abort();
        let _ = (&mut self.keeper).await;
        if let Err(error) = self.session.store.release(&self.lease) {
            tracing::warn!(%error, "the lock could not be given back and will expire");
        }
    }
}

/// What a run of these moves keeps others out of: the environments and the places they deploy to.
pub(crate) fn resources(session: &Session, moves: &[Move]) -> BTreeSet<String> {
    let places = moves.iter().flat_map(|m| &m.steps).filter(|s| s.target.is_some());
    let places = places.map(|s| format!("target {}", s.inputs.target.address()));
    moves.iter().map(|m| environment(session, &m.environment)).chain(places).collect()
}

/// The name of an environment's lock.
pub(crate) fn environment(session: &Session, name: &EnvironmentName) -> String {
    format!("environment {}/{name}", session.governance.pipeline.name)
}

/// Renews at a quarter of the lifetime and gives up at two thirds without success.
async fn keep(session: Session, mut lease: Lease, stop: CancellationToken) {
    let ttl = session.lease_ttl;
    let mut failing = Duration::ZERO;
    loop {
        session.context.clock.sleep(ttl / 4).await;
        match session.store.renew(&lease, ttl) {
            Ok(renewed) => (lease, failing) = (renewed, Duration::ZERO),
            Err(error) => {
                failing += ttl / 4;
                tracing::warn!(%error, "the lock could not be renewed");
                if failing + ttl / 4 > ttl * 2 / 3 {
                    stop.cancel();
                    return;
                }
            }
        }
    }
}
