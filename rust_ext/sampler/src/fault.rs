//! Mistakes that can be switched on, so that the gate can be seen to name them.
//!
//! Those of the stages are planted in the definition, which every call then goes by; those of what
//! users run are planted in its shortcuts, its draw and its batches. Compiled only with the feature
//! `planted-faults`; the switch is process-wide.

use std::sync::atomic::{AtomicUsize, Ordering};

static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// A mistake in what users run: a shortcut, the draw, or rows in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// The fault.
    pub fault: Fault,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub words: &'static str,
    /// The file that it is planted in, under `src`; its folder is `fast`, `draw` or `batch`.
    pub file: &'static str,
    /// The way that a call must take to come by it.
    pub path: &'static str,
}

/// Declares the faults of the stages, each with what it does, its name, the first stage at which it
/// shows, and the verdict that the gate must give; then those of what users run, each with what it
/// does, its name, its file, and its path.
macro_rules! faults {
    (
        $($(#[$meta:meta])* $fault:ident: $name:literal, $stage:literal, $verdict:literal;)*
        @shipped
        $(
            $(#[doc = $words:literal])+
            $shipped:ident: $known:literal, $file:literal, $path:literal;
        )*
    ) => {
        /// One mistake in the port.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$meta])* $fault,)*
            $($(#[doc = $words])+ $shipped,)*
        }

        impl Fault {
            /// Every fault of the stages: its name, the first stage at which it shows, and its
            /// verdict. While one is planted, every call goes by the stages.
            pub const ALL: &[(Self, &'static str, &'static str, &'static str)] =
                &[$((Self::$fault, $name, $stage, $verdict),)*];

            /// Every fault of what users run: it shows in tokens, or in where the generator stands.
            pub const SHIPPED: &[Shipped] = &[$(Shipped {
                fault: Self::$shipped,
                name: $known,
                words: concat!($($words),+).trim_ascii_start(),
                file: $file,
                path: $path,
            },)*];
        }
    };
}

faults! {
    /// The logits are multiplied by 1 / temperature.
    TemperatureByReciprocal: "temperature-by-reciprocal", "scaled_logits", "rounding";
    /// The logits are divided in f64, by a temperature that is not rounded to f32.
    TemperatureInF64: "temperature-in-f64", "scaled_logits", "rounding";
    /// The last bit of one polynomial coefficient of the vectorised exponential is flipped.
    ExponentialCoefficientBit: "exponential-coefficient-bit", "probs", "rounding";
    /// The last bit of one entry of the C library's exponential table is flipped.
    ExponentialTableBit: "exponential-table-bit", "probs", "rounding";
    /// The softmax sum takes half or twice the lanes.
    SoftmaxLanes: "softmax-lanes", "probs", "rounding";
    /// The lanes of the softmax sum are added one by one, from the last.
    SoftmaxFoldOrder: "softmax-fold-order", "probs", "rounding";
    /// Neighbouring lanes of the softmax sum are added, not those of its halves.
    SoftmaxFoldPairs: "softmax-fold-pairs", "probs", "rounding";
    /// The softmax sum is taken in f64.
    SoftmaxSumF64: "softmax-sum-f64", "probs", "rounding";
    /// The softmax divides by its sum; torch multiplies by the reciprocal.
    SoftmaxDivides: "softmax-divides", "probs", "rounding";
    /// Denormal probabilities are flushed to zero.
    DenormalsFlushed: "denormals-flushed", "probs", "semantic";
    /// Top-k keeps one token more.
    TopKOffByOne: "top-k-off-by-one", "top_k_mask", "semantic";
    /// Top-k keeps exactly k tokens: of those tied at the threshold, the first.
    TopKExactly: "top-k-exactly", "top_k_mask", "semantic";
    /// Top-k drops what is not above the threshold, unless nothing would be left: `<=` for `<`.
    TopKStrict: "top-k-strict", "top_k_mask", "semantic";
    /// The nucleus ends where the cumulative sum reaches `top_p`, not where it exceeds it.
    TopPInclusive: "top-p-inclusive", "top_p_mask", "semantic";
    /// The removal is not shifted: the token that crosses `top_p` goes, unless it is the first.
    TopPWithoutShift: "top-p-without-shift", "top_p_mask", "semantic";
    /// The removal is rotated instead of shifted: the first token goes, unless it is the only one.
    TopPRotates: "top-p-rotates", "top_p_mask", "semantic";
    /// The nucleus is measured after renormalising what top-k left.
    TopPOfRenormalized: "top-p-of-renormalized", "top_p_mask", "semantic";
    /// `top_p` = 0 keeps the first token only; it means that the stage is off.
    TopPZeroIsGreedy: "top-p-zero-is-greedy", "top_p_mask", "semantic";
    /// The cumulative sum is kept in f32.
    TopPSumF32: "top-p-sum-f32", "top_p_mask", "rounding";
    /// The cumulative sum is compared with `top_p` in f64, without rounding it to f32.
    TopPComparedInF64: "top-p-compared-in-f64", "top_p_mask", "rounding";
    /// Tied tokens at the nucleus' edge are kept by ascending index.
    TopPStableTies: "top-p-stable-ties", "top_p_mask", "tie_order";
    /// The renormalisation sum is taken in one lane.
    RenormalizeSequential: "renormalize-sequential", "renormalized", "rounding";
    /// The renormalisation sum of four to seven tokens is taken in lanes where it is not, on Arm.
    RenormalizeShortInLanes: "renormalize-short-in-lanes", "renormalized", "rounding";
    /// The renormalisation sum is taken in f64.
    RenormalizeSumF64: "renormalize-sum-f64", "renormalized", "rounding";
    /// The renormalisation multiplies by 1 / sum.
    RenormalizeByReciprocal: "renormalize-by-reciprocal", "renormalized", "rounding";
    /// The draw's uniforms have 24 bits.
    DrawUniform24Bits: "draw-uniform-24-bits", "token", "generator";
    /// The draw's exponentials are -ln(u), not -ln(1 - u).
    DrawLog: "draw-log", "token", "generator";
    /// The last row of a batch draws first.
    DrawRowsReversed: "draw-rows-reversed", "token", "generator";
    /// The two words of a 64-bit output are swapped.
    GeneratorWordOrder: "generator-word-order", "token", "generator";
    /// The generator steps once too often after a call.
    GeneratorExtraStep: "generator-extra-step", "token", "generator";
    /// A call leaves the generator as it found it.
    GeneratorNotAdvanced: "generator-not-advanced", "token", "generator";
    /// The last of several maxima wins.
    ArgmaxLastWins: "argmax-last-wins", "token", "tie_order";
    /// The simple sampler divides by the temperature.
    SimpleDivides: "simple-divides", "scaled_logits", "rounding";
    /// The simple sampler's noise includes the bit above the 24 that torch uses.
    SimpleUniform25Bits: "simple-uniform-25-bits", "noised_logits", "generator";
    /// The simple sampler's forbidden token takes no noise from the generator.
    ForbiddenTakesNoNoise: "forbidden-takes-no-noise", "noised_logits", "generator";
    /// The simple sampler leaves its logits as they were.
    InputNotMutated: "input-not-mutated", "input", "effect";

    @shipped

    /// The best estimate of p / q wins, however close the next one is.
    EstimateNear: "estimate-near", "fast/estimate.rs", "estimate";
    /// An estimated sum decides what the nucleus keeps, however close it is to `top_p`.
    EstimateMargin: "estimate-margin", "fast/estimate.rs", "estimate";
    /// The nucleus of estimates holds a hundredth less than its share.
    EstimateShare: "estimate-share", "fast/estimate.rs", "estimate";
    /// The best contender wins, although a token that is not one may be better.
    EstimateBound: "estimate-bound", "fast/estimate.rs", "estimate";
    /// A uniform of zero gives an estimate like any other.
    EstimateZero: "estimate-zero", "fast/estimate.rs", "estimate";
    /// Where estimates leave a doubt, the exact draw begins behind the words that they took.
    EstimateRestart: "estimate-restart", "fast/estimate.rs", "estimate, then exactly";
    /// Logits may be so large that their quotients by the temperature round coarsely.
    EstimateFar: "estimate-far", "fast/estimate.rs", "estimate";
    /// Estimates are of powers of a base that is a little more than e.
    EstimateBase: "estimate-base", "fast/estimate.rs", "estimate";
    /// Estimates of a row do not ask how many tokens are above the winner.
    EstimateTopK: "estimate-top-k", "fast/estimate.rs", "estimate, top-k";
    /// No token below the bound on the k-th largest logit is listed, however close it is.
    ShortlistMargin: "shortlist-margin", "fast/shortlist.rs", "list";
    /// Exponentials that differ are taken for probabilities that do.
    ShortlistClose: "shortlist-close", "fast/shortlist.rs", "estimated list";
    /// Whatever top-k keeps, top-p is taken to keep.
    ShortlistTopP: "shortlist-top-p", "fast/shortlist.rs", "estimated list";
    /// The bound on the error of a list's estimated sum is zero.
    ShortlistError: "shortlist-error", "fast/shortlist.rs", "estimated list, nucleus";
    /// The list's floor is the probability after the k-th largest.
    ShortlistFloor: "shortlist-floor", "fast/shortlist.rs", "list";
    /// The last logit of a row is not listed, where it is in a word with others.
    ListingLast: "listing-last", "fast/listing.rs", "list";
    /// Of a list, only what is above the floor is drawn from.
    SurvivorsFloor: "survivors-floor", "fast/survivors.rs", "list";
    /// The sum of a list is taken in its own order.
    SparseSumOrder: "sparse-sum-order", "fast/sparse_sum.rs", "list, close ones";
    /// Of an estimated list, a token that the nucleus may not keep wins as any other.
    ListSure: "list-sure", "fast/row_sampler.rs", "estimated list, nucleus";
    /// Where a draw needs the sum of an estimated list, it is one.
    ListSum: "list-sum", "fast/row_sampler.rs", "estimated list, close ones";
    /// Where a draw needs the sum of an estimated list, it draws again behind the words it took.
    ListRestart: "list-restart", "fast/row_sampler.rs", "estimated list, close ones";
    /// The nucleus of a list ends one token early.
    CutoffEarly: "cutoff-early", "fast/top_p.rs", "list, nucleus";
    /// A sum that is partly in f32 decides where the nucleus ends, however close it is to `top_p`.
    SplitError: "split-error", "fast/top_p.rs", "whole row, nucleus";
    /// All tokens that tie at the nucleus' edge stay.
    TiesStay: "ties-stay", "fast/top_p.rs", "whole row, parted ties";
    /// One more of the tokens that tie at the nucleus' edge stays.
    OneTieMore: "one-tie-more", "fast/top_p.rs", "whole row, parted ties";
    /// A guess of where the nucleus ends is not looked at again.
    GuessUnasked: "guess-unasked", "fast/narrow.rs", "whole row, bad guess";
    /// Many tokens are drawn from as top-k left them.
    CrowdFloor: "crowd-floor", "fast/masks.rs", "crowd";
    /// Of two ratios that round alike, the larger one wins.
    RaceSlack: "race-slack", "draw/race.rs", "close ones";
    /// Of equal ratios, the last token wins.
    RaceLast: "race-last", "draw/race.rs", "close ones";
    /// A uniform of zero does not make an impossible token of a crowd win.
    CrowdZero: "crowd-zero", "draw/race.rs", "crowd";
    /// A crowd's best contender wins, although a token that is not one may be better.
    CrowdBound: "crowd-bound", "draw/crowd.rs", "crowd";
    /// A uniform of zero does not make an impossible token beside a list win.
    ListZero: "list-zero", "draw/multinomial.rs", "list";
    /// The generator skips one word too many after an output that it makes by itself.
    ListWord: "list-word", "draw/multinomial.rs", "list";
    /// The token of a list that is most likely to win does.
    ListFavourite: "list-favourite", "draw/multinomial.rs", "list";
    /// What p / q cannot exceed is taken to be p / (u + u^2).
    ListLimit: "list-limit", "draw/multinomial.rs", "list";
    /// The last token of a row is no contender, and its output is left to the next draw.
    ContendersShort: "contenders-short", "draw/contenders.rs", "estimate, or crowd";
    /// The generator skips the last outputs of a state.
    ContendersRest: "contenders-rest", "draw/contenders.rs", "estimate, or crowd";
    /// A row is handed over with the generator of the next one.
    HandedGenerator: "handed-generator", "batch/handed.rs", "rows handed over";
    /// The calling thread passes over one output too few of a row that it hands over.
    HandedOutputs: "handed-outputs", "batch/handed.rs", "rows handed over";
    /// A token that another thread drew is stored as the next row's.
    HandedToken: "handed-token", "batch/handed.rs", "rows handed over";
    /// The row after the one that is to be drawn from is prepared.
    AheadRow: "ahead-row", "batch/ahead.rs", "rows prepared ahead";
    /// The last row of a batch is not drawn from.
    AheadLast: "ahead-last", "batch/ahead.rs", "rows prepared ahead";
}

impl Fault {
    /// The fault of that name, of the stages or of what users run.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let stages = Self::ALL.iter().map(|(fault, known, ..)| (*fault, *known));
        let shipped = Self::SHIPPED.iter().map(|shipped| (shipped.fault, shipped.name));
        stages.chain(shipped).find(|(_, known)| *known == name).map(|(fault, _)| fault)
    }

    /// Switches this fault on, and every other one off.
    pub fn plant(self) {
        PLANTED.store(self as usize + 1, Ordering::Relaxed);
    }

    /// Switches every fault off.
    pub fn clear() {
        PLANTED.store(0, Ordering::Relaxed);
    }
}

pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.load(Ordering::Relaxed) == fault as usize + 1
}

/// Whether a fault of the stages is planted: calls then go by them.
pub(crate) fn is_of_stages() -> bool {
    (1..=Fault::ALL.len()).contains(&PLANTED.load(Ordering::Relaxed))
}
