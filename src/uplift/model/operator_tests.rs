//! Operators and features one by one, and what is refused of them.

use super::batch::Batch;
use super::features::Catalogue;
use super::maker::{
    Message, Trees, file, floats, graph, indices, int, ints, ml, model, plain, tensor, text, texts, value,
};
use super::score::Score;
use super::scorer::{Failure, Scorer};
use super::{Fault, Type};
use serde_json::{Value, json};

pub fn catalogue() -> Catalogue {
    Catalogue(vec![("age".into(), Type::Float), ("value".into(), Type::Float), ("roof".into(), Type::Text)])
}

pub fn read(model: &[u8], features: &Value) -> Result<Scorer, Fault> {
    Scorer::read(None, model, None, Some(features), &catalogue())
}

/// Rows of age and value, and of a roof.
fn batch(scorer: &Scorer, rows: &[(f64, f64, Option<&str>)]) -> Batch {
    let mut batch = Batch::new(&scorer.wanted);
    for (row, (age, value, roof)) in (0..).zip(rows) {
        batch.properties.push([row; 16]);
        for (column, feature) in batch.numbers.iter_mut().zip(&scorer.wanted.numbers) {
            column.push([*age, *value][*feature]);
        }
        for column in 0..scorer.wanted.texts.len() {
            batch.push_text(column, *roof);
        }
    }
    batch
}

fn scored(scorer: &Scorer, rows: &[(f64, f64, Option<&str>)]) -> Result<Vec<Score>, Failure> {
    let (mut scores, mut heard) = (Vec::new(), 0);
    scorer.score(&batch(scorer, rows), &mut scores, || heard += 1)?;
    assert!(heard > 0, "a cancel is never heard");
    Ok(scores)
}

#[track_caller]
fn uplifts(model: &[u8], features: &Value, rows: &[(f64, f64, Option<&str>)]) -> Vec<f64> {
    let scorer = read(model, features).unwrap();
    scored(&scorer, rows).unwrap().iter().map(|score| score.uplift).collect()
}

const ROWS: [(f64, f64, Option<&str>); 4] =
    [(0.25, 0.5, Some("metal")), (0.75, -0.25, Some("tile")), (0.5, f64::NAN, None), (-1.0, 1.0, Some("slate"))];

/// What one operator of two columns makes, summed over its columns so that it is one number.
#[track_caller]
fn of(nodes: &[Message], constants: &[Message]) -> Vec<f64> {
    let rows: Vec<_> = ROWS.iter().filter(|row| !row.1.is_nan()).copied().collect();
    uplifts(&model(2, nodes, constants), &json!(["age", "value"]), &rows)
}

fn sum(of: &str) -> Message {
    plain("ReduceSum", &[of], &["y"], &[ints("axes", &[1])])
}

#[test]
fn arithmetic_broadcasts_as_onnx_does() {
    let half = tensor("c", &[1], &[0.5]);
    let pair = tensor("c", &[1, 2], &[0.5, 0.25]);
    for (operator, constant, expected) in [
        ("Add", &half, [1.75, 1.5, 1.0]),
        ("Sub", &pair, [0.0, -0.25, -0.75]),
        ("Mul", &pair, [0.25, 0.3125, -0.25]),
        ("Div", &pair, [2.5, 0.5, 2.0]),
    ] {
        let expected = expected.map(|x: f64| x / 4.0);
        let nodes = [plain(operator, &["x", "c"], &["a"], &[]), plain("Mul", &["a", "q"], &["b"], &[]), sum("b")];
        assert_eq!(of(&nodes, &[constant.clone(), tensor("q", &[], &[0.25])]), expected, "{operator}");
    }
    // Columns against one column of the rows' own.
    let nodes =
        [plain("Gather", &["x", "i"], &["a"], &[int("axis", 1)]), plain("Mul", &["x", "a"], &["b"], &[]), sum("b")];
    assert_eq!(of(&nodes, &[indices("i", &[-2])]), [0.1875, 0.375, 0.0]);
    for (operator, expected) in
        [("Neg", [-0.75, -0.5, 0.0]), ("Relu", [0.75, 0.75, 1.0]), ("LeakyRelu", [0.75, 0.7475, 0.99])]
    {
        let found = of(&[plain(operator, &["x"], &["a"], &[]), sum("a")], &[]);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7), "{operator} {found:?}");
    }
    let nodes = [plain("Clip", &["x", "l", "h"], &["a"], &[]), sum("a")];
    assert_eq!(of(&nodes, &[tensor("l", &[], &[0.0]), tensor("h", &[], &[0.5])]), [0.75, 0.5, 0.5]);
    let found = of(&[plain("Softmax", &["x"], &["a"], &[]), sum("a")], &[]);
    assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
}

