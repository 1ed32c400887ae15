#![doc = include_str!("../README.md")]

mod call;
mod forcing;
mod logits;
mod reader;
mod record;
mod recorder;
mod turns;
mod writer;

pub use call::{Call, Keep, Parameter, Random};
pub use forcing::Forcing;
pub use logits::Logits;
pub use reader::{Ending, Fault, ReadError, Record, RecordedCall, Records, Tensor};
pub use record::{CallLine, End, Failure, Fed, Header, LONGEST_LINE, RandomLine, VERSION};
pub use recorder::{OpenCall, Outcome, Recorder, Token};
pub use safetensors::Dtype;
