//! The program of docs/plug-in.md: how a sampler in any language becomes a candidate.

// A sampler in f64, which draws from a generator of its own and shows its distribution.
use std::io::{BufRead, Read, Write, stdin, stdout};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

/// Reads a parameter: "nan", "inf" and "-inf" are text.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Gives what a token is drawn from: temperature, softmax, top-k with its ties, top-p.
fn distribution(row: &[f32], parameters: &Value) -> Result<Vec<f32>, &'static str> {
    let [temperature, top_p] = ["temperature", "top_p"].map(|name| number(&parameters[name]));
    let scaled: Vec<f64> = row.iter().map(|&logit| f64::from(logit) / temperature).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut probs: Vec<f64> = scaled.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = probs.iter().sum();
    if !sum.is_finite() {
        return Err("probabilities are not finite");
    }
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a]));
    if let Some(k) = parameters["top_k"].as_u64().filter(|&k| k > 0) {
        let last = usize::try_from(k - 1).ok().and_then(|at| order.get(at));
        let threshold = probs[*last.ok_or("top_k is out of range")?];
        probs.iter_mut().filter(|prob| **prob < threshold).for_each(|prob| *prob = 0.0);
    }
    let mut before = 0.0;
    for (rank, &token) in order.iter().enumerate() {
        let prob = probs[token] / sum;
        if top_p > 0.0 && rank > 0 && before > top_p {
            probs[token] = 0.0;
        }
        before += prob;
    }
    let kept: f64 = probs.iter().sum();
    #[expect(clippy::cast_possible_truncation, reason = "the answer is f32")]
    Ok(probs.iter().map(|prob| (prob / kept) as f32).collect())
}

/// Draws a token by a uniform of `SplitMix64`.
fn draw(probs: &[f32], state: &mut u64) -> i64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let uniform = f64::from_bits(0x3FF0_0000_0000_0000 | ((bits ^ (bits >> 31)) >> 12)) - 1.0;
    let (mut sum, mut last) = (0.0, 0);
    for (token, &prob) in (0..).zip(probs).filter(|&(_, &prob)| prob > 0.0) {
        (sum, last) = (sum + f64::from(prob), token);
        if uniform < sum {
            break;
        }
    }
    last
}

/// Answers a case: a line, and the bytes of its tensors.
fn answer(ask: &Value, payload: &[u8]) -> Result<(Value, Vec<u8>), Box<dyn std::error::Error>> {
    let (tensors, parameters) = (SafeTensors::deserialize(payload)?, &ask["parameters"]);
    let logits = tensors.tensor("logits")?;
    let &[rows, vocab] = logits.shape() else {
        return Ok((json!({"declined": "it takes rows, [B, V]"}), Vec::new()));
    };
    if parameters["zero_temperature"] == "argmax" {
        return Ok((json!({"declined": "temperature 0 is an error"}), Vec::new()));
    }
    let bytes = logits.data().as_chunks().0;
    let values: Vec<f32> = bytes.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let row = |row: &[f32]| distribution(row, parameters);
    let probs = match values.chunks(vocab.max(1)).map(row).collect::<Result<Vec<_>, _>>() {
        Ok(probs) => probs,
        // The first call fails, and so would all others.
        Err(words) => {
            let error = json!({"kind": "RuntimeError", "message": words, "draw": 0});
            return Ok((json!({ "error": error }), Vec::new()));
        }
    };
    let calls = ask["draws"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("draws")?;
    let (mut state, mut tokens) = (ask["seed"].as_u64().ok_or("seed")?, vec![0; rows * calls]);
    for call in 0..calls {
        for (row, probs) in probs.iter().enumerate() {
            tokens[row * calls + call] = draw(probs, &mut state);
        }
    }
    let tokens: Vec<u8> = tokens.into_iter().flat_map(i64::to_le_bytes).collect();
    let probs: Vec<u8> = probs.concat().into_iter().flat_map(f32::to_le_bytes).collect();
    let shown = [
        ("token", TensorView::new(Dtype::I64, vec![rows, calls], &tokens)?),
        ("renormalized", TensorView::new(Dtype::F32, vec![rows, vocab], &probs)?),
    ];
    let payload = safetensors::serialize(shown, None)?;
    Ok((json!({"bytes": payload.len()}), payload))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let about = json!({"name": "in_f64", "version": "1.0", "view": "probs", "stream": "own",
                       "effects": [], "samplers": ["sample_logits"], "capabilities": "one"});
    writeln!(output, "{}", json!({ "about": about }))?;
    output.flush()?;
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let ask: Value = serde_json::from_str(&line)?;
        let size = ask["bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("bytes")?;
        let mut payload = vec![0; size];
        input.read_exact(&mut payload)?;
        let (reply, tensors) = answer(&ask, &payload)?;
        writeln!(output, "{reply}")?;
        output.write_all(&tensors)?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}
