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
    const fn none() -> RwLock<Self> {
        RwLock::new(Self { process: 0, pools: Vec::new() })
    }

    /// The pool of `count` threads of this process.
    fn of(count: usize) -> Option<Arc<ThreadPool>> {
        static POOLS: RwLock<Pools> = Pools::none();
        Self::of_process(&POOLS, std::process::id(), count)
    }

    /// The pool of `count` threads of a process, which is made where there is none.
    ///
    /// Nobody waits for another thread here: a child would wait for ever for one that held the lock
    /// when the process was forked. Without the lock, there is no pool.
    fn of_process(all: &RwLock<Self>, process: u32, count: usize) -> Option<Arc<ThreadPool>> {
        if let Ok(pools) = all.try_read()
            && pools.process == process
            && let Some(pool) = pools.find(count)
        {
            return Some(pool);
        }
        let mut pools = all.try_write().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_batch_has_helpers_where_there_are_threads() {
        let values = vec![0.0; 5 * TOKENS];
        for (rows, vocab, threads, expected) in [
            (4, TOKENS / 4, None, Some(2)),
            (5, TOKENS, None, Some(2)),
            (5, TOKENS, Some(1), None),
            (5, TOKENS, Some(2), Some(1)),
            (5, TOKENS, Some(3), Some(2)),
            (5, TOKENS, Some(4), Some(2)),
            (3, TOKENS, None, None),
            (4, TOKENS / 4 - 1, None, None),
        ] {
            let logits = Logits::new(&values[..rows * vocab], rows, vocab);
            let threads = threads.and_then(NonZeroUsize::new);
            let pool = ThreadPoolBuilder::new().num_threads(3).build();
            let found = pool.map(|pool| {
                pool.install(|| logits.map(|logits| helpers(logits, threads)))
                    .map(|helpers| helpers.map(|helpers| helpers.current_num_threads()))
            });
            assert!(
                matches!(found, Ok(Ok(found)) if found == expected),
                "{rows} {vocab} {threads:?}"
            );
        }
    }

    #[test]
    fn a_pool_is_made_once_in_a_process() {
        let all = Pools::none();
        let of = |process, count| Pools::of_process(&all, process, count);
        let same = |a: &Option<Arc<ThreadPool>>, b: &Option<Arc<ThreadPool>>| matches!((a, b), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        let (one, two) = (of(1, 1), of(1, 2));
        assert!(one.is_some() && two.is_some() && !same(&one, &two));
        assert!(same(&of(1, 2), &two) && same(&of(1, 1), &one));
        // One that is there is found while others look as well; none is made then.
        let reader = all.read();
        assert!(reader.is_ok() && same(&of(1, 2), &two) && of(1, 3).is_none());
        drop(reader);
        // A fork's child has none of the threads.
        let child = of(2, 2);
        assert!(child.is_some() && !same(&child, &two) && same(&of(2, 2), &child));
        assert!(!same(&of(2, 1), &one));
    }
}
