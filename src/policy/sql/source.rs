//! The candidates of a storm as SQL has them: its scores, and what is exceptional about properties, which
//! `policy_exceptions()` says.
//!
//! Up to some millions are gathered in whatever order they come and sorted here, which is faster than any order that the
//! server could give. More are read in order, as often as they are asked for, and no more is kept than a batch.

#![expect(unsafe_code, reason = "columns of cursors")]

use super::sound;
use crate::memory::fallibly;
use crate::policy::candidate::{Candidate, Id};
use crate::policy::candidates::{Exception, Score, Source, keep_latest, keep_one_each, latest_first, merge};
use crate::policy::fault::Fault;
use crate::policy::names::Names;
use crate::policy::rule::{REASONS, Rule};
use crate::postgres::interrupts::breathe;
use crate::postgres::memory::allocated;
use crate::postgres::rows::{Row, Rows};
use pgrx::IntoDatum;
use pgrx::pg_sys::Datum;
use std::cell::RefCell;
use std::ffi::CStr;

/// The most scores, and the most exceptions, that are gathered: 48 and 40 bytes each.
const MOST_GATHERED: usize = 3_000_000;

/// Of so few scores the exceptions are looked up one by one, however many the tenant has.
const FEW: usize = 100_000;

/// $1 the tenant, $2 the storm, $3 the run's parameters.
struct Queries {
    scores: &'static CStr,
    scores_in_order: &'static CStr,
    exceptions: &'static CStr,
    exceptions_of_few: &'static CStr,
    exceptions_in_order: &'static CStr,
}

const NOW: Queries = Queries {
    scores: c"SELECT l.property_id, l.scored_at, l.uplift, l.uplift_sd, l.model_version FROM stormops.lead_uplift AS l WHERE l.tenant_id = $1 AND l.storm_id = $2",
    scores_in_order: c"SELECT l.property_id, l.scored_at, l.uplift, l.uplift_sd, l.model_version FROM stormops.lead_uplift AS l WHERE l.tenant_id = $1 AND l.storm_id = $2 ORDER BY l.property_id",
    exceptions: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.policy_exceptions($2, $3::pg_catalog.jsonb, false) AS e",
    exceptions_of_few: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.policy_exceptions($2, $3::pg_catalog.jsonb, true) AS e",
    exceptions_in_order: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.policy_exceptions($2, $3::pg_catalog.jsonb, false) AS e ORDER BY e.property_id",
};

/// As a run found them.
const KEPT: Queries = Queries {
    scores: c"SELECT d.property_id, d.decided_at, d.score, d.score_sd, d.model_version FROM stormops.policy_decisions_log AS d WHERE d.tenant_id = $1 AND d.run_id = ($3::pg_catalog.jsonb ->> 'run_id')::pg_catalog.uuid",
    scores_in_order: c"SELECT d.property_id, d.decided_at, d.score, d.score_sd, d.model_version FROM stormops.policy_decisions_log AS d WHERE d.tenant_id = $1 AND d.run_id = ($3::pg_catalog.jsonb ->> 'run_id')::pg_catalog.uuid ORDER BY d.property_id",
    exceptions: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.kept_exceptions(($3::pg_catalog.jsonb ->> 'run_id')::pg_catalog.uuid) AS e",
    exceptions_of_few: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.kept_exceptions(($3::pg_catalog.jsonb ->> 'run_id')::pg_catalog.uuid) AS e",
    exceptions_in_order: c"SELECT e.property_id, e.left_out, e.reason, e.margin, e.cost FROM stormops_internal.kept_exceptions(($3::pg_catalog.jsonb ->> 'run_id')::pg_catalog.uuid) AS e ORDER BY e.property_id",
};

/// What is read once, or again each time.
enum Kept<T> {
    Here(Vec<T>),
    InOrder,
}

pub struct Stored<'a> {
    rule: &'a Rule,
    queries: Queries,
    tenant_and_storm: [Id; 2],
    parameters: Datum,
    pub models: RefCell<Names>,
    pub reasons: RefCell<Names>,
    scores: Kept<Score>,
    exceptions: Kept<Exception>,
}

