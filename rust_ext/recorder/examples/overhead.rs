//! What recording costs an engine: microseconds a call at V = 8,193 with both states of torch's
//! generator, into a temporary file and, for the cost beside the disk, into the null device.

use std::hint::black_box;
use std::time::Instant;

use sampler_recorder::{Call, Header, Keep, Logits, Random, Recorder};

const VOCABULARY: u16 = 8_193;
const CALLS: usize = 2_048;
const STATE: usize = 5_056;

fn main() {
    let logits: Vec<f32> = (0..VOCABULARY)
        .map(|token| f32::from(token.wrapping_mul(40_503)) / 8_192.0 - 4.0)
        .collect();
    let file = std::env::temp_dir().join(format!("overhead-{}.calls", std::process::id()));
    println!("microseconds a call, V = {VOCABULARY}, {CALLS} calls: median, 99th percentile");
    for keep in [Keep::Whole, Keep::Top(256), Keep::Digest] {
        for path in ["/dev/null".as_ref(), file.as_path()] {
            let recorder = Recorder::create(path, Header::new("overhead")).keep(keep);
            let mut times = measure(&recorder, &logits);
            let outcome = recorder.finish();
            times.sort_by(f64::total_cmp);
            let (median, slow) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            let device = if path == file { "file" } else { "null" };
            print!("{:>12}  {device}  {median:6.1}  {slow:6.1}", format!("{keep:?}"));
            println!("{}", outcome.stopped.map(|why| format!("  {why}")).unwrap_or_default());
        }
    }
    let stopped = Recorder::create("/nowhere/a.calls", Header::new("overhead"));
    let mut times = measure(&stopped, &logits);
    times.sort_by(f64::total_cmp);
    println!("     stopped        {:6.1}  {:6.1}", times[CALLS / 2], times[CALLS * 99 / 100]);
    stopped.finish();
    drop(std::fs::remove_file(file));
}

fn measure(recorder: &Recorder, logits: &[f32]) -> Vec<f64> {
    let state = [7; STATE];
    (0..CALLS)
        .map(|token| {
            let begun = Instant::now();
            let mut call = recorder.call(Call {
                generation: 0,
                phase: "semantic",
                sampler: "sample_logits",
                parameters: &[
                    ("temperature", 1.0.into()),
                    ("top_p", 0.95.into()),
                    ("top_k", 80.into()),
                ],
                logits: Logits::row(black_box(logits)),
                slice: Some(0..8_193),
                vocabulary: Some(8_196),
                random: Some(Random::torch(&state).generator(0).seed(42)),
                ..Call::default()
            });
            call.state_after(&state);
            let token = call.returned(token);
            recorder.fed(0, &[token]);
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect()
}
