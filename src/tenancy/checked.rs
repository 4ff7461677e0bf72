//! For which statement the context was checked, and what `current_tenant()` answers in it.
//!
//! Every policy calls `current_tenant()` for each row it judges. What that call must know is checked once per statement
//! and kept: so long as the start of the statement is the one noted here, the answer stands.

use super::role::Id;
use std::cell::Cell;

/// No statement starts at minus infinity; a background worker's may well start at zero.
const NEVER: i64 = i64::MIN;

struct Checked {
    statement: Cell<i64>,
    answer: Cell<Id>,
}

thread_local! {
    static CHECKED: Checked = const { Checked { statement: Cell::new(NEVER), answer: Cell::new([0; 16]) } };
}

/// The context is to be checked again: something changed that it depends on.
pub fn forget() {
    CHECKED.with(|checked| checked.statement.set(NEVER));
}

/// The context was checked for the statement that began then, in this tenant.
pub fn note(statement: i64, tenant: Id) {
    CHECKED.with(|checked| {
        checked.answer.set(tenant);
        checked.statement.set(statement);
    });
}

#[inline]
pub fn holds_for(statement: i64) -> bool {
    CHECKED.with(|checked| checked.statement.get() == statement)
}

/// Where the tenant of the last check stands, for as long as this backend lives.
#[inline]
pub fn answer() -> *const Id {
    CHECKED.with(|checked| checked.answer.as_ptr().cast_const())
}