#[test]
fn columns_are_prepared_as_onnx_does() {
    let nan = f32::NAN;
    let nodes = [
        ml(
            "Imputer",
            &["x"],
            &["a"],
            &[
                floats("imputed_value_floats", &[0.0, 0.125]),
                Message::default().text(1, "replaced_value_float").float(2, nan),
            ],
        ),
        sum("a"),
    ];
    assert_eq!(uplifts(&model(2, &nodes, &[]), &json!(["age", "value"]), &ROWS[..3]), [0.75, 0.5, 0.625]);
    let nodes = [ml("Scaler", &["x"], &["a"], &[floats("offset", &[0.25, 0.0]), floats("scale", &[0.5])]), sum("a")];
    assert_eq!(of(&nodes, &[]), [0.25, 0.125, -0.125]);
    let nodes = [ml("Binarizer", &["x"], &["a"], &[]), plain("ReduceMean", &["a"], &["y"], &[ints("axes", &[-1])])];
    assert_eq!(of(&nodes, &[]), [1.0, 0.5, 0.5]);
    let nodes = [
        plain("Concat", &["x", "x"], &["a"], &[int("axis", 1)]),
        plain("Flatten", &["a"], &["b"], &[]),
        ml("ArrayFeatureExtractor", &["b", "i"], &["y"], &[]),
    ];
    assert_eq!(of(&nodes, &[indices("i", &[2])]), [0.25, 0.75, -1.0]);
}

#[test]
fn texts_become_numbers_and_unknown_ones_nothing() {
    let inputs = [value("roof", 8, 1)];
    let onehot = [
        ml("OneHotEncoder", &["roof"], &["a"], &[texts("cats_strings", &["metal", "tile"])]),
        plain("Reshape", &["a", "s"], &["b"], &[]),
        plain("MatMul", &["b", "w"], &["y"], &[]),
    ];
    let constants = [indices("s", &[-1, 2]), tensor("w", &[2, 1], &[0.25, -0.5])];
    let bytes = file(&graph(&onehot, &constants, &inputs, "y"));
    assert_eq!(uplifts(&bytes, &json!({"roof": "roof"}), &ROWS), [0.25, -0.5, 0.0, 0.0]);
    assert_eq!(
        uplifts(&bytes, &json!({"roof": {"coalesce": ["roof", {"text": "tile"}]}}), &ROWS),
        [0.25, -0.5, -0.5, 0.0]
    );
    assert_eq!(
        scored(&Scorer::read(None, &bytes, None, None, &catalogue()).unwrap(), &ROWS).unwrap().len(),
        4,
        "by their names"
    );
    let codes = [ml(
        "LabelEncoder",
        &["roof"],
        &["y"],
        &[
            texts("keys_strings", &["metal", "tile"]),
            floats("values_floats", &[0.5, 0.75]),
            Message::default().text(1, "default_float").float(2, -1.0),
        ],
    )];
    assert_eq!(uplifts(&file(&graph(&codes, &[], &inputs, "y")), &json!(["roof"]), &ROWS), [0.5, 0.75, -1.0, -1.0]);
}

