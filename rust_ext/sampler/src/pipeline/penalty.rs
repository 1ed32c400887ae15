//! The repetition penalty.

/// Penalises the scores of the tokens in `history`, each once; `before` is a workspace.
///
/// transformers gathers the scores of the history, and scatters what it makes of them: a token that
/// occurs twice is written twice, the same.
pub(crate) fn penalize(scores: &mut [f32], history: &[i64], penalty: f64, before: &mut Vec<f32>) {
    #[allow(clippy::cast_possible_truncation)] // torch rounds the scalar to the tensor's type.
    let penalty = penalty as f32;
    let known = |token: i64, vocab| usize::try_from(token).ok().filter(|token| *token < vocab);
    before.clear();
    before
        .extend(history.iter().map(|token| known(*token, scores.len()).map_or(0.0, |i| scores[i])));
    for (token, &score) in history.iter().zip(&*before) {
        if let Some(index) = known(*token, scores.len()) {
            scores[index] = if score < 0.0 { score * penalty } else { score / penalty };
        }
    }
}
