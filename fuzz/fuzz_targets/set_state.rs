//! A state of any bytes is refused, or is one that a generator can be in: it comes back as it was
//! given, but for bits that torch does not read, and is drawn from without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use torch_exact_sampler::{Generator, STATE_BYTES};

fuzz_target!(|bytes: &[u8]| {
    let (mut generator, before) = (Generator::new(1), Generator::new(1));
    // Short inputs are the beginning of a state: the fuzzer need not find 5,056 bytes.
    let mut state = before.state();
    let given = if bytes.len() < STATE_BYTES {
        state[..bytes.len()].copy_from_slice(bytes);
        &state[..]
    } else {
        bytes
    };
    if generator.set_state(given).is_err() {
        assert!(generator == before, "a refused state has changed the generator");
        return;
    }
    let mut again = Generator::new(2);
    assert_eq!(again.set_state(&generator.state()), Ok(()));
    assert!(again == generator, "a state does not come back");
    for _ in 0..1_300 {
        assert_eq!(again.next_u32(), generator.next_u32());
    }
});
