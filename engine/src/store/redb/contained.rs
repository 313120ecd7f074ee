//! Panics of redb, which a damaged page may lead it to, as errors.
//!
//! Invariant: what ends here as an error says nothing on its own: the hook that tells of panics is silent for
//! this thread while it works here. Every other panic is told as it would have been.

use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread works where panics end.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What the work came to, or nothing if it panicked. The work and what it leaves behind is given up then.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    HOOK.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                told(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_the_next_one_is_told_again() {
        assert_eq!(contained(|| 3), Some(3));
        let inner = contained(|| {
            assert_eq!(contained::<()>(|| panic!("within")), None);
            CONTAINED.get()
        });
        assert_eq!(inner, Some(true));
        assert_eq!(contained::<()>(|| panic!("alone")), None);
        assert!(!CONTAINED.get());
    }
}
