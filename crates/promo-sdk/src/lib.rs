//! The contract between promo and what reaches the outside world.
//!
//! A provider implements [`Provider`]: it says what it can do, reads what is there, shows what it would change, makes a
//! place be as wanted, and runs checks. It decides nothing: which release goes where is settled in the plan before it is
//! called. There is no `undo`: a rollback is `ensure` with the earlier inputs. Requests and answers are serde values, so
//! that the same provider can be linked or run as an executable.

pub mod conformance;
pub mod context;
pub mod drift;
pub mod error;
pub mod provider;
pub mod repositories;
pub mod testing;

pub use context::{Blobs, Clock, Context, Http, Output, ProcessRequest, ProcessRunner, Secrets, http_clients};
pub use drift::{DriftAnswer, DriftClass, DriftRequest, FieldDrift, ObjectDrift};
pub use error::{ErrorKind, ProviderError, Typed};
pub use promo_core::{Digest, state::State};
pub use provider::{
    ArtifactInput, Attached, AttachedRequest, CheckRequest, CheckResult, Description, EffectClass, EnsureAnswer,
    EnsureRequest, FileChange, Inputs, MAX_DETAIL, MAX_EVIDENCE, Nature, ObserveRequest, Preview, Provider,
    ResolveRequest, Resolved, RunningImage, Settled,
};
pub use repositories::{Commit, Repositories, SourceAnswer, SourcePlace, Way};
