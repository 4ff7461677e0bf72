//! Files that nobody should have sent: each is an error that says what, soon, and takes no more memory than it brings.

use super::maker::{
    Message, Trees, file, floats, graph, indices, int, ints, ml, model, node, plain, tensor, texts, value,
};
use super::operator_tests::read;
use super::{Fault, MOST_BYTES};
use serde_json::json;
use std::time::{Duration, Instant};

/// Reads the file as a model of two features; the fault, which comes soon.
#[track_caller]
pub fn refused(bytes: &[u8]) -> Fault {
    let start = Instant::now();
    let Err(fault) = read(bytes, &json!(["age", "value"])) else { panic!("it was taken") };
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    fault
}

#[track_caller]
pub fn is_invalid(bytes: &[u8], says: &str) {
    match refused(bytes) {
        Fault::Invalid(text) => assert!(text.contains(says) && text.is_ascii() && text.len() < 500, "{text}"),
        fault => panic!("{fault:?}"),
    }
}

#[track_caller]
pub fn is_unsupported(bytes: &[u8], says: &str) {
    match refused(bytes) {
        Fault::Unsupported(text) => assert!(text.contains(says) && text.is_ascii() && text.len() < 500, "{text}"),
        fault => panic!("{fault:?}"),
    }
}

#[track_caller]
pub fn is_too_large(bytes: &[u8], says: &str) {
    match refused(bytes) {
        Fault::TooLarge(text) => assert!(text.contains(says), "{text}"),
        fault => panic!("{fault:?}"),
    }
}

#[test]
fn what_is_no_file_of_onnx() {
    is_invalid(b"", "no graph");
    is_invalid(b"PK\x03\x04 a zip", "not ONNX, or is damaged");
    is_invalid(&[0xff; 1000], "not ONNX, or is damaged");
    let whole = Trees::stump().file();
    // What comes last is the version of its operators, which it can do without.
    for end in 1..whole.len() - 6 {
        refused(&whole[..end]);
    }
    is_too_large(&vec![0; MOST_BYTES + 1], "bytes");
    let two = Message::default().inner(7, &Message::default()).inner(7, &Message::default());
    is_invalid(&two.0, "two graphs");
    // Five thousand messages within each other, where the deepest that is read is six.
    let deep = (0..5000).fold(Message::default(), |inner, _| Message::default().inner(7, &inner));
    refused(&deep.0);
}

#[test]
fn graphs_that_lead_nowhere_or_in_circles() {
    let relu = |from: &str, to: &str| plain("Relu", &[from], &[to], &[]);
    is_invalid(&model(2, &[relu("b", "a"), relu("a", "b"), relu("b", "y")], &[]), "b is used before it is made");
    is_invalid(&model(2, &[relu("y", "y")], &[]), "y is used before it is made");
    is_invalid(&model(2, &[relu("x", "y"), relu("x", "y")], &[]), "y is there twice");
    is_invalid(&model(2, &[relu("x", "x")], &[]), "x is there twice");
    is_invalid(&model(2, &[relu("x", "z")], &[]), "last output is never made");
    is_invalid(
        &model(2, &[relu("x", "y")], &[tensor("c", &[1], &[1.0]), tensor("c", &[1], &[1.0])]),
        "c is there twice",
    );
    is_invalid(&file(&graph(&[relu("x", "y")], &[], &[value("x", 1, 2), value("x", 1, 2)], "y")), "x is there twice");
    is_invalid(&file(&graph(&[], &[], &[value("x", 1, 2)], "y")), "no operator");
    let constant = plain("Constant", &[], &["y"], &[Message::default().text(1, "value_float").float(2, 1.0)]);
    is_invalid(&model(2, &[constant], &[]), "comes from no input");
    let label = ml(
        "LinearClassifier",
        &["x"],
        &["y", "p"],
        &[floats("coefficients", &[1.0, 1.0]), floats("intercepts", &[1.0]), ints("classlabels_ints", &[0, 1])],
    );
    is_unsupported(&model(2, &[label], &[]), "is no column of floats");
    is_invalid(&model(2, &[plain("Add", &["x"], &["y"], &[])], &[]), "input 2 is missing");
    is_unsupported(
        &model(
            2,
            &[plain("Add", &["c", "c"], &["a"], &[]), plain("Add", &["x", "a"], &["y"], &[])],
            &[tensor("c", &[], &[1.0])],
        ),
        "arithmetic",
    );
}

