//! Models of real exporters against what onnxruntime answers: `fixtures/make.py` makes both.

use super::batch::Batch;
use super::features::{Catalogue, Reader, input};
use super::file::File;
use super::program::{Plan, Program};
use super::{Fault, Type};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

const NUMBERS: [&str; 6] =
    ["roof_age", "building_value", "hail_size_in", "wind_gust_mph", "touches", "days_since_touch"];

fn directory() -> PathBuf {
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/uplift/model/fixtures");
    std::env::var_os("STORMOPS_MODEL_FIXTURES").map_or_else(here, PathBuf::from)
}

fn floats(name: &str) -> Vec<f32> {
    let bytes = fs::read(directory().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn catalogue() -> Catalogue {
    let numbers = NUMBERS.iter().map(|name| ((*name).to_owned(), Type::Float));
    Catalogue(numbers.chain([("roof_material".to_owned(), Type::Text)]).collect())
}

/// Every row of the fixtures, with the features of the catalogue that are wanted.
fn batch(wanted: &super::batch::Wanted) -> Batch {
    let (numbers, mut batch) = (floats("rows.bin"), Batch::new(wanted));
    let texts = fs::read_to_string(directory().join("rows.txt")).unwrap();
    for (row, text) in numbers.chunks_exact(6).zip(texts.lines()) {
        batch.properties.push([0; 16]);
        for (column, feature) in batch.numbers.iter_mut().zip(&wanted.numbers) {
            column.push(row[*feature].into());
        }
        for column in 0..wanted.texts.len() {
            batch.push_text(column, Some(text).filter(|text| !text.is_empty()));
        }
    }
    batch
}

/// The last output of a model, row after row.
fn answers(name: &str) -> Result<Vec<f32>, Fault> {
    let bytes = fs::read(directory().join(format!("{name}.onnx"))).unwrap();
    let features: Value = serde_json::from_slice(&fs::read(directory().join(format!("{name}.json"))).unwrap()).unwrap();
    let file = File::read(&bytes)?;
    let plan = Plan::new(&file)?;
    let catalogue = catalogue();
    let mut reader = Reader::new(&catalogue);
    let (mut given, mut missing) = (Vec::new(), Vec::new());
    for declared in &plan.inputs {
        let values =
            features.get(&declared.name).map_or_else(|| features.as_array().unwrap().clone(), |one| vec![one.clone()]);
        let expressions: Vec<_> =
            values.iter().map(|value| reader.read(value, declared.kind)).collect::<Result<_, _>>()?;
        missing.push(expressions.iter().any(super::features::Expression::may_be_missing));
        given.push((declared.kind, expressions));
    }
    let program: Program = plan.compile(&missing)?;
    let batch = batch(&reader.wanted);
    let mut answers = Vec::new();
    let (mut start, rows) = (0, batch.properties.len());
    while start < rows {
        let end = (start + program.rows_at_once()).min(rows);
        let inputs =
            given.iter().map(|(kind, given)| input(given, *kind, &batch, start..end, 1.0)).collect::<Result<_, _>>()?;
        answers.extend(program.run(inputs, end - start)?);
        start = end;
    }
    Ok(answers)
}

/// Names of the models that onnxruntime answered for.
fn names() -> Vec<String> {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter_map(|file| file.strip_suffix(".bin").map(str::to_owned)).collect();
    names.retain(|name| name != "rows");
    names.sort_unstable();
    names
}

/// What is only trees, and no more arithmetic than onnxruntime does within their operator.
fn is_exact(name: &str) -> bool {
    !["logistic", "ridge", "classes", "normalized", "network", "boosting_class"]
        .iter()
        .any(|inexact| name.starts_with(inexact))
}

#[test]
fn every_model_answers_as_onnxruntime_does() {
    let names = names();
    assert!(names.len() > 40, "{}", names.len());
    let mut worst = 0f32;
    for name in names {
        let (ours, theirs) =
            (answers(&name).unwrap_or_else(|e| panic!("{name}: {e:?}")), floats(&format!("{name}.bin")));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            if is_exact(&name) {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{name}, value {place}: {ours} and {theirs}");
            } else {
                // Small ones are differences of larger ones.
                let apart = (ours - theirs).abs() / theirs.abs().max(0.05);
                worst = worst.max(apart);
                assert!(apart <= 1e-5, "{name}, value {place}: {ours} and {theirs}");
            }
        }
    }
    println!("largest relative difference of what is not exact: {worst:e}");
}

#[test]
fn a_file_whose_exporter_dropped_something_is_named() {
    let Err(Fault::Invalid(text)) = answers("forest_fault") else { panic!("it was taken") };
    assert!(text.contains("skl2onnx, up to 1.20 at least, drops where trees send missing values"), "{text}");
}
