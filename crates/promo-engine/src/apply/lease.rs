//! The lock of a run: leases on the environments and places that it moves, kept alive while it works (S9.4).

use std::collections::BTreeSet;

use promo_core::ids::{EnvironmentName, RunId};
use promo_core::plan::Move;
use promo_ledger::{Fence, Lease, LeaseError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::wait;
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
        let holder = wait::holder(run, session.lease_ttl);
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

/// What a run of these moves keeps others out of: the environments and the places they deploy to, also on the way back.
pub(crate) fn resources(session: &Session, moves: &[Move]) -> BTreeSet<String> {
    let places = moves.iter().flat_map(Move::every_step).filter(|s| s.target.is_some());
    let places = places.map(|s| format!("target {}", s.inputs.target.address()));
    moves.iter().map(|m| environment(session, &m.environment)).chain(places).collect()
}

/// The name of an environment's lock.
pub(crate) fn environment(session: &Session, name: &EnvironmentName) -> String {
    format!("environment {}/{name}", session.governance.pipeline.name)
}

/// Renews at a quarter of the lifetime and stops the run at two thirds without success, also when the ledger gives no
/// answer at all. Success counts from when it was asked for: the ledger may have been slow only to say so.
async fn keep(session: Session, mut lease: Lease, stop: CancellationToken) {
    let (clock, ttl) = (&session.context.clock, session.lease_ttl);
    let mut deadline = clock.sleep(ttl * 2 / 3);
    loop {
        tokio::select! {
            biased;
            () = &mut deadline => break,
            () = clock.sleep(ttl / 4) => {}
        }
        let mut next = clock.sleep(ttl * 2 / 3);
        let (store, asked) = (session.store.clone(), lease.clone());
        let renewal = tokio::task::spawn_blocking(move || store.renew(&asked, ttl));
        let renewed = tokio::select! {
            biased;
            () = &mut deadline => break,
            // Never first, as it begins after the other; it is here because a sleep runs only once it was asked.
            () = &mut next => break,
            renewed = renewal => renewed,
        };
        match renewed {
            Ok(Ok(renewed)) => (lease, deadline) = (renewed, next),
            Ok(Err(error @ LeaseError::Lost { .. })) => {
                tracing::warn!(%error, "the lock is lost");
                break;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lock could not be renewed"),
            Err(error) => tracing::warn!(%error, "the lock could not be renewed"),
        }
    }
    tracing::warn!("the run stops, because its lock may lapse");
    stop.cancel();
}
