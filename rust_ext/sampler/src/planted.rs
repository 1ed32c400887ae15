//! How a place in the code asks for a planted fault.

/// Whether a planted fault is switched on; without arguments, whether any fault of the stages is.
/// Always `false` in what users ship.
#[cfg(not(feature = "planted-faults"))]
macro_rules! planted {
    () => {
        false
    };
    ($fault:ident) => {
        false
    };
}
#[cfg(feature = "planted-faults")]
macro_rules! planted {
    () => {
        $crate::fault::is_of_stages()
    };
    ($fault:ident) => {
        $crate::fault::is_planted($crate::fault::Fault::$fault)
    };
}
pub(crate) use planted;
