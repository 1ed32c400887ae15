"""What ``benchmarks.proof_mutants`` changes besides comparisons."""

from typing import Final

CONSTANTS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "fast/estimate.rs": (
        ("bound * (1.0 + 4.0 * ERROR)", "bound"),
        ("entrant.ratio * (1.0 - 4.0 * ERROR)", "entrant.ratio"),
        ("4.0 * ERROR + 2.0 * torch_error(weights.len(), capability)", "0.0", "4.0 * ERROR"),
        ("weight * (1.0 - 4.0 * ERROR)", "weight"),
        ("weight * (1.0 + 4.0 * ERROR)", "weight"),
        ("(top / temperature).abs() > FARTHEST", "false"),
        ("level(1.0 - 4.0 * ERROR)", "level(1.0)"),
        ("level(1.0 + 4.0 * ERROR)", "level(1.0)"),
        ("sum > MOST", "false"),
        (
            "sum * share.min(1.0) / (EXPECTED * *more)",
            "sum * share.min(1.0) * EXPECTED",
            "sum / EXPECTED",
        ),
    ),
    "fast/exp_estimate.rs": (
        ("(vocab / 16 + 8) as f64", "0.0"),
        ("(-12.0_f64).exp2()", "0.0"),
        (
            "roundings * (-24.0_f64).exp2() + torch_error(vocab, capability)",
            "roundings * (-24.0_f64).exp2()",
        ),
        ("(vocab / least_lanes + 8) as f64", "0.0"),
        ("(1e-3..1e3).contains(&temperature)", "true"),
    ),
    "fast/shortlist.rs": (
        ("bound - MARGIN", "bound", "bound - MARGIN / 64.0"),
        ("least * CLOSE", "least"),
        ("sorted[kept - 1] * CLOSE", "sorted[kept - 1]"),
        ("e * APART", "e"),
        ("peaks.lower_bound(wide, k, max, REACH)", "peaks.lower_bound(wide, k, max, 200.0)"),
        ("REACH * temperature", "200.0 * temperature"),
        ("share * sum * (1.0 - error)", "share * sum"),
        ("share * sum * (1.0 + 2.0 * error)", "share * sum"),
    ),
    "fast/top_p.rs": (
        ("count as f64 * (-50_f64).exp2() + error", "error", "count as f64 * (-50_f64).exp2()"),
        ("if planted!(SplitError) { 0.0 } else { SPLIT_ERROR }", "0.0"),
    ),
    "draw/contenders.rs": (
        ("bound * (SLACK / UPPER_RANGE)", "bound / UPPER_RANGE", "bound * 1.01 / UPPER_RANGE"),
        ("bound.is_normal()", "true"),
    ),
    "draw/crowd.rs": (
        ("race.largest * SLACK", "race.largest", "race.largest * 1024.0"),
        ("least.max(SMALLEST)", "least"),
    ),
    "draw/multinomial.rs": (
        ("race.largest * SLACK", "race.largest", "race.largest * 1.01"),
        ("if planted!(ListLimit) { 1.0 } else { 0.5 }", "1.0", "0.51"),
    ),
    "draw/race.rs": (
        (
            "self.largest * uniform * SLACK",
            "self.largest * uniform",
            "self.largest * uniform * 1.01",
        ),
        ("self.largest * if planted!(RaceSlack) { 1.0 } else { SLACK }", "self.largest"),
    ),
}
"""In each file, an expression that stands there once, and what it is changed to."""