#[test]
fn features_are_arithmetic_and_missing_values_have_a_rule() {
    let same = model(1, &[plain("Identity", &["x"], &["a"], &[]), plain("Identity", &["a"], &["y"], &[])], &[]);
    for (feature, expected) in [
        (json!("age"), [0.25, 0.75, 0.5, -1.0]),
        (json!(0.5), [0.5; 4]),
        (json!({"coalesce": ["value", 0.125]}), [0.5, -0.25, 0.125, 1.0]),
        (json!({"-": ["age", {"coalesce": ["value", 0]}]}), [-0.25, 1.0, 0.5, -2.0].map(|x: f64| x.max(-1.0))),
        (json!({"is_missing": ["value"]}), [0.0, 0.0, 1.0, 0.0]),
        (json!({"is_missing": ["roof"]}), [0.0, 0.0, 1.0, 0.0]),
        (json!({"equals": ["roof", "tile"]}), [0.0, 1.0, 0.0, 0.0]),
        (json!({"coalesce": [{"<": ["age", "value"]}, 0.5]}), [1.0, 0.0, 0.5, 1.0]),
        (json!({"coalesce": [{"sqrt": ["age"]}, 0.0]}), [0.5, 0.75f64.sqrt(), 0.5f64.sqrt(), 0.0]),
        (json!({"coalesce": [{"ln": [{"*": [{"exp": ["age"]}, 1]}]}, 0]}), [0.25, 0.75, 0.5, -1.0]),
        (json!({"coalesce": [{"/": ["age", 0]}, 0.5]}), [0.5; 4]),
        (json!({"greatest": [{"least": ["age", "value"]}, {"abs": [-0.25]}]}), [0.25, 0.25, 0.5, 0.25]),
    ] {
        let Ok(scorer) = read(&same, &json!([feature])) else { panic!("{feature}") };
        let rows: Vec<_> = ROWS.iter().map(|row| (row.0, row.1, row.2)).collect();
        let found = scored(&scorer, &rows);
        if feature.get("-").is_some() {
            assert!(matches!(found, Err(Failure::Unfit { property: [3, ..], .. })), "-2 is no uplift: {found:?}");
            continue;
        }
        let found: Vec<f64> =
            found.unwrap_or_else(|e| panic!("{feature}: {e:?}")).iter().map(|score| score.uplift).collect();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{feature}: {found:?}");
    }
    let scorer = read(&same, &json!(["value"])).unwrap();
    let Err(Failure::Unfit { property, gives }) = scored(&scorer, &ROWS) else { panic!("NaN became a score") };
    assert_eq!((property, gives.as_str()), ([2; 16], "an uplift of NaN, which is not between -1 and 1"));
    for (feature, says) in [
        (json!("slope"), "no feature slope"),
        (json!("roof"), "is text"),
        (json!(true), "a feature is a name"),
        (json!({"power": ["age", 2]}), "power of 2"),
        (json!({"+": ["age"]}), "+ of 1"),
        (json!({"+": "age"}), "list of its arguments"),
        (json!({"+": ["age", 1], "-": ["age", 1]}), "list of its arguments"),
        (json!({"equals": ["age", "x"]}), "is a number"),
        (json!(null), "a feature is a name"),
    ] {
        let Err(Fault::Invalid(text) | Fault::Unsupported(text)) = read(&same, &json!([feature])) else {
            panic!("{feature} was taken")
        };
        assert!(text.contains(says), "{feature}: {text}");
    }
    let deep = (0..30).fold(json!("age"), |inner, _| json!({"abs": [inner]}));
    assert!(matches!(read(&same, &json!([deep])), Err(Fault::TooLarge(_))));
    let many = json!(vec!["age"; 5]);
    assert!(
        matches!(read(&same, &many), Err(Fault::Invalid(text)) if text == "input x: it takes 1 features, and is given 5")
    );
    assert!(
        matches!(read(&same, &json!({"z": "age"})), Err(Fault::Invalid(text)) if text.contains("there is no input z: they are x (1 wide)"))
    );
}

