//! A recording of any bytes is read record by record, or refused; neither panics, hangs or takes
//! memory that the file does not have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sampler_recorder::{Record, Records};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut records) = Records::new(bytes) else { return };
    let mut number = 0;
    for record in records.by_ref() {
        let Ok(record) = record else { break };
        number += 1;
        if let Record::Call(call) = record {
            for tensor in call.tensors.values() {
                assert!(tensor.bytes.len() <= bytes.len());
                _ = (tensor.to_f64(), tensor.to_i64());
            }
        }
    }
    assert!(number <= bytes.len());
    assert!(records.next().is_none());
});
