//! Models as SQL functions: what one is, and its scores over rows of features.

#![expect(unsafe_code, reason = "a window function, and rows as the executor hands them over")]

use crate::postgres::call::{self, bytes, double, uuid};
use crate::postgres::json::Document;
use crate::postgres::memory::{need, out_of_memory};
use crate::postgres::raise::{raise, required};
use crate::postgres::window::Window;
use crate::uplift::model::{Batch, Catalogue, Failure, Fault, MOST_BYTES, Score, Scorer, Type};
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use pgrx::prelude::*;
use pgrx::{JsonB, PgMemoryContexts, PgTupleDesc};
use serde_json::{Value, json};

/// What reading a file may take for each byte of it.
const GROWTH: usize = 24;
/// Rows that are collected before they are scored.
const ROWS: i32 = 4096;

fn refuse(fault: Fault) -> ! {
    let (code, text, hint) = match fault {
        Fault::Invalid(text) => (
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            text,
            "SELECT * FROM stormops.model_features(); lists the features; docs/models.md shows exports that work.",
        ),
        Fault::Unsupported(text) => (
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            text,
            "docs/models.md lists what a model may have, and shows exports that work.",
        ),
        Fault::TooLarge(text) => (
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            text,
            "Train a smaller model: fewer or shallower trees, fewer columns.",
        ),
        Fault::Memory => out_of_memory(),
    };
    raise(code, format!("the model cannot be used: {text}"), hint)
}

fn read(
    kind: Option<&str>,
    model: &[u8],
    control: Option<&[u8]>,
    features: Option<&Value>,
    catalogue: &Catalogue,
) -> Scorer {
    need((model.len() + control.map_or(0, <[u8]>::len)).min(2 * MOST_BYTES) * GROWTH);
    Scorer::read(kind, model, control, features, catalogue).unwrap_or_else(|fault| refuse(fault))
}

fn features(document: &Document) -> Value {
    document.read().unwrap_or_else(|| refuse(Fault::Invalid("its features are nested too deep".to_owned())))
}

#[allow(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn model_read(
    model: Option<&[u8]>,
    control: Option<&[u8]>,
    given: Option<Document>,
    names: Option<Array<&str>>,
    types: Option<Array<&str>>,
) -> TableIterator<
    'static,
    (
        name!(kind, &'static str),
        name!(inputs, JsonB),
        name!(features, JsonB),
        name!(uses, Vec<String>),
        name!(cost, i64),
    ),
> {
    let kind = |name| if name == "number" { Type::Float } else { Type::Text };
    let (names, types) = (required(names, "names"), required(types, "types"));
    let all = names.iter().flatten().map(str::to_owned).zip(types.iter().flatten().map(kind));
    let catalogue = Catalogue(all.collect());
    let given = given.as_ref().map(features);
    let scorer = read(None, required(model, "onnx"), control, given.as_ref(), &catalogue);
    let name = |input: Type| match input {
        Type::Float => "number",
        Type::Int => "integer",
        Type::Text => "text",
    };
    let inputs: Vec<Value> = scorer
        .summary
        .inputs
        .iter()
        .map(|i| json!({"input": i.name, "type": name(i.kind), "width": i.width()}))
        .collect();
    let wanted = scorer.wanted.numbers.iter().chain(&scorer.wanted.texts);
    let mut uses: Vec<String> = wanted.map(|place| catalogue.0[*place].0.clone()).collect();
    uses.sort_unstable();
    let kind = scorer.kind();
    TableIterator::once((
        kind,
        JsonB(inputs.into()),
        JsonB(scorer.summary.features.into()),
        uses,
        i64::try_from(scorer.summary.cost).unwrap_or(i64::MAX),
    ))
}

/// Of `model_score()`, from one row of a partition to the next.
struct State {
    scorer: Scorer,
    row: Row,
    batch: Batch,
    /// Of the rows from `first` on.
    scores: Vec<Score>,
    first: i64,
}

/// What the rows of features are, and where they have what is wanted.
struct Row {
    id: (pg_sys::Oid, i32),
    descriptor: PgTupleDesc<'static>,
    property: usize,
    numbers: Vec<usize>,
    texts: Vec<usize>,
    values: Vec<Datum>,
    nulls: Vec<bool>,
}

/// The row's header, and of what type it is.
///
/// SAFETY: the datum is a row.
unsafe fn header(row: Datum) -> (pg_sys::HeapTupleHeader, (pg_sys::Oid, i32)) {
    unsafe {
        let header: pg_sys::HeapTupleHeader = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast();
        let fields = (*header).t_choice.t_datum;
        (header, (fields.datum_typeid, fields.datum_typmod))
    }
}

const NO_ROW: &str = "model_score() takes rows of property_id and features";

fn no_row() -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        NO_ROW,
        "SELECT * FROM stormops.model_scores(storm_id, model_version);",
    )
}