#[test]
fn integers_take_no_missing_values() {
    let nodes = [plain("Cast", &["n"], &["a"], &[int("to", 1)]), plain("Mul", &["a", "c"], &["y"], &[])];
    let bytes = file(&graph(&nodes, &[tensor("c", &[], &[0.25])], &[value("n", 7, 1)], "y"));
    assert!(matches!(read(&bytes, &json!(["age"])), Err(Fault::Invalid(text)) if text.contains("coalesce")));
    assert_eq!(uplifts(&bytes, &json!([{"coalesce": [{"*": ["age", 4]}, 0]}]), &ROWS), [0.25, 0.75, 0.5, -1.0]);
}

#[test]
fn trees_send_missing_values_where_they_say() {
    let rows = [(0.25, 0.0, None), (0.75, 0.0, None), (f64::NAN, 0.0, None)];
    let mut stump = Trees::stump();
    assert_eq!(uplifts(&stump.file(), &json!(["age", 0]), &rows), [0.25, -0.25, -0.25]);
    stump.more = vec![ints("nodes_missing_value_tracks_true", &[1, 0, 0])];
    assert_eq!(uplifts(&stump.file(), &json!(["age", 0]), &rows), [0.25, -0.25, 0.25]);
}

/// The chance with treatment, and without, by one file that takes treatment as a feature, and by two.
#[test]
fn outcomes_with_and_without_treatment_make_an_uplift() {
    let classifier = |weights: &[f32]| {
        let attributes = [
            floats("coefficients", weights),
            floats("intercepts", &[0.0]),
            ints("classlabels_ints", &[0, 1]),
            text("post_transform", "LOGISTIC"),
        ];
        model(
            2,
            &[ml("LinearClassifier", &["x"], &["label", "p"], &attributes), ml("ZipMap", &["p"], &["y"], &[])],
            &[],
        )
    };
    let chance = |x: f64| 1.0 / (1.0 + (-x).exp());
    let near = |scorer: &Scorer, expected: &[(f64, f64)]| {
        for (score, (with, without)) in scored(scorer, &ROWS).unwrap().iter().zip(expected) {
            let apart = (score.uplift - (with - without)).abs() + (score.baseline.unwrap() - without).abs();
            assert!(apart < 1e-6 && score.sd.is_none(), "{score:?}");
        }
    };
    let ages = ROWS.map(|row| row.0);
    let one = read(&classifier(&[1.0, 2.0]), &json!(["age", "treatment"])).unwrap();
    assert_eq!(one.kind(), "onnx_treatment");
    near(&one, &ages.map(|age| (chance(age + 2.0), chance(age))));
    let pair = |features: &Value| {
        Scorer::read(None, &classifier(&[1.0, 0.0]), Some(&classifier(&[-1.0, 0.0])), Some(features), &catalogue())
    };
    let two = pair(&json!({"x": ["age", 0]})).unwrap();
    assert_eq!(two.kind(), "onnx_pair");
    near(&two, &ages.map(|age| (chance(age), chance(-age))));
    for (refused, says) in [
        (read(&classifier(&[1.0, 2.0]), &json!(["age", 0])), "a chance is no uplift"),
        (pair(&json!({"x": ["age", "treatment"]})), "takes no feature treatment"),
        (
            Scorer::read(
                Some("onnx"),
                &classifier(&[1.0, 2.0]),
                None,
                Some(&json!(["age", "treatment"])),
                &catalogue(),
            ),
            "registered as onnx",
        ),
    ] {
        let Err(Fault::Invalid(text)) = refused else { panic!("it was taken") };
        assert!(text.contains(says), "{text}");
    }
}
