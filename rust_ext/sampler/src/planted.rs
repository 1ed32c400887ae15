//! How a place in the code asks for a planted fault.

/// Whether a planted fault, one of several, or any is switched on; always `false` in what users
/// ship.
#[cfg(not(feature = "planted-faults"))]
macro_rules! planted {
    () => {
        false
    };
    ($($fault:ident)|+) => {
        false
    };
}
#[cfg(feature = "planted-faults")]
macro_rules! planted {
    () => {
        $crate::fault::any_is_planted()
    };
    ($($fault:ident)|+) => {
        $($crate::fault::is_planted($crate::fault::Fault::$fault))||+
    };
}
pub(crate) use planted;
