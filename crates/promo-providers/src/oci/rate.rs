//! How fast a registry is asked. What lives here: one bucket for all requests to one registry. What must not: what is asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use promo_sdk::Clock;

/// Requests in a second where nobody says otherwise.
const RATE: u32 = 100;
/// How long a registry that said "too many" is asked at half the rate.
const SLOW: SignedDuration = SignedDuration::from_secs(15);

/// A bucket that fills with `rate` requests in a second and holds two seconds' worth.
pub(super) struct Bucket {
    clock: Arc<dyn Clock>,
    rate: f64,
    state: Mutex<State>,
}

struct State {
    /// Requests that may go at once; below zero as many wait.
    left: f64,
    at: Timestamp,
    slow_until: Option<Timestamp>,
}

impl Bucket {
    pub(super) fn new(clock: Arc<dyn Clock>, rate: Option<u32>) -> Self {
        let rate = f64::from(rate.unwrap_or(RATE).max(1));
        let state = Mutex::new(State { left: rate * 2.0, at: clock.now(), slow_until: None });
        Self { clock, rate, state }
    }

    /// Returns when the next request may go. Whoever asked first goes first.
    pub(super) async fn take(&self) {
        let wait = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            let slow = state.slow_until.is_some_and(|until| now < until);
            let rate = if slow { self.rate / 2.0 } else { self.rate };
            // A clock that went back has brought nothing.
            let passed = now.duration_since(state.at).as_secs_f64().max(0.0);
            state.left = (state.left + passed * rate).min(self.rate * 2.0) - 1.0;
            state.at = now;
            if state.left >= 0.0 { None } else { Some(Duration::from_secs_f64(-state.left / rate)) }
        };
        if let Some(wait) = wait {
            self.clock.sleep(wait).await;
        }
    }

    /// The registry said that it is asked too often: half the rate for a while, and nothing saved up.
    pub(super) fn slow_down(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.slow_until = self.clock.now().checked_add(SLOW).ok();
        state.left = state.left.min(0.0);
    }
}

#[cfg(test)]
mod tests {
    use promo_sdk::testing::FakeClock;

    use super::*;

    async fn seconds(bucket: &Bucket, clock: &FakeClock, requests: usize) -> f64 {
        let before = clock.now();
        for _ in 0..requests {
            bucket.take().await;
        }
        clock.now().duration_since(before).as_secs_f64()
    }

    #[tokio::test]
    async fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let clock = Arc::new(FakeClock::default());
        let bucket = Bucket::new(clock.clone(), Some(10));
        assert_eq!(seconds(&bucket, &clock, 20).await, 0.0);
        let time = seconds(&bucket, &clock, 100).await;
        assert!((9.9..10.1).contains(&time), "{time}");
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(seconds(&bucket, &clock, 20).await, 0.0, "a pause fills the bucket, and not above its brim");
        assert!(seconds(&bucket, &clock, 10).await > 0.9);
    }

    #[tokio::test]
    async fn too_many_requests_halve_the_rate_for_fifteen_seconds() {
        let clock = Arc::new(FakeClock::default());
        let bucket = Bucket::new(clock.clone(), Some(10));
        bucket.slow_down();
        let time = seconds(&bucket, &clock, 50).await;
        assert!((9.9..10.1).contains(&time), "{time}");
        clock.advance(SignedDuration::from_secs(5));
        seconds(&bucket, &clock, 50).await;
        let time = seconds(&bucket, &clock, 50).await;
        assert!((4.9..5.1).contains(&time), "{time}");
    }

    #[tokio::test]
    async fn a_clock_that_goes_back_neither_stops_nor_frees_the_way() {
        let clock = Arc::new(FakeClock::default());
        let bucket = Bucket::new(clock.clone(), Some(10));
        seconds(&bucket, &clock, 20).await;
        clock.advance(SignedDuration::from_hours(-1));
        let time = seconds(&bucket, &clock, 10).await;
        assert!((0.9..1.1).contains(&time), "{time}");
    }
}