#[test]
fn what_loops_nests_or_reads_elsewhere() {
    for operator in ["Loop", "Scan", "If", "SequenceMap"] {
        is_unsupported(&model(2, &[plain(operator, &["x"], &["y"], &[])], &[]), "loops or branches");
    }
    for operator in ["ConstantOfShape", "Range", "Tile", "Expand", "RandomNormal", "Resize", "\u{1F980}"] {
        is_unsupported(&model(2, &[plain(operator, &["x"], &["y"], &[])], &[]), "is not supported");
    }
    is_unsupported(
        &model(2, &[node("com.example", "Relu", &["x"], &["y"], &[])], &[]),
        "Relu of com.example is not supported",
    );
    is_unsupported(&model(2, &[ml("TreeEnsemble", &["x"], &["y"], &[])], &[]), "ai.onnx.ml 5");
    let nested = (0..1000).fold(Message::default(), |inner, _| Message::default().text(1, "body").inner(6, &inner));
    for tag in [6, 11] {
        let attribute = Message::default().text(1, "body").inner(tag, &nested);
        is_unsupported(&model(2, &[plain("Relu", &["x"], &["y"], &[attribute])], &[]), "subgraph");
    }
    let outside = tensor("c", &[1], &[1.0]);
    for constant in
        [outside.clone().int(14, 1), outside.inner(13, &Message::default().text(1, "location").text(2, "/etc/passwd"))]
    {
        is_unsupported(&model(2, &[plain("Add", &["x", "c"], &["y"], &[])], &[constant]), "outside of the file");
    }
    let functions = Message(Trees::stump().file()).inner(25, &Message::default());
    is_unsupported(&functions.0, "functions");
    is_unsupported(&Message(Trees::stump().file()).inner(20, &Message::default()).0, "training");
    let sparse =
        graph(&[plain("Relu", &["x"], &["y"], &[])], &[], &[value("x", 1, 2)], "y").inner(15, &Message::default());
    is_unsupported(&file(&sparse), "sparse");
}

#[test]
fn sizes_that_are_claimed_and_not_brought() {
    let add = [plain("Add", &["x", "c"], &["y"], &[])];
    let with = |constant: Message| model(2, &add, &[constant]);
    is_invalid(&with(tensor("c", &[1 << 40], &[1.0])), "it carries 1 values");
    is_invalid(&with(tensor("c", &[i64::MAX, i64::MAX], &[])), "it carries 0 values");
    is_invalid(&with(tensor("c", &[-1], &[1.0])), "a dimension of -1");
    is_too_large(&with(tensor("c", &[1; 9], &[1.0])), "a list of 9 values");
    is_invalid(
        &with(Message::default().int(1, 1).int(2, 1).text(8, "c").bytes(9, &[1, 2, 3])),
        "no whole number of values",
    );
    is_unsupported(&with(Message::default().int(1, 1).int(2, 11).text(8, "c").bytes(9, &[0; 8])), "double precision");
    is_unsupported(&with(Message::default().int(1, 1).int(2, 16).text(8, "c").bytes(9, &[0; 2])), "element type is 16");
    for width in [0, 1 << 40, i64::MIN] {
        let bytes = model(width, &[plain("Relu", &["x"], &["y"], &[])], &[]);
        assert!(matches!(refused(&bytes), Fault::Invalid(_) | Fault::TooLarge(_)), "{width}");
    }
    // Each as wide as may be: together they are more than may be.
    let wide = |n: usize| {
        plain("Concat", &[&*format!("a{}", n - 1), &*format!("a{}", n - 1)], &[&*format!("a{n}")], &[int("axis", 1)])
    };
    let mut doubled = vec![plain("Concat", &["x", "x"], &["a0"], &[int("axis", 1)])];
    doubled.extend((1..40).map(wide));
    doubled.push(plain("Relu", &["a39"], &["y"], &[]));
    is_too_large(&model(2, &doubled, &[]), "wide");
    let many: Vec<_> = (0..2001).map(|n| plain("Relu", &["x"], &[&*format!("a{n}")], &[])).collect();
    is_too_large(&model(2, &many, &[]), "more than 2000 operators");
    let names = vec!["x"; 60_000];
    is_too_large(&model(2, &[plain("Concat", &names, &["y"], &[int("axis", 1)])], &[]), "names");
    let attributes: Vec<_> = (0..101).map(|n| int(&format!("a{n}"), 1)).collect();
    is_too_large(&model(2, &[plain("Relu", &["x"], &["y"], &attributes)], &[]), "100 attributes");
    is_invalid(
        &model(2, &[plain("Relu", &["x"], &["y"], &[int("a", 1), int("a", 1)])], &[]),
        "attribute a is there twice",
    );
    // Sixteen million numbers of a byte each, which would be 128 MB.
    let packed = Message::default().text(1, "nodes_treeids").bytes(8, &vec![0; MOST_BYTES - 200]);
    is_too_large(&model(2, &[ml("TreeEnsembleRegressor", &["x"], &["y"], &[packed])], &[]), "a list of");
    let costly: Vec<_> = (0..60)
        .map(|n| {
            plain(
                "MatMul",
                &[&*if n == 0 { "x".to_owned() } else { format!("a{n}") }, if n == 0 { "v" } else { "w" }],
                &[&*format!("a{}", n + 1)],
                &[],
            )
        })
        .chain([plain("ReduceSum", &["a60"], &["y"], &[ints("axes", &[1])])])
        .collect();
    let constants = [tensor("v", &[2, 300], &[0.0; 600]), tensor("w", &[300, 300], &vec![0.0; 90_000])];
    is_too_large(&model(2, &costly, &constants), "steps");
}

