//! The program of docs/plug-in.md: how a sampler in any language becomes a candidate.

// A black box: draws nothing, takes the largest logit.
use std::io::{BufRead, Read, Write, stdin, stdout};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let about = json!({"name": "largest", "view": "tokens", "stream": "own", "effects": [],
                       "samplers": ["sample_logits"]});
    writeln!(output, "{}", json!({ "about": about }))?;
    output.flush()?;
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let ask: Value = serde_json::from_str(&line)?;
        let size = ask["bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("bytes")?;
        let calls = ask["draws"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("draws")?;
        let mut payload = vec![0; size];
        input.read_exact(&mut payload)?;
        let tensors = SafeTensors::deserialize(&payload)?;
        let logits = tensors.tensor("logits")?;
        let vocab = logits.shape().last().copied().ok_or("no dimension")?;
        let values: Vec<f32> =
            logits.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let largest = values.chunks(vocab.max(1)).map(|row| {
            let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
            best.and_then(|token| i64::try_from(token).ok()).unwrap_or(0)
        });
        let tokens: Vec<u8> = largest.flat_map(|token| token.to_le_bytes().repeat(calls)).collect();
        let rows = tokens.len() / 8 / calls.max(1);
        let view = TensorView::new(Dtype::I64, vec![rows, calls], &tokens)?;
        let answer = safetensors::serialize([("token", view)], None)?;
        writeln!(output, "{}", json!({ "bytes": answer.len() }))?;
        output.write_all(&answer)?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}
