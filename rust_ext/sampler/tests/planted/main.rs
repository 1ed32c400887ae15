//! Every fault that is planted in what users run shows, within a stated number of calls.
//!
//! A call is made with the fault and without; tokens and generator are compared. The stated number of
//! calls misses the fault with a probability below [`MISSED`]: that is checked against a lower bound on
//! the rate at which it shows, per call. Which fault is planted is one for the process, so that all are
//! in one test.

#![allow(clippy::panic, clippy::unwrap_used)] // A test fails by panicking.

mod calls;

use std::fmt::Write;

use calls::JUDGED;
use torch_exact_sampler::{Fault, Generator};

/// How probable it may be that none of the stated calls shows a fault.
const MISSED: f64 = 1e-6;
/// Calls that the rate is measured over.
const CALLS: u32 = 400;
/// How many standard errors the rate is lowered by.
const ERRORS: f64 = 3.0;

/// The number of calls of which none shows a fault with a probability of [`MISSED`], if it shows on so
/// many of [`CALLS`].
fn calls_needed(shown: u32) -> f64 {
    let calls = f64::from(CALLS);
    let rate = f64::from(shown) / calls;
    let error = (rate * (1.0 - rate) / calls).sqrt().max(1.0 / calls);
    let least = rate - ERRORS * error;
    if least > 0.0 { (MISSED.ln() / (-least).ln_1p()).ceil() } else { f64::INFINITY }
}

#[test]
fn every_fault_shows() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (mut table, mut too_rare) = (String::new(), Vec::new());
    for shipped in Fault::SHIPPED {
        let judged = JUDGED.iter().find(|judged| judged.fault == shipped.fault);
        let judged = judged.unwrap_or_else(|| panic!("no call is made for {}", shipped.name));
        let mut random = Generator::new(1);
        let mut shown = 0;
        for number in 0..CALLS {
            let call = (judged.make)(number.into(), &mut random);
            let without = pool.install(|| call.outcome());
            shipped.fault.plant();
            let with = pool.install(|| call.outcome());
            Fault::clear();
            let again = pool.install(|| call.outcome());
            assert!(again == without, "{}: calls without it differ", shipped.name);
            shown += u32::from(with != without);
        }
        let needed = calls_needed(shown);
        let rate = f64::from(shown) / f64::from(CALLS);
        let (name, file, input, stated) = (shipped.name, shipped.file, judged.input, judged.calls);
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