#[test]
fn shapes_that_do_not_fit() {
    let one = |node: Message, constants: &[Message]| model(2, &[node], constants);
    is_invalid(
        &one(plain("MatMul", &["x", "c"], &["y"], &[]), &[tensor("c", &[3, 1], &[0.0; 3])]),
        "a matrix of 3 rows",
    );
    is_invalid(
        &one(
            plain("Gemm", &["x", "c", "b"], &["y"], &[]),
            &[tensor("c", &[2, 1], &[0.0; 2]), tensor("b", &[4], &[0.0; 4])],
        ),
        "a bias of dimensions [4]",
    );
    is_invalid(&one(plain("MatMul", &["x", "c"], &["y"], &[]), &[tensor("c", &[2, 1], &[f32::NAN; 2])]), "not finite");
    is_unsupported(
        &one(plain("Add", &["x", "c"], &["y"], &[]), &[tensor("c", &[7, 2], &[0.0; 14])]),
        "dimensions [7, 2]",
    );
    is_invalid(&one(plain("Add", &["x", "c"], &["y"], &[]), &[tensor("c", &[3], &[0.0; 3])]), "2 and 3 wide");
    is_invalid(&one(plain("Gather", &["x", "c"], &["y"], &[int("axis", 1)]), &[indices("c", &[2])]), "column 2 of 2");
    is_invalid(&one(plain("Gather", &["x", "c"], &["y"], &[int("axis", 1)]), &[indices("c", &[i64::MIN])]), "of 2");
    is_unsupported(
        &one(plain("Gather", &["x", "c"], &["y"], &[int("axis", 0)]), &[indices("c", &[0])]),
        "another axis",
    );
    is_unsupported(&one(plain("Reshape", &["x", "c"], &["y"], &[]), &[indices("c", &[1, -1])]), "not that of the rows");
    is_invalid(&one(plain("Reshape", &["x", "c"], &["y"], &[]), &[indices("c", &[-1, i64::MAX, 2])]), "do not become");
    is_invalid(&one(plain("Reshape", &["x", "c"], &["y"], &[]), &[indices("c", &[0, -1, -1])]), "a dimension of -1");
    is_invalid(
        &one(ml("Scaler", &["x"], &["y"], &[floats("offset", &[0.0; 3]), floats("scale", &[1.0; 2])]), &[]),
        "3 numbers for 2 columns",
    );
    is_invalid(
        &one(ml("LinearRegressor", &["x"], &["y"], &[floats("coefficients", &[0.0; 3])]), &[]),
        "3 coefficients",
    );
    is_invalid(
        &one(ml("LinearRegressor", &["x"], &["y"], &[floats("coefficients", &[]), int("targets", i64::MAX)]), &[]),
        "0 coefficients",
    );
    let onehot =
        |categories: &[&str]| one(ml("OneHotEncoder", &["x"], &["y"], &[texts("cats_strings", categories)]), &[]);
    is_invalid(&onehot(&["a"]), "another type than its input");
    is_invalid(&onehot(&["a", "a"]), "not all different");
    is_invalid(&onehot(&[]), "its categories are none");
    is_invalid(&one(plain("Relu", &["x"], &["y"], &[]), &[]), "a chance is no uplift");
    let three = plain("Concat", &["x", "x"], &["y"], &[int("axis", 1)]);
    is_unsupported(&one(three, &[]), "an uplift is one number");
    for (element, says) in [(11, "double precision"), (9, "element type is 9"), (0, "element type is 0")] {
        is_unsupported(&file(&graph(&[plain("Relu", &["x"], &["y"], &[])], &[], &[value("x", element, 2)], "y")), says);
    }
    let fixed = Message::default().inner(1, &Message::default().int(1, 1)).inner(1, &Message::default().int(1, 2));
    let fixed = Message::default().inner(1, &Message::default().int(1, 1).inner(2, &fixed));
    let fixed = Message::default().text(1, "x").inner(2, &fixed);
    is_unsupported(&file(&graph(&[plain("Relu", &["x"], &["y"], &[])], &[], &[fixed], "y")), "number of rows is fixed");
}
