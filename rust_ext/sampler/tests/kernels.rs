//! Every bit of a trace, every token and every state is the same with every instruction set.

#![cfg(feature = "internals")]
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::num::NonZeroUsize;

use torch_exact_sampler::internals::{Kernel, force};
use torch_exact_sampler::{
    Capability, Generator, Logits, Replay, SampleParameters, Sampler, SimpleBatchParameters,
    simple_batch_sampler, trace_sample_logits,
};

/// Spread widely and hardly, tied, masked, and with exponentials that are denormal or zero.
const KINDS: [fn(f32, f32) -> f32; 5] = [
    |x, y| (x + y + x * y) * 7.0 - 9.0,
    |x, _| (x * 60.0).floor() / 4.0 - 7.0,
    |x, y| if y < 0.3 { f32::NEG_INFINITY } else { x * 9.0 },
    |x, y| if y < 0.5 { x - 90.0 - 40.0 * y } else { x * 9.0 },
    |x, _| x * 1e-3,
];

/// Of top-k and top-p, and whether estimates decide: so of most rows that are drawn from once.
const PARAMETERS: [(f64, i64, f64); 5] =
    [(1.0, 0, 0.9), (1.0, 0, 0.0), (0.7, 50, 0.95), (1.3, 5, 0.5), (1.0, 1000, 0.9)];

/// All that is made of rows, as numbers.
fn everything() -> Vec<u64> {
    let mut made = Vec::new();
    let mut source = Generator::new(23);
    let mut sampler = Sampler::new();
    for length in (1..70).chain([100, 257, 1025, 2048, 5003]) {
        for kind in KINDS {
            let mut row: Vec<f32> =
                (0..length).map(|_| kind(source.next_f32(), source.next_f32())).collect();
            row[length / 2] = 1.0;
            for (temperature, top_k, top_p) in PARAMETERS {
                let top_k = top_k.min(i64::try_from(length).unwrap());
                let parameters =
                    SampleParameters { temperature, top_k, top_p, ..SampleParameters::default() };
                for capability in Capability::ALL {
                    let replay = Replay { capability, threads: NonZeroUsize::MIN };
                    let mut generator = Generator::new(length as u64);
                    let logits = Logits::row(&row);
                    let trace =
                        trace_sample_logits(logits, &parameters, replay, &mut generator).unwrap();
                    for numbers in [&trace.probs, &trace.renormalized] {
                        made.extend(numbers.iter().map(|x| u64::from(x.to_bits())));
                    }
                    for mask in [&trace.top_k_mask, &trace.top_p_mask] {
                        made.extend(mask.iter().map(|kept| u64::from(*kept)));
                    }
                    let mut tokens = [0; 8];
                    for token in tokens[..4].chunks_mut(1) {
                        sampler.sample(logits, &parameters, replay, &mut generator, token).unwrap();
                    }
                    sampler
                        .draw(&row, &parameters, replay, &mut generator, &mut tokens[4..])
                        .unwrap();
                    made.extend(tokens.map(i64::cast_unsigned));
                    made.push(generator.next_u64());
                }
            }
            let mut generator = Generator::new(length as u64);
            let mut token = [0];
            let parameters = SimpleBatchParameters::default();
            simple_batch_sampler(&mut row, length, &parameters, &mut generator, &mut token)
                .unwrap();
            made.extend(row.iter().map(|x| u64::from(x.to_bits())));
            made.push(token[0].cast_unsigned());
        }
    }
    made
}

#[test]
fn every_kernel_makes_the_same_bits() {
    assert!(force(Some(Kernel::Portable)));
    let portable = everything();
    assert!(portable.len() > 1_000_000);
    let mut others = 0;
    for kernel in Kernel::ALL {
        if kernel != Kernel::Portable && force(Some(kernel)) {
            assert!(everything() == portable, "{kernel:?}");
            others += 1;
        }
    }
    assert!(force(None));
    #[cfg(target_arch = "x86_64")]
    assert!(others > 0 || !std::arch::is_x86_feature_detected!("avx2"));
    #[cfg(target_arch = "aarch64")]
    assert!(others > 0);
    println!("{others} kernels beside the portable one");
}
