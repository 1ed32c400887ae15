//! Holds the crate against `fixtures/vectors/sample_logits.json` (docs/vectors.md), bit by bit.

use std::error::Error;

use serde_json::{Value, json};
use torch_exact_sampler::{Generator, Logits, Replay, SampleParameters, Sampler, ZeroTemperature};

/// Reads a parameter: "nan", "inf" and "-inf" are text.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Writes numbers by their bits, as the vectors have them.
fn hex(values: &[f32]) -> Value {
    let words: Vec<_> = values.iter().map(|one| format!("{:08x}", one.to_bits())).collect();
    json!(words.join(" "))
}

fn digits(mask: &[bool]) -> Value {
    json!(mask.iter().map(|&stays| if stays { '1' } else { '0' }).collect::<String>())
}

/// Names what differs first from a vector; none where nothing does.
fn differs(vector: &Value, replay: Replay) -> Result<Option<&'static str>, Box<dyn Error>> {
    let words = vector["logits"].as_str().ok_or("logits")?.split(' ');
    let bits = words.map(|word| u32::from_str_radix(word, 16)).collect::<Result<Vec<_>, _>>()?;
    let logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
    let shape = vector["shape"].as_array().ok_or("shape")?;
    let rows = if let [rows, _] = &shape[..] { rows.as_u64().ok_or("rows")? } else { 1 };
    let rows = usize::try_from(rows)?;
    let batch = Logits::new(&logits, rows, logits.len() / rows.max(1))?;
    let given = &vector["parameters"];
    let argmax = given["zero_temperature"] == "argmax";
    let parameters = SampleParameters {
        temperature: number(&given["temperature"]),
        top_p: number(&given["top_p"]),
        top_k: given["top_k"].as_i64().ok_or("top_k")?,
        zero_temperature: if argmax { ZeroTemperature::Argmax } else { ZeroTemperature::Raise },
    };
    let mut generator = Generator::new(vector["seed"].as_u64().ok_or("seed")?);
    (0..vector["advance"].as_u64().ok_or("advance")?).for_each(|_| _ = generator.next_u32());
    let (mut sampler, mut token) = (Sampler::new(), vec![Vec::new(); rows]);
    for call in 0..vector["draws"].as_u64().ok_or("draws")? {
        let trace = sampler.trace(batch, &parameters, replay, &mut generator);
        if vector["refused"] == call {
            return Ok(trace.is_ok().then_some("refusal"));
        }
        let trace = trace?;
        let stages = json!({
            "scaled_logits": hex(&trace.scaled_logits), "probs": hex(&trace.probs),
            "top_k_mask": digits(&trace.top_k_mask), "top_p_mask": digits(&trace.top_p_mask),
            "renormalized": hex(&trace.renormalized),
        });
        if call == 0 && stages != vector["stages"] {
            return Ok(Some("stages"));
        }
        token.iter_mut().zip(trace.token).for_each(|(row, one)| row.push(one));
    }
    let next = [(); 4].map(|()| generator.next_u32());
    let generator = (json!(next) != vector["next_outputs"]).then_some("generator");
    Ok(if json!(token) == vector["token"] { generator } else { Some("token") })
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let capability = file["capability"].as_str().ok_or("capability")?.parse()?;
    let replay = Replay { capability, ..Replay::default() };
    let (mut equal, mut wrong) = (0, 0);
    for vector in file["vectors"].as_array().ok_or("vectors")? {
        // A call of this crate always says how many rows there are: [V] is none that it refuses.
        if vector["refused"].is_u64() && vector["flags"].to_string().contains("one_dimension") {
            continue;
        }
        match differs(vector, replay)? {
            None => equal += 1,
            Some(what) => {
                wrong += 1;
                println!("{}: {what}", vector["id"]);
            }
        }
    }
    println!("{equal} equal, {wrong} differ");
    if wrong == 0 && equal > 0 { Ok(()) } else { Err("the vectors do not hold".into()) }
}