impl<'a> Stored<'a> {
    /// `again`: as the run found them that the parameters name.
    ///
    /// SAFETY: within a connection of SPI, which outlives this.
    pub unsafe fn of(rule: &'a Rule, tenant: Id, storm: Id, parameters: &str, again: bool) -> Self {
        let mut reasons = Names::default();
        for reason in REASONS {
            sound(reasons.place(reason.as_bytes()));
        }
        let mut stored = Self {
            rule,
            queries: if again { KEPT } else { NOW },
            tenant_and_storm: [tenant, storm],
            parameters: parameters.into_datum().unwrap_or_else(Datum::null),
            models: RefCell::default(),
            reasons: RefCell::new(reasons),
            scores: Kept::InOrder,
            exceptions: Kept::InOrder,
        };
        if let Some(mut scores) = stored.gather(stored.queries.scores, |row| stored.score(row)) {
            keep_latest(&mut scores, &stored.models.borrow(), breathe());
            stored.scores = Kept::Here(scores);
        }
        let few = matches!(&stored.scores, Kept::Here(scores) if scores.len() <= FEW);
        let exceptions = if few { stored.queries.exceptions_of_few } else { stored.queries.exceptions };
        if let Some(mut exceptions) = stored.gather(exceptions, |row| stored.exception(row)) {
            keep_one_each(&mut exceptions, |a, b| stored.first_reason(a, b), breathe());
            stored.exceptions = Kept::Here(exceptions);
        }
        stored
    }

    fn score(&self, row: &Row<5>) -> Score {
        // SAFETY: the columns of scores.
        let (property, model) = unsafe { (row.uuid(0), row.text(4).unwrap_or_default()) };
        let place = sound(self.models.borrow_mut().place(model));
        self.rule.calibrations.note(place, model);
        Score {
            property,
            at: row.value(1).map_or(0, |at| at.value() as i64),
            score: row.double(2),
            sd: row.double(3),
            model: place,
        }
    }

    fn exception(&self, row: &Row<5>) -> Exception {
        // SAFETY: the columns of exceptions.
        let (property, reason) = unsafe { (row.uuid(0), row.text(2)) };
        Exception {
            property,
            left_out: row.boolean(1),
            reason: reason.map(|reason| sound(self.reasons.borrow_mut().place(reason))),
            margin: row.double(3),
            cost: row.double(4),
        }
    }

    fn rows(&self, query: &CStr) -> Rows<5> {
        // SAFETY: of() is within a connection; the queries have five columns.
        unsafe { Rows::of(query, &self.tenant_and_storm, self.parameters) }
    }

    /// All rows of a query; None if they are too many.
    fn gather<T>(&self, query: &CStr, mut read: impl FnMut(&Row<5>) -> T) -> Option<Vec<T>> {
        let mut rows = self.rows(query);
        let mut gathered = Vec::new();
        while let Some(row) = rows.next() {
            if gathered.len() == MOST_GATHERED {
                return None;
            }
            allocated(fallibly(|| gathered.try_reserve(1)));
            gathered.push(read(&row));
        }
        Some(gathered)
    }

    /// Which of two reasons is given: that the owner does not want to hear from us, else the first by name, byte by byte.
    fn first_reason(&self, a: u32, b: u32) -> u32 {
        let reasons = self.reasons.borrow();
        let rank = |reason: u32| (reasons.at(reason) != b"do_not_contact", reasons.at(reason));
        if rank(a) <= rank(b) { a } else { b }
    }

    fn scores(&self) -> Box<dyn Iterator<Item = Score> + '_> {
        let Kept::Here(scores) = &self.scores else {
            let join = |kept: &mut Score, next: Score| {
                if latest_first(&next, kept, &self.models.borrow()).is_lt() {
                    *kept = next;
                }
            };
            let read = |row: &Row<5>| self.score(row);
            return Box::new(one_each(self.rows(self.queries.scores_in_order), read, |score| score.property, join));
        };
        Box::new(scores.iter().copied())
    }

    fn exceptions(&self) -> Box<dyn Iterator<Item = Exception> + '_> {
        let Kept::Here(exceptions) = &self.exceptions else {
            let join = |kept: &mut Exception, next: Exception| kept.join(&next, |a, b| self.first_reason(a, b));
            let read = |row: &Row<5>| self.exception(row);
            return Box::new(one_each(self.rows(self.queries.exceptions_in_order), read, |e| e.property, join));
        };
        Box::new(exceptions.iter().copied())
    }
}

impl Source for Stored<'_> {
    fn each(&self, mut take: impl FnMut(&Candidate) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut breathe = breathe();
        merge(self.scores(), self.exceptions(), self.rule, |candidate| {
            breathe();
            take(candidate)
        })
    }
}

/// The rows of a query as they come, those of one property joined to one.
fn one_each<T>(
    mut rows: Rows<5>,
    read: impl Fn(&Row<5>) -> T,
    property: impl Fn(&T) -> Id,
    join: impl Fn(&mut T, T),
) -> impl Iterator<Item = T> {
    let mut next = rows.next().map(|row| read(&row));
    std::iter::from_fn(move || {
        let mut kept = next.take()?;
        loop {
            match rows.next().map(|row| read(&row)) {
                Some(other) if property(&kept) == property(&other) => join(&mut kept, other),
                other => {
                    next = other;
                    return Some(kept);
                }
            }
        }
    })
}
