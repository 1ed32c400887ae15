//! Rows of a batch in parallel.
//!
//! A row's draw begins in the generator's stream where the draw of the row before it ended. There
//! are two ways to share rows. Helpers prepare rows [`ahead`], and the calling thread draws from
//! them in order. Or whole rows are [`handed`] over, which is better where most of a row's time
//! goes to its draw: a helper gets a copy of the generator as it stands where its row's draw
//! begins, and the calling thread advances its own generator past that row's outputs. The bits do
//! not depend on the number of threads.

mod ahead;
mod handed;
mod turns;

use std::sync::{Arc, Mutex};

use rayon::{ThreadPool, ThreadPoolBuilder};

use self::turns::lock;
use crate::error::SampleError;
use crate::fast::row_sampler::is_estimated;
use crate::logits::Logits;
use crate::rows::Rows;
use crate::torch::generator::Generator;

/// Starting threads costs more than a smaller batch saves.
const ROWS: usize = 4;
const TOKENS: usize = 65_536;

/// The threads that share a batch with the calling one; `None` where that is not worth while, or
/// there are none.
///
/// They are as many as rayon's pool has, less one, in a pool of their own: a thread that finds
/// nothing to do looks for it, on a core that others work on.
pub(crate) fn helpers(logits: Logits<'_>) -> Option<Arc<ThreadPool>> {
    static POOLS: Mutex<Vec<Arc<ThreadPool>>> = Mutex::new(Vec::new());
    let count = rayon::current_num_threads() - 1;
    if logits.rows() < ROWS || logits.values().len() < TOKENS || count == 0 {
        return None;
    }
    let mut pools = lock(&POOLS);
    if let Some(pool) = pools.iter().find(|pool| pool.current_num_threads() == count) {
        return Some(pool.clone());
    }
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(count).build().ok()?);
    pools.push(pool.clone());
    Some(pool)
}

/// The workspaces of rows that others work on.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    ahead: ahead::Slots,
    handed: handed::Slots,
}

/// A copy of workspaces is a matter of speed: empty ones are as good.
impl Clone for Slots {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Draws one token a row; the first row that is refused decides the error, and the generator is
/// then anywhere.
pub(crate) fn sample(
    slots: &mut Slots,
    helpers: &ThreadPool,
    rows: Rows<'_>,
    generator: &mut Generator,
    tokens: &mut [i64],
) -> Result<(), SampleError> {
    if is_estimated(rows.logits.vocab(), rows.parameters) {
        handed::sample(&mut slots.handed, helpers, rows, generator, tokens)
    } else {
        ahead::sample(&mut slots.ahead, helpers, rows, generator, tokens)
    }
}
