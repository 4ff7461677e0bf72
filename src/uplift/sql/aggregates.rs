//! The aggregates as Postgres calls them: rows are collected as they come, and sorted once.
//!
//! Raw functions, since one runs for each row. Partial states of parallel workers are sorted there
//! and travel in the form in which states are stored.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::memory::fallibly;
use crate::postgres::aggregate::{self, answer, given};
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, boolean, bytes, double, function_info};
use crate::postgres::memory::is_there;
use crate::postgres::raise::raise;
use crate::uplift::sample::{MOST_COUNTED, Row, Sample};
use crate::uplift::scores::Score;
use crate::uplift::trial::Case;
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::borrow::Cow;

static MAX_ROWS: GucSetting<i32> = GucSetting::<i32>::new(10_000_000);
/// 40 million cases of 24 bytes still fit into the largest value that Postgres handles, 1 GB.
const MOST_ROWS: i32 = 40_000_000;
/// Less than that value, for the header.
const MOST_BYTES: usize = 1_000_000_000;
/// The first allocation: states of small groups stay small.
const FIRST_ROWS: usize = 32;

/// Defines the setting. Called once, when the library loads.
pub fn init() {
    GucRegistry::define_int_guc(
        c"stormops.max_aggregate_rows",
        c"The most rows that a state of score_agg() or uplift_agg(), or an evaluation of policies, holds.",
        c"A state takes 8 bytes a score, 24 a case, 48 a decision. Beyond it the aggregate fails with 54000.",
        &MAX_ROWS,
        1,
        MOST_ROWS,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// The most rows that a state may hold.
pub fn most_rows() -> usize {
    MAX_ROWS.get() as usize
}

const USAGE: &str = "SELECT stormops.score_agg(uplift) FROM ...";

/// What lives through an aggregation.
struct State<R> {
    rows: Vec<R>,
    missing: u64,
    invalid: u64,
    /// Whether some rows came in sorted runs.
    merged: bool,
}

impl<R> Default for State<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), missing: 0, invalid: 0, merged: false }
    }
}

impl<R: Row> State<R> {
    /// Makes room for so many rows more, or fails: an allocation that fails otherwise would take
    /// the whole server down.
    fn reserve(&mut self, more: usize) {
        let rows = &mut self.rows;
        let most = (MAX_ROWS.get() as usize).min(MOST_BYTES / size_of::<R>());
        if rows.len() + more > most {
            raise(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("an aggregate would hold more than {most} rows"),
                "Aggregate fewer rows, by sample or by group, or have a superuser raise stormops.max_aggregate_rows.",
            );
        }
        let wanted = (rows.len() * 2).max(FIRST_ROWS).min(most).max(rows.len() + more);
        if rows.capacity() < wanted && fallibly(|| rows.try_reserve_exact(wanted - rows.len())).is_err() {
            raise(
                PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                format!("no memory for a state of {wanted} rows"),
                "Aggregate fewer rows, by sample or by group.",
            );
        }
    }

    fn append(&mut self, rows: &[R], missing: u64, invalid: u64) {
        self.reserve(rows.len());
        self.rows.extend_from_slice(rows);
        // Nobody counts so far; a state that somebody made up may say so.
        self.missing = (self.missing + missing).min(MOST_COUNTED);
        self.invalid = (self.invalid + invalid).min(MOST_COUNTED);
        self.merged = true;
    }

    /// Takes in what a stored state holds.
    fn merge(&mut self, stored: &[u8]) {
        let sample = read::<R>(stored);
        self.append(&sample.rows, sample.missing, sample.invalid);
    }

    /// The sorted rows as a bytea.
    fn write(&mut self) -> Datum {
        // States that were merged are sorted runs, which a stable sort takes up, beside them in memory.
        if self.merged && is_there(size_of_val(self.rows.as_slice())) {
            self.rows.sort()
        } else {
            self.rows.sort_unstable()
        }
        let rows = Cow::Borrowed(self.rows.as_slice());
        stored(&Sample { rows, missing: self.missing, invalid: self.invalid })
    }
}

fn stored<R: Row>(sample: &Sample<R>) -> Datum {
    bytea(sample.size(), |bytes| sample.write(bytes))
}

