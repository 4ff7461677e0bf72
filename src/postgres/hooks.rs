//! The frame that stands around a judgement in a hook of the server.

/// Defines `init()`, which puts a hook before the one that is there, and the hook: it judges, then hands its
/// arguments on to that next one, or to the server's own function where it has one behind this hook.
///
/// Not guarded by pgrx, and without anything to drop: an error of the server jumps over this frame with all its
/// fields, where a guard would raise it again with fewer. What judges is guarded itself.
macro_rules! hook_before {
    ($hook:ident: $type:ident, ($($argument:ident: $kind:ty),* $(,)?), $judge:expr) => {
        $crate::postgres::hooks::hook_before!(@frame $hook: $type, ($($argument: $kind),*), $judge, ());
    };
    ($hook:ident: $type:ident, $standard:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $answer:ty)?, $judge:expr) => {
        unsafe extern "C-unwind" {
            // Declared here, not taken from pg_sys, whose wrapper would guard the call.
            fn $standard($($argument: $kind),*) $(-> $answer)?;
        }
        $crate::postgres::hooks::hook_before!(
            @frame $hook: $type, ($($argument: $kind),*) $(-> $answer)?, $judge, $standard($($argument),*)
        );
    };
    (@frame $hook:ident: $type:ident, ($($argument:ident: $kind:ty),*) $(-> $answer:ty)?, $judge:expr, $otherwise:expr) => {
        static NEXT: std::sync::OnceLock<pgrx::pg_sys::$type> = std::sync::OnceLock::new();

        pub fn init() {
            // SAFETY: the hook is a plain global, set once when the library loads.
            unsafe {
                NEXT.get_or_init(|| pgrx::pg_sys::$hook);
                pgrx::pg_sys::$hook = Some(hook);
            }
        }

        unsafe extern "C-unwind" fn hook($($argument: $kind),*) $(-> $answer)? {
            // SAFETY: the server hands over what is valid, and this hands it on.
            unsafe {
                $judge;
                match NEXT.get() {
                    Some(Some(next)) => next($($argument),*),
                    _ => $otherwise,
                }
            }
        }
    };
}
pub(crate) use hook_before;
