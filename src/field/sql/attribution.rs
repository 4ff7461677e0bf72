//! `attribution_agg()`. Raw functions, since one runs for each touch.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::field::attribution::{Attribution, Event, Fault, NAMES, Settings};
use crate::postgres::aggregate::{answer, given, state};
use crate::postgres::call::{self, argument, boolean, bytes, double, null, uuid};
use crate::postgres::memory::out_of_memory;
use crate::postgres::raise::refuse;
use pgrx::JsonB;
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use serde_json::{Map, Value, json};

const USAGE: &str =
    "SELECT stormops_internal.attribution_agg(...) FROM (SELECT ... ORDER BY property_id, occurred_at, converted) AS e";

/// What ends the statement; of too much the answer says so, since a run over many tenants goes on without the one.
fn note(state: &mut State, fault: Fault) {
    match fault {
        Fault::Order => refuse("events must come in the order of property and time", USAGE),
        Fault::Memory => out_of_memory(),
        Fault::Channels => state.fault = Some("more than 300 channels cannot be attributed to"),
        Fault::Cells => state.fault = Some("too many days with conversions by too many channels"),
    }
    state.attribution = None;
}

#[derive(Default)]
struct State {
    attribution: Option<Attribution>,
    fault: Option<&'static str>,
}

/// `(state, property_id, occurred_at, channel, converted, value, lookback, half_life)`; channel is NULL of a conversion, value
/// may be; lookback and half_life in seconds, the same for all rows.
unsafe fn take(call: FunctionCallInfo) -> Datum {
    unsafe {
        let state = state::<State>(call, USAGE);
        if state.fault.is_some() {
            return answer(state);
        }
        let attribution = match &mut state.attribution {
            Some(attribution) => attribution,
            none => {
                let seconds = |i: usize| argument(call, i).map_or(f64::NAN, double) * 1e6;
                let (lookback, half_life) = (seconds(6), seconds(7));
                if !(lookback > 0.0 && half_life > 0.0) {
                    refuse("lookback and half-life must be above 0", USAGE);
                }
                none.insert(Attribution::new(Settings { lookback: lookback as i64, half_life }))
            }
        };
        if let (Some(property), Some(at), Some(converted)) = (argument(call, 1), argument(call, 2), argument(call, 4)) {
            let event = match argument(call, 3) {
                _ if boolean(converted) => Some(Event::Conversion(argument(call, 5).map(double))),
                channel => channel.map(|channel| Event::Touch(bytes(channel))),
            };
            if let Some(event) = event
                && let Err(fault) = attribution.push(uuid(property), at.value() as i64, event)
            {
                note(state, fault);
            }
        }
        answer(state)
    }
}

/// `{conversions, journeys, days: [{day, channel, touches, journeys, first, first_value, ...}], effects: [{channel, effect}]}`; `{fault}` of too much;
/// NULL of no event. A day is counted from 2000-01-01.
unsafe fn finish(call: FunctionCallInfo) -> Datum {
    unsafe {
        let Some(state) = given::<State>(call, 0) else { return null(call) };
        if let Some(Err(fault)) = state.attribution.as_mut().map(Attribution::end) {
            note(state, fault);
        }
        if let Some(fault) = state.fault {
            return JsonB(json!({"fault": fault})).into_datum().unwrap_or_else(|| null(call));
        }
        let Some(attribution) = &state.attribution else { return null(call) };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let days: Vec<Value> = attribution
            .cells()
            .map(|(day, channel, cell)| {
                let mut row = Map::new();
                row.insert("day".to_owned(), json!(day));
                row.insert("channel".to_owned(), json!(channel.map(text)));
                row.insert("touches".to_owned(), json!(cell.touches));
                row.insert("journeys".to_owned(), json!(cell.journeys));
                for ((name, credit), value) in NAMES.iter().zip(cell.credits()).zip(cell.values()) {
                    row.insert((*name).to_owned(), json!(credit));
                    row.insert(format!("{name}_value"), json!(value));
                }
                Value::Object(row)
            })
            .collect();
        let effects = attribution.removal_effects();
        let effects: Vec<Value> =
            effects.into_iter().map(|(channel, effect)| json!({"channel": text(channel), "effect": effect})).collect();
        let told = json!({
            "conversions": attribution.conversions, "journeys": attribution.journeys, "days": days, "effects": effects,
        });
        JsonB(told).into_datum().unwrap_or_else(|| null(call))
    }
}

call::functions! {
    stormops_attribution_take = take;
    stormops_attribution_finish = finish;
}