/// The state that a call works on, with room for a row.
///
/// SAFETY: the first argument is a state of this kind, or NULL.
unsafe fn state<'a, R: Row>(call: FunctionCallInfo) -> &'a mut State<R> {
    unsafe {
        if let Some(state) = given::<State<R>>(call, 0)
            && state.rows.len() < state.rows.capacity()
        {
            return state;
        }
        pgrx_extern_c_guard(|| grown(call))
    }
}

/// The state with more room, made if need be.
///
/// SAFETY: as above.
unsafe fn grown<'a, R: Row>(call: FunctionCallInfo) -> &'a mut State<R> {
    let state = unsafe { aggregate::state::<State<R>>(call, USAGE) };
    state.reserve(1);
    state
}

/// Adds a row that may have a NULL (None) or hold no valid case (Some(None)).
pub unsafe fn collect<R: Row>(call: FunctionCallInfo, row: Option<Option<R>>) -> Datum {
    let state = unsafe { state::<R>(call) };
    match row {
        Some(Some(row)) => state.rows.push(row),
        Some(None) => state.invalid += 1,
        None => state.missing += 1,
    }
    answer(state)
}

/// `score_agg(score)`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_score_collect(call: FunctionCallInfo) -> Datum {
    // SAFETY: a function of a state and one double.
    unsafe { collect(call, argument(call, 1).map(|score| Score::new(double(score)))) }
}

function_info!(stormops_score_collect);

/// `uplift_agg(score, treated, outcome)` and, with a fifth argument, `uplift_agg(…, propensity)`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn stormops_trial_collect(call: FunctionCallInfo) -> Datum {
    // SAFETY: a function of a state, a double, a boolean and a double, perhaps one more double.
    unsafe {
        let known = (*call).nargs > 4;
        let propensity = if known { argument(call, 4).map(double) } else { None };
        let row = match (argument(call, 1), argument(call, 2), argument(call, 3)) {
            (Some(score), Some(treated), Some(outcome)) if propensity.is_some() == known => {
                Some(Case::new(double(score), boolean(treated), double(outcome), propensity))
            }
            _ => None,
        };
        collect(call, row)
    }
}

function_info!(stormops_trial_collect);

/// `rollup(state)`: takes in what a stored state holds.
unsafe fn merge<R: Row>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = grown::<R>(call);
        if let Some(stored) = argument(call, 1) {
            state.merge(bytes(stored));
        }
        answer(state)
    }
}

/// Takes the second partial state into the first; the first of all whole, without a copy.
pub unsafe fn combine<R: Row>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = aggregate::state::<State<R>>(call, USAGE);
        if let Some(other) = given::<State<R>>(call, 1) {
            if state.rows.is_empty() {
                std::mem::swap(&mut state.rows, &mut other.rows);
            }
            state.append(&other.rows, other.missing, other.invalid);
        }
        answer(state)
    }
}

pub unsafe fn deserialize<R: Row>(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = aggregate::new_state::<State<R>>(call, USAGE);
        if let Some(sent) = argument(call, 0) {
            state.merge(bytes(sent));
        }
        answer(state)
    }
}

/// The state as it is stored; an empty one where there was no row.
pub unsafe fn finish<R: Row>(call: FunctionCallInfo) -> Datum {
    match unsafe { given::<State<R>>(call, 0) } {
        Some(state) => state.write(),
        None => stored(&Sample::<R>::default()),
    }
}

/// A stored state, or an error.
pub fn read<R: Row>(bytes: &[u8]) -> Sample<'_, R> {
    Sample::read(bytes).unwrap_or_else(|| {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            "these bytes are no state of this aggregate".to_owned(),
            "States come from score_agg(), uplift_agg() and rollup().",
        )
    })
}

call::functions! {
    stormops_score_merge = merge::<Score>;
    stormops_score_combine = combine::<Score>;
    stormops_score_serialize = finish::<Score>;
    stormops_score_deserialize = deserialize::<Score>;
    stormops_score_finish = finish::<Score>;
    stormops_trial_merge = merge::<Case>;
    stormops_trial_combine = combine::<Case>;
    stormops_trial_serialize = finish::<Case>;
    stormops_trial_deserialize = deserialize::<Case>;
    stormops_trial_finish = finish::<Case>;
}
