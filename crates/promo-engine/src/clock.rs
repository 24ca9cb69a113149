//! The machine's clock. What lives here: the one place that reads it. Everything else is given a [`Clock`].

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_sdk::Clock;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one module that reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_lasts_at_least_as_long_as_asked() {
        let before = SystemClock.now();
        SystemClock.sleep(Duration::from_millis(20)).await;
        assert!(before.duration_until(SystemClock.now()).as_millis() >= 19);
    }
}
