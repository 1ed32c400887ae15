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

use std::num::NonZeroUsize;
use std::sync::{Arc, RwLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::SampleError;
use crate::fast::row_sampler::is_estimated;
use crate::logits::Logits;
use crate::rows::Rows;
use crate::torch::generator::Generator;
use crate::watch::Watch;

/// Starting threads costs more than a smaller batch saves.
const ROWS: usize = 4;
const TOKENS: usize = 65_536;

/// The threads that share a batch with the calling one; `None` where that is not worth while, or
/// there are none.
///
/// They are as many as rayon's pool has, and with the calling one at most `threads`, in a pool of
/// their own: a thread that finds nothing to do looks for it, on a core that others work on.
pub(crate) fn helpers(
    logits: Logits<'_>,
    threads: Option<NonZeroUsize>,
) -> Option<Arc<ThreadPool>> {
    if logits.rows() < ROWS || logits.values().len() < TOKENS || threads == Some(NonZeroUsize::MIN)
    {
        return None;
    }
    let most = threads.map_or(usize::MAX, NonZeroUsize::get);
    match rayon::current_num_threads().min(most) - 1 {
        0 => None,
        count => Pools::of(count),
    }
}

/// The pools of helpers, each of another number of threads.
struct Pools {
    /// The process that has their threads: a fork's child has none of them.
    process: u32,
    pools: Vec<Arc<ThreadPool>>,
}

impl Pools {
    /// The pool of `count` threads of this process, which is made where there is none.
    ///
    /// Nobody waits for another thread here: a child would wait for ever for one that held the lock
    /// when the process was forked. Without the lock, there is no pool.
    fn of(count: usize) -> Option<Arc<ThreadPool>> {
        static POOLS: RwLock<Pools> = RwLock::new(Pools { process: 0, pools: Vec::new() });
        let process = std::process::id();
        if let Ok(pools) = POOLS.try_read()
            && pools.process == process
            && let Some(pool) = pools.find(count)
        {
            return Some(pool);
        }
        let mut pools = POOLS.try_write().ok()?;
        if pools.process != process {
            // Dropped, they would signal to threads that are no more.
            std::mem::forget(std::mem::take(&mut pools.pools));
            pools.process = process;
        }
        if let Some(pool) = pools.find(count) {
            return Some(pool);
        }
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(count).build().ok()?);
        pools.pools.push(pool.clone());
        Some(pool)
    }

    fn find(&self, count: usize) -> Option<Arc<ThreadPool>> {
        self.pools.iter().find(|pool| pool.current_num_threads() == count).cloned()
    }
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
    watch: Watch,
) -> Result<(), SampleError> {
    if is_estimated(rows.logits.vocab(), rows.parameters) {
        handed::sample(&mut slots.handed, helpers, rows, generator, tokens, watch)
    } else {
        ahead::sample(&mut slots.ahead, helpers, rows, generator, tokens, watch)
    }
}