impl State {
    /// SAFETY: the window is that of a call of `model_score()`, whose context lives through the query.
    unsafe fn new(window: Window, context: pg_sys::MemoryContext) -> Self {
        let Some(Some(row)) = window.ahead(4, 0) else { no_row() };
        // SAFETY: argument 4 is a row; its description is copied into the context that outlives this state.
        let (id, descriptor) = unsafe {
            let (_, id) = header(row);
            let copy = PgMemoryContexts::For(context).switch_to(|_| pg_sys::lookup_rowtype_tupdesc_copy(id.0, id.1));
            (id, PgTupleDesc::from_pg_unchecked(copy))
        };
        let (mut catalogue, mut places, mut property) = (Catalogue(Vec::new()), Vec::new(), None);
        for (place, attribute) in descriptor.iter().enumerate() {
            let name = attribute.name().to_owned();
            let kind = match attribute.atttypid {
                pg_sys::FLOAT8OID => Type::Float,
                pg_sys::TEXTOID => Type::Text,
                pg_sys::UUIDOID if name == "property_id" => {
                    property = Some(place);
                    continue;
                }
                _ => continue,
            };
            catalogue.0.push((name, kind));
            places.push(place);
        }
        let Some(property) = property else { no_row() };
        let text = |argument: i32| {
            // SAFETY: arguments 0 to 2 are text and bytea; what they are unpacked to lives as long as this row.
            window.argument(argument).map(|datum| unsafe { bytes(datum) })
        };
        let kind = text(0).and_then(|kind| std::str::from_utf8(kind).ok());
        let (model, control) = (required(text(1), "model"), text(2));
        let document = window.argument(3).map(|datum| {
            // SAFETY: argument 3 is a jsonb.
            unsafe { Document::from_polymorphic_datum(datum, false, pg_sys::JSONBOID) }
        });
        let given = document.flatten().as_ref().map(features);
        let scorer = read(kind, model, control, given.as_ref(), &catalogue);
        let at = |wanted: &[usize]| wanted.iter().map(|feature| places[*feature]).collect();
        let (numbers, texts) = (at(&scorer.wanted.numbers), at(&scorer.wanted.texts));
        let (values, nulls) = (vec![Datum::null(); descriptor.len()], vec![true; descriptor.len()]);
        let batch = Batch::new(&scorer.wanted);
        Self {
            scorer,
            row: Row { id, descriptor, property, numbers, texts, values, nulls },
            batch,
            scores: Vec::new(),
            first: 0,
        }
    }

    /// Scores the rows from this one on.
    fn fill(&mut self, window: Window, position: i64) {
        self.batch.clear();
        for place in 0..ROWS {
            match window.ahead(4, place) {
                // SAFETY: argument 4 is a row.
                Some(Some(row)) => unsafe { self.row.push(row, &mut self.batch) },
                Some(None) => no_row(),
                None => break,
            }
        }
        self.scores.clear();
        self.first = position;
        let hear = || {
            pgrx::check_for_interrupts!();
        };
        match self.scorer.score(&self.batch, &mut self.scores, hear) {
            Ok(()) => {}
            Err(Failure::Fault(fault)) => refuse(fault),
            Err(Failure::Unfit { property, gives }) => raise(
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("the model gives property {} {gives}", pgrx::Uuid::from_bytes(property)),
                "Nothing was written. stormops.storm_features(storm_id) shows what the model was given; coalesce in its features gives missing values one.",
            ),
        }
    }
}

impl Row {
    /// SAFETY: the datum is a row.
    unsafe fn push(&mut self, row: Datum, batch: &mut Batch) {
        // SAFETY: the row is of the type that the descriptor describes, and so has so many values of these types.
        unsafe {
            let (header, id) = header(row);
            if id != self.id {
                no_row();
            }
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::heap_tuple_header_get_datum_length(header) as u32,
                t_data: header,
                ..Default::default()
            };
            pg_sys::heap_deform_tuple(
                &raw mut tuple,
                self.descriptor.as_ptr(),
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
            if self.nulls[self.property] {
                no_row();
            }
            batch.properties.push(*uuid(self.values[self.property]));
            for (column, place) in batch.numbers.iter_mut().zip(&self.numbers) {
                column.push(if self.nulls[*place] { f64::NAN } else { double(self.values[*place]) });
            }
            for (column, place) in self.texts.iter().enumerate() {
                let text =
                    (!self.nulls[*place]).then(|| std::str::from_utf8(bytes(self.values[*place])).unwrap_or_default());
                batch.push_text(column, text);
            }
        }
    }
}

/// `(kind, model, control, features, row)`: an array of the uplift, its standard deviation and the baseline, NaN where there
/// is none.
unsafe fn score(call: FunctionCallInfo) -> Datum {
    // SAFETY: the SQL declaration gives these arguments; the state stands in a context that lives through the query.
    unsafe {
        let (window, function) = (Window::of(call), &mut *(*call).flinfo);
        let position = window.position();
        if position == 0 {
            // A new partition, or a new run with another model.
            let state = State::new(window, function.fn_mcxt);
            match function.fn_extra.cast::<State>().as_mut() {
                Some(old) => *old = state,
                None => {
                    function.fn_extra = PgMemoryContexts::For(function.fn_mcxt).leak_and_drop_on_delete(state).cast()
                }
            }
        }
        let Some(state) = function.fn_extra.cast::<State>().as_mut() else { no_row() };
        let mut place = position - state.first;
        if place as usize >= state.scores.len() {
            state.fill(window, position);
            place = 0;
        }
        let Some(score) = state.scores.get(place as usize) else { no_row() };
        let numbers = [score.uplift, score.sd.unwrap_or(f64::NAN), score.baseline.unwrap_or(f64::NAN)];
        let mut numbers = numbers.map(|number| Datum::from(number.to_bits()));
        let array = pg_sys::construct_array(numbers.as_mut_ptr(), 3, pg_sys::FLOAT8OID, 8, true, b'd' as i8);
        Datum::from(array)
    }
}

call::functions! {
    stormops_model_score = score;
}
