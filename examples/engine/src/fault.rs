//! The mistakes that this engine can make on purpose: each was made in a real one.
//!
//! Each is made where it happens in real engines; `README.md` says where each first shows.

use torch_exact_sampler::SampleParameters;

macro_rules! faults {
    ($($name:literal $fault:ident,)*) => {
        /// A mistake.
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Fault {
            $($fault,)*
        }

        /// Every mistake by its name.
        const FAULTS: &[(&str, Fault)] = &[$(($name, Fault::$fault),)*];
    };
}

faults! {
    "wrong-sampler" WrongSampler,
    "wrong-parameters" WrongParameters,
    "short-slice" ShortSlice,
    "long-slice" LongSlice,
    "mask-missing" MaskMissing,
    "mask-extra" MaskExtra,
    "reseeded-each-call" ReseededEachCall,
    "reseeded-each-phase" ReseededEachPhase,
    "shared-generator" SharedGenerator,
    "extra-draw" ExtraDraw,
    "foreign-draw" ForeignDraw,
    "feedback-offset" FeedbackOffset,
    "stale-logits" StaleLogits,
    "late-start" LateStart,
    "stop-rule" StopRule,
    "not-renormalised" NotRenormalised,
    "half-logits" HalfLogits,
    "model" Model,
}

/// The mistakes that are made: one bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults(u32);

impl Faults {
    /// Has a mistake be made as well.
    pub(crate) fn plant(&mut self, name: &str) -> Result<(), String> {
        let known = FAULTS.iter().find(|(known, _)| *known == name);
        let (_, fault) = known.ok_or_else(|| format!("--fault {name}: there is no such fault"))?;
        self.0 |= 1 << *fault as u32;
        Ok(())
    }

    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u32 != 0
    }
}

/// half-logits: the logits rounded to bf16, to nearest, ties to even.
pub(crate) fn round_to_bf16(logits: &mut [f32]) {
    for logit in logits {
        let bits = logit.to_bits();
        *logit = f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    }
}

/// model: another kernel, whose weights are stored by a scale that is no power of two. Its logits
/// are off by an ulp here and there.
pub(crate) fn rescale(logits: &mut [f32]) {
    for logit in logits {
        *logit = *logit * 0.1 * 10.0;
    }
}

/// not-renormalised: a walk along what top-k and top-p have left, which is less than one. Where the
/// uniform lies beyond it, the last token kept is drawn.
pub(crate) fn walk_without_renormalising(
    logits: &[f32],
    parameters: &SampleParameters,
    uniform: f32,
) -> i64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut probs: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = probs.iter().sum();
    for prob in &mut probs {
        *prob /= total;
    }
    let mut order: Vec<usize> = (0..probs.len()).collect();
    order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a]));
    let (mut before, mut rank) = (0.0, 0);
    for token in order {
        let is_kept = rank < parameters.top_k && before <= parameters.top_p;
        before += f64::from(probs[token]);
        rank += 1;
        if !is_kept {
            probs[token] = 0.0;
        }
    }
    let (mut sum, mut last) = (0.0, 0);
    for (token, &prob) in (0..).zip(&probs).filter(|(_, prob)| **prob > 0.0) {
        (sum, last) = (sum + prob, token);
        if uniform < sum {
            break;
        }
    }
    last
}
