//! Whether the time can be relied on (S12.6). What must not live here: reading a clock, and what waits when it cannot.

use jiff::{SignedDuration, Timestamp};

use crate::gate::Reason;

/// How far this machine and the ledger may be apart.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// How far a clock may go back.
pub const MAX_STEP_BACK: SignedDuration = SignedDuration::from_secs(2);

/// The present instant, and what speaks against it. An instant alone is one that nothing speaks against, such as that
/// of a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// The instant, by the ledger's clock.
    pub at: Timestamp,
    /// Why no gate that compares instants may open on it.
    pub doubt: Option<Doubt>,
}

/// Why the time cannot be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// This machine and the ledger are more than [`MAX_SKEW`] apart.
    Skew {
        /// What the ledger's clock reads.
        ledger: Timestamp,
        /// What this machine's reads.
        machine: Timestamp,
    },
    /// The ledger's clock went back by more than [`MAX_STEP_BACK`].
    WentBack {
        /// What it reads.
        ledger: Timestamp,
        /// The latest time that it has given a record, or been seen to read.
        before: Timestamp,
    },
}

/// What was read of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readings {
    /// The ledger's clock. A ledger in a file has the clock of the machine that writes; a server has its own.
    pub ledger: Timestamp,
    /// This machine's clock, before and after the ledger's was read, which may take a while.
    pub machine: (Timestamp, Timestamp),
    /// The latest time that the ledger's clock has given a record, or been seen to read; none for an empty ledger.
    pub latest: Option<Timestamp>,
}

impl Present {
    /// The present, by these readings.
    #[must_use]
    pub fn of(readings: &Readings) -> Self {
        let Readings { ledger, machine: (before, after), latest } = *readings;
        let ahead = |a: Timestamp, b: Timestamp| a.duration_since(b);
        let skew = if ahead(before, ledger) > MAX_SKEW {
            Some(before)
        } else if ahead(ledger, after) > MAX_SKEW {
            Some(after)
        } else {
            None
        };
        let back = latest.filter(|latest| ahead(*latest, ledger) > MAX_STEP_BACK);
        let doubt = match (back, skew) {
            (Some(before), _) => Some(Doubt::WentBack { ledger, before }),
            (None, Some(machine)) => Some(Doubt::Skew { ledger, machine }),
            (None, None) => None,
        };
        Self { at: ledger, doubt }
    }

    /// Every reading that speaks for the present; one where nothing speaks against it.
    #[must_use]
    pub fn readings(&self) -> [Timestamp; 2] {
        let other = match self.doubt {
            None => self.at,
            Some(Doubt::Skew { machine, .. }) => machine,
            Some(Doubt::WentBack { before, .. }) => before,
        };
        [self.at, other]
    }

    /// Whether `instant` has come. None where the time is in doubt and what was read disagrees about it; where all of it
    /// agrees, the doubt does not matter.
    #[must_use]
    pub fn reached(&self, instant: Timestamp) -> Option<bool> {
        let [_, other] = self.readings();
        let (by_ledger, by_other) = (self.at >= instant, other >= instant);
        (by_ledger == by_other).then_some(by_ledger)
    }
}

impl From<Timestamp> for Present {
    fn from(at: Timestamp) -> Self {
        Self { at, doubt: None }
    }
}

impl From<Doubt> for Reason {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Skew { ledger, machine } => Self::ClockSkew { ledger, machine },
            Doubt::WentBack { ledger, before } => Self::ClockWentBack { ledger, before },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).unwrap()
    }

    fn doubt(ledger: i64, machine: (i64, i64), latest: Option<i64>) -> Option<Doubt> {
        let machine = (at(machine.0), at(machine.1));
        Present::of(&Readings { ledger: at(ledger), machine, latest: latest.map(at) }).doubt
    }

    #[test]
    fn s12_6_half_a_minute_between_the_clocks_is_allowed_and_no_more() {
        for far in [-30_000, 0, 30_000] {
            assert_eq!(doubt(0, (far, far), None), None, "{far}");
        }
        assert_eq!(doubt(0, (30_001, 30_001), None), Some(Doubt::Skew { ledger: at(0), machine: at(30_001) }));
        assert_eq!(doubt(0, (-30_001, -30_001), None), Some(Doubt::Skew { ledger: at(0), machine: at(-30_001) }));
    }

    #[test]
    fn s12_6_a_ledger_that_takes_long_to_say_its_time_is_no_skew() {
        assert_eq!(doubt(0, (-60_000, 0), None), None);
        assert_eq!(doubt(0, (0, 60_000), None), None);
        assert_eq!(doubt(0, (-60_000, 60_000), None), None);
        assert_eq!(doubt(0, (31_000, 90_000), None), Some(Doubt::Skew { ledger: at(0), machine: at(31_000) }));
    }

    #[test]
    fn s12_6_two_seconds_back_are_allowed_and_no_more() {
        assert_eq!(doubt(0, (0, 0), Some(2_000)), None);
        assert_eq!(doubt(0, (0, 0), Some(-86_400_000)), None);
        let back = Some(Doubt::WentBack { ledger: at(0), before: at(2_001) });
        assert_eq!(doubt(0, (0, 0), Some(2_001)), back);
        assert_eq!(doubt(0, (90_000, 90_000), Some(2_001)), back, "the ledger's own word comes first");
    }

    #[test]
    fn s8_4_an_instant_between_two_readings_in_doubt_has_neither_come_nor_not() {
        let skew = |machine| Some(Doubt::Skew { ledger: at(0), machine: at(machine) });
        let back = Some(Doubt::WentBack { ledger: at(0), before: at(60_000) });
        for (doubt, instant, reached) in [
            (None, 0, Some(true)),
            (None, 1, Some(false)),
            (skew(60_000), 0, Some(true)),
            (skew(60_000), 1, None),
            (skew(60_000), 60_000, None),
            (skew(60_000), 60_001, Some(false)),
            (skew(-60_000), -60_000, Some(true)),
            (skew(-60_000), 0, None),
            (skew(-60_000), 1, Some(false)),
            (back, 0, Some(true)),
            (back, 60_000, None),
            (back, 60_001, Some(false)),
        ] {
            assert_eq!(Present { at: at(0), doubt }.reached(at(instant)), reached, "{doubt:?} {instant}");
        }
    }
}
