//! Thousands of files made of the fixtures by chance, the same in each run: none may do more than be an error, or score.
//!
//! For longer runs with coverage: `docs/models.md`, Fuzzing.

use super::batch::Batch;
use super::maker::Trees;
use super::operator_tests::catalogue;
use super::scorer::Scorer;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// xorshift64*: numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit.max(1)
    }
}

/// One change: a bit, a byte, a run of them, a piece cut out, doubled, or taken from elsewhere, a number made enormous.
fn change(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    if bytes.is_empty() {
        return;
    }
    let at = chance.below(bytes.len());
    let longest = 1 << chance.below(12);
    let length = 1 + chance.below(longest).min(bytes.len() - at - 1);
    match chance.below(8) {
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at] = chance.next() as u8,
        2 => bytes[at..at + length].iter_mut().for_each(|byte| *byte = chance.next() as u8),
        3 => drop(bytes.drain(at..at + length)),
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = chance.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        5 => {
            let from = chance.below(other.len());
            let piece = &other[from..(from + length).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        6 => bytes[at..at + length].fill([0, 0xff, 0x7f, 0x80][chance.below(4)]),
        _ => bytes.truncate(at),
    }
}

/// Reads the file, with as many features as it asks for, and scores some rows; true if it did.
fn run(bytes: &[u8], treatment: bool) -> bool {
    let catalogue = catalogue();
    let features = super::file::File::read(bytes).ok().and_then(|file| {
        let plan = super::program::Plan::new(&file).ok()?;
        let list = |input: &super::program::Declared| {
            let feature =
                if input.kind == super::Type::Text { json!("roof") } else { json!({"coalesce": ["age", 0.5]}) };
            let mut list = vec![feature; input.width()];
            if let Some(last) = list.last_mut().filter(|_| treatment && input.kind == super::Type::Float) {
                *last = json!("treatment");
            }
            (input.name.clone(), Value::Array(list))
        };
        Some(Value::Object(plan.inputs.iter().filter(|input| input.width() < 100).map(list).collect()))
    });
    let Ok(scorer) =
        Scorer::read(None, bytes, Some(bytes).filter(|bytes| bytes.len() % 7 == 0), features.as_ref(), &catalogue)
    else {
        return false;
    };
    let mut batch = Batch::new(&scorer.wanted);
    for row in 0..100 {
        batch.properties.push([0; 16]);
        batch.numbers.iter_mut().for_each(|column| column.push(f64::from(row) * 0.02));
        for column in 0..scorer.wanted.texts.len() {
            batch.push_text(column, Some("metal"));
        }
    }
    scorer.score(&batch, &mut Vec::new(), || ()).is_ok()
}

/// `target` for a fuzzer: no bytes panic, and none take long.
fn target(bytes: &[u8]) -> bool {
    let start = Instant::now();
    let scored = run(bytes, !bytes.len().is_multiple_of(3));
    assert!(start.elapsed() < Duration::from_secs(3), "{} bytes took {:?}", bytes.len(), start.elapsed());
    scored
}

#[test]
fn no_change_of_a_file_does_more_than_refuse_it() {
    let mut seeds = vec![Trees::stump().file()];
    let mut paths: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/uplift/model/fixtures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx") && path.metadata().unwrap().len() < 20_000)
        .collect();
    paths.sort_unstable();
    seeds.extend(paths.iter().map(|path| fs::read(path).unwrap()));
    let (mut chance, mut scored) = (Chance(20_261_201), 0);
    for round in 0..4000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=chance.below(3) {
            let other = chance.below(seeds.len());
            change(&mut bytes, &seeds[other], &mut chance);
        }
        scored += u32::from(target(&bytes));
    }
    assert!(scored > 40, "only {scored} of 4000 files still scored: the changes are too coarse");
    // And what no exporter has touched.
    for _ in 0..2000 {
        let length = chance.below(300);
        let bytes: Vec<u8> = (0..length).map(|_| chance.next() as u8).collect();
        target(&bytes);
    }
}
