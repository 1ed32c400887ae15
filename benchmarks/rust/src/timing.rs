//! How a side is timed.

use std::time::{Duration, Instant};

use crate::sides::Call;

/// Calls between two looks at the clock: one on each row.
pub(crate) const ROWS: usize = 8;

/// The median microseconds a call, of as many calls as `slice` has time for.
pub(crate) fn microseconds(call: &mut Call<'_>, slice: Duration) -> Result<f64, Failure> {
    const FEWEST: usize = 3;
    let begin = Instant::now();
    let mut groups = Vec::new();
    while groups.len() < FEWEST || begin.elapsed() < slice {
        let start = Instant::now();
        for row in 0..ROWS {
            call(row)?;
        }
        groups.push(start.elapsed());
    }
    groups.sort_unstable();
    #[allow(clippy::cast_precision_loss)] // ROWS is small.
    let calls = ROWS as f64;
    Ok(groups[groups.len() / 2].as_secs_f64() * 1e6 / calls)
}

/// Why nothing sound could be timed.
pub(crate) type Failure = Box<dyn std::error::Error>;
