//! Every fault that is planted in what users run shows, within a stated number of calls.
//!
//! A call is made with the fault and without; tokens and generator are compared. The stated number of
//! calls misses the fault with a probability below [`MISSED`]: that is checked against a lower bound on
//! the rate at which it shows, per call. Which fault is planted is one for the process, so that all are
//! in one test.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

use std::fmt::Write;

use torch_exact_sampler::{Capability, Fault, Generator, Logits, MISSED, PlantedCall, Sampler};

/// After how many calls the rate is looked at, and by how many standard errors it is lowered. Looking
/// several times is several chances to be wrong: all but the last ask for more.
const LOOKS: [(u32, f64); 3] = [(100, 4.0), (200, 4.0), (400, 3.0)];

/// The number of calls of which none shows a fault with a probability of [`MISSED`], if it shows on so
/// many of so many, lowered by so many standard errors.
fn calls_needed(shown: u32, calls: u32, errors: f64) -> f64 {
    let calls = f64::from(calls);
    let rate = f64::from(shown) / calls;
    let error = (rate * (1.0 - rate) / calls).sqrt().max(1.0 / calls);
    let least = rate - errors * error;
    if least > 0.0 { (MISSED.ln() / (-least).ln_1p()).ceil() } else { f64::INFINITY }
}

/// The tokens, and how the generator stands after them.
fn outcome(call: &PlantedCall) -> (Vec<i64>, Generator) {
    let (mut sampler, parameters, replay) = (Sampler::new(), &call.parameters, call.replay);
    if let Some(seen) = &call.seen {
        let (mut generator, mut token) = (Generator::new(0), [0]);
        sampler.sample(Logits::row(seen), parameters, replay, &mut generator, &mut token).unwrap();
    }
    let mut generator = call.generator.clone();
    let mut tokens = vec![-1; call.rows * call.draws];
    if call.draws == 1 {
        let batch = Logits::new(&call.logits, call.rows, call.logits.len() / call.rows).unwrap();
        sampler.sample(batch, parameters, replay, &mut generator, &mut tokens).unwrap();
    } else {
        sampler.draw(&call.logits, parameters, replay, &mut generator, &mut tokens).unwrap();
    }
    (tokens, generator)
}

/// The rate at which a fault shows, at a capability, and how many calls it needs: from the first of
/// [`LOOKS`] that shows that the stated ones are enough, or from the last.
fn rate_and_need(fault: Fault, capability: Capability, stated: u32) -> (f64, f64) {
    let (mut shown, mut done, mut found) = (0, 0, (0.0, f64::INFINITY));
    for (calls, errors) in LOOKS {
        shown +=
            (done..calls).map(|number| u32::from(shows(fault, number, capability))).sum::<u32>();
        done = calls;
        found = (f64::from(shown) / f64::from(calls), calls_needed(shown, calls, errors));
        if found.1 <= f64::from(stated) {
            break;
        }
    }
    found
}

/// Whether a fault shows on a call.
fn shows(fault: Fault, number: u32, capability: Capability) -> bool {
    let call = PlantedCall::numbered(fault, number, capability).unwrap();
    let without = outcome(&call);
    fault.plant();
    let with = outcome(&call);
    Fault::clear();
    // A fault leaves nothing behind; a few calls show that as well as all.
    if number.is_multiple_of(8) {
        assert!(outcome(&call) == without, "{fault:?}: calls without it differ");
    }
    with != without
}

#[test]
fn every_fault_shows() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (mut table, mut too_rare) = (String::new(), Vec::new());
    for shipped in Fault::SHIPPED {
        let (stated, input) = PlantedCall::stated(shipped.fault).unwrap();
        // The stated calls are enough at every capability: the gate makes them at more than one.
        let (rate, needed) = Capability::ALL
            .iter()
            .map(|&capability| pool.install(|| rate_and_need(shipped.fault, capability, stated)))
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .unwrap();
        let (name, file) = (shipped.name, shipped.file);
        writeln!(table, "{name:16} | {file:19} | {input:63} | {rate:.3} | {needed:3} | {stated:3}")
            .unwrap();
        if needed > f64::from(stated) {
            too_rare.push(name);
        }
    }
    println!("fault | planted in | input | rate per call | calls needed | calls stated\n{table}");
    assert!(too_rare.is_empty(), "{too_rare:?} show too rarely");
}

#[test]
fn every_fault_is_told_apart() {
    let stages = Fault::ALL.iter().map(|fault| (fault.0, fault.1));
    let shipped = Fault::SHIPPED.iter().map(|shipped| (shipped.fault, shipped.name));
    assert!(Fault::SHIPPED.len() >= 20);
    for (fault, name) in stages.chain(shipped) {
        assert_eq!(Fault::named(name), Some(fault), "{name}");
    }
    for shipped in Fault::SHIPPED {
        let file = format!("{}/src/{}", env!("CARGO_MANIFEST_DIR"), shipped.file);
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(source.contains(&format!("planted!({:?})", shipped.fault)), "{file}");
        assert!(shipped.words.ends_with('.') && !shipped.words.contains("  "));
    }
}
