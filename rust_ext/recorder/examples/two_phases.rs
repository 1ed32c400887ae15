//! An engine in miniature that records itself: two phases, a model of one line, its own generator.
//!
//! ```sh
//! cargo run --example two_phases -- rust.calls
//! cargo run --example two_phases -- forced.calls rust.calls
//! ```
//!
//! The second one continues with the tokens of the first.

use sampler_recorder::{Call, Forcing, Header, Logits, Random, Recorder};

const VOCABULARY: u16 = 8_196;
const TAG: i64 = 8_194;
const END: i64 = 8_192;

/// A phase: its name, how many logits it takes, and what is added to a token that is fed back.
type Phase = (&'static str, usize, i64);
const PHASES: [Phase; 2] = [("global", 4_096, 8_196), ("semantic", 8_193, 0)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which file is to be written?")?;
    let mut recorder = Recorder::create(file, Header::new("two_phases").engine_version("1"));
    if let Some(other) = arguments.next() {
        recorder = recorder.forced_by(Forcing::open(other)?);
    }
    let mut random = 42_u32;
    let mut fed = 0;
    for (phase, slice, offset) in PHASES {
        for _ in 0..32 {
            let logits = model(fed);
            let mut call = recorder.call(Call {
                generation: 0,
                phase,
                sampler: "above",
                parameters: &[("temperature", 1.0.into())],
                logits: Logits::row(&logits[..slice]),
                slice: Some(0..slice),
                vocabulary: Some(logits.len()),
                random: Some(Random::new("f32-walk").generator(0).seed(42)),
                ..Call::default()
            });
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = f32::from((random >> 16) as u16) / 65_536.0;
            call.drawn_f32(&[uniform]);
            let Some(token) = above(&logits[..slice], uniform) else {
                call.failed("NoToken", "no logit is above the uniform");
                break;
            };
            let token = call.returned(token);
            if token == END {
                break;
            }
            fed = token + offset;
            recorder.fed(0, &[fed]);
        }
        fed = TAG;
        recorder.fed(0, &[fed]);
    }
    println!("{}", recorder.finish());
    Ok(())
}

fn model(token: i64) -> Vec<f32> {
    let token = u16::try_from(token).unwrap_or(0);
    (0..VOCABULARY)
        .map(|other| f32::from((other ^ token).wrapping_mul(40_503)) / 65_536.0)
        .collect()
}

/// The sampler: the first token whose logit is above the uniform.
fn above(logits: &[f32], uniform: f32) -> Option<i64> {
    (0..).zip(logits).find(|(_, logit)| **logit > uniform).map(|(token, _)| token)
}
