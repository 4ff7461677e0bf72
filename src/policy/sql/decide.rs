//! The decisions on a storm, shown or counted. They are those that `write_decisions()` writes.

#![expect(unsafe_code, reason = "rows of a set, made without pgrx' conversions")]

use super::rows::Rows;
use super::sound;
use super::source::Stored;
use crate::policy::calibrations::Calibrations;
use crate::policy::candidate::{Candidate, Id};
use crate::policy::draw::Draws;
use crate::policy::fault::Fault;
use crate::policy::names::Names;
use crate::policy::pass::decide;
use crate::policy::rule::{Class, Rule};
use crate::policy::tally::{Group, Tally};
use crate::postgres::bytea::bytea;
use crate::postgres::call::{self, argument, null, uuid};
use crate::postgres::interrupts::breathe;
use crate::postgres::raise::refuse;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;
use pgrx::{FromDatum, JsonB};
use serde_json::json;

/// What `policy_numbers()` makes of parameters.
pub fn rule(numbers: &[Option<f64>]) -> Rule {
    const HINT: &str = "SELECT stormops.policy_parameters('moderate'); shows what parameters hold.";
    let [z, default_sd, margin, cost, breakeven, exploration, holdout, capacity, budget, ref calibrations @ ..] =
        *numbers
    else {
        refuse("a rule consists of nine numbers and its calibrations", HINT)
    };
    let needed =
        |number: Option<f64>| number.unwrap_or_else(|| refuse("parameters lack a number that is needed", HINT));
    Rule {
        z: needed(z),
        default_sd: needed(default_sd),
        margin,
        cost,
        breakeven: needed(breakeven),
        exploration: needed(exploration),
        holdout: needed(holdout),
        capacity: capacity.map(|capacity| capacity as i64),
        budget,
        calibrations: Calibrations::read(calibrations)
            .unwrap_or_else(|| refuse("parameters hold calibrations that are none", HINT)),
    }
}

/// What becomes of decisions.
pub trait Sink {
    /// Takes in a decision; `stored` has the models and the reasons that it names.
    fn take(&mut self, stored: &Stored, candidate: &Candidate, class: Class, value: f64) -> Result<(), Fault>;

    /// After the last one.
    fn end(&mut self, _: &Stored) -> Result<(), Fault> {
        Ok(())
    }
}

/// Decides on the storm's properties, in the order of property_id.
pub fn decide_each(rule: &Rule, tenant: Id, storm: Id, parameters: &str, again: bool, sink: &mut impl Sink) {
    Spi::connect(|_| {
        // SAFETY: within the connection.
        let stored = unsafe { Stored::of(rule, tenant, storm, parameters, again) };
        let draws = Draws::new(&tenant, &storm);
        let take = |candidate: &Candidate, class, value| sink.take(&stored, candidate, class, value);
        sound(decide(&stored, rule, &draws, breathe(), take));
        sound(sink.end(&stored));
    });
}

/// The texts of a row, each made when it is needed and it is not the last row's.
#[derive(Default)]
struct Texts {
    decisions: [Option<Datum>; 3],
    reasons: Vec<Option<Datum>>,
    model: Option<(u32, Datum)>,
}

impl Texts {
    fn decision(&mut self, class: Class) -> Datum {
        *self.decisions[class.decision as usize].get_or_insert_with(|| text(class.decision.name().as_bytes()))
    }

    fn reason(&mut self, place: u32, reasons: &Names) -> Datum {
        let at = place as usize;
        self.reasons.resize(self.reasons.len().max(at + 1), None);
        *self.reasons[at].get_or_insert_with(|| text(reasons.at(place)))
    }

    fn model(&mut self, place: u32, models: &Names) -> Datum {
        match self.model {
            Some((last, model)) if last == place => model,
            other => {
                if let Some((_, model)) = other {
                    // SAFETY: text() made it, and the row that had it is copied.
                    unsafe { pg_sys::pfree(model.cast_mut_ptr()) };
                }
                let model = text(models.at(place));
                self.model = Some((place, model));
                model
            }
        }
    }
}

/// A text is what a bytea is, in memory.
fn text(bytes: &[u8]) -> Datum {
    bytea(bytes.len(), |text| text.copy_from_slice(bytes))
}

/// Decisions as `decision_counts()` counts them; no counts of none.
#[derive(Default)]
pub struct Counting {
    tally: Tally,
    pub counts: Option<JsonB>,
}

impl Counting {
    pub fn decisions(&self) -> i64 {
        self.tally.decisions()
    }
}

impl Sink for Counting {
    fn take(&mut self, _: &Stored, _: &Candidate, class: Class, value: f64) -> Result<(), Fault> {
        self.tally.push(class, value)
    }

    fn end(&mut self, stored: &Stored) -> Result<(), Fault> {
        let reasons = stored.reasons.borrow();
        let group = |group: &Group| {
            let reason = String::from_utf8_lossy(reasons.at(group.reason)).into_owned();
            json!({"decision": group.decision.name(), "reason": reason, "n": group.n, "value": group.value})
        };
        let groups = &self.tally.0;
        self.counts = (!groups.is_empty()).then(|| JsonB(groups.iter().map(group).collect()));
        Ok(())
    }
}

#[pg_extern(sql = false)]
fn count_policy(
    tenant_id: pgrx::Uuid,
    storm_id: pgrx::Uuid,
    numbers: Vec<Option<f64>>,
    parameters: &str,
) -> Option<JsonB> {
    let mut counting = Counting::default();
    decide_each(&rule(&numbers), *tenant_id.as_bytes(), *storm_id.as_bytes(), parameters, false, &mut counting);
    counting.counts
}

/// Decisions as rows of a set.
struct Showing {
    rows: Rows,
    texts: Texts,
}

impl Sink for Showing {
    fn take(&mut self, stored: &Stored, candidate: &Candidate, class: Class, value: f64) -> Result<(), Fault> {
        let number = |number: f64| Datum::from(number.to_bits());
        self.rows.push_guarded(&mut [
            Datum::from(candidate.property.as_ptr()),
            self.texts.decision(class),
            self.texts.reason(class.reason, &stored.reasons.borrow()),
            number(class.propensity),
            number(candidate.score),
            number(candidate.sd),
            number(value),
            self.texts.model(candidate.model, &stored.models.borrow()),
        ]);
        Ok(())
    }
}

/// `(tenant_id, storm_id, numbers, parameters, again)`: a set of decisions.
unsafe fn show(call: FunctionCallInfo) -> Datum {
    // SAFETY: the SQL declaration gives the arguments and the columns.
    unsafe {
        let rows = Rows::of(call, 8);
        let (Some(tenant), Some(storm)) = (argument(call, 0), argument(call, 1)) else { return null(call) };
        let numbers = argument(call, 2).and_then(|numbers| Vec::<Option<f64>>::from_datum(numbers, false));
        let parameters =
            argument(call, 3).and_then(|text| String::from_datum(text, false)).unwrap_or_else(|| "{}".into());
        let again = argument(call, 4).is_some_and(|again| again.value() != 0);
        let mut showing = Showing { rows, texts: Texts::default() };
        let rule = rule(&numbers.unwrap_or_default());
        decide_each(&rule, *uuid(tenant), *uuid(storm), &parameters, again, &mut showing);
        null(call)
    }
}

call::functions! {
    stormops_decide_policy = show;
}
