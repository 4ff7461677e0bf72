//! Trees that nobody should have sent.

use super::hostile_tests::{is_invalid, is_too_large, is_unsupported};
use super::maker::{Trees, floats, int, ints, ml, model, text};
use super::operator_tests::read;
use serde_json::json;

#[test]
fn trees_that_are_none() {
    let with = |change: fn(&mut Trees)| {
        let mut trees = Trees::stump();
        change(&mut trees);
        trees.file()
    };
    is_invalid(&with(|t| t.holds[0] = 0), "has a cycle");
    is_invalid(&with(|t| t.fails[0] = 1), "tree 0 has two roots");
    is_invalid(&with(|t| t.fails[0] = 9), "tree 0 has no node 9");
    is_invalid(&with(|t| t.fails[0] = -1), "tree 0 has no node -1");
    is_invalid(&with(|t| t.trees[2] = 1), "tree 0 has no node 2");
    is_invalid(&with(|t| t.nodes[2] = 1), "node 1 is twice in tree 0");
    is_invalid(&with(|t| t.modes = vec!["LEAF"; 3]), "tree 0 has two roots");
    is_unsupported(&with(|t| t.modes[0] = "BRANCH_MEMBER"), "none of LEAF");
    for feature in [2, -1, i64::MAX, 1 << 32] {
        let mut trees = Trees::stump();
        trees.features[0] = feature;
        is_invalid(&trees.file(), "it asks for feature");
    }
    is_invalid(&with(|t| t.values[0] = f32::NAN), "is NaN");
    is_invalid(&with(|t| t.weights[0] = f32::INFINITY), "is not finite");
    is_invalid(&with(|t| t.leaf_nodes[0] = 0), "has a weight and is no leaf");
    is_invalid(&with(|t| t.leaf_nodes[0] = 5), "has no node 5");
    for result in [1, -1, 1 << 40] {
        let mut trees = Trees::stump();
        trees.results[0] = result;
        is_invalid(&trees.file(), "a leaf adds to result");
    }
    is_invalid(&with(|t| t.values = vec![0.0]), "differ in length");
    is_invalid(&with(|t| t.results = vec![0]), "differ in length");
    is_invalid(&with(|t| t.more = vec![ints("nodes_missing_value_tracks_true", &[1])]), "differ in length");
    is_invalid(&with(|t| t.more = vec![floats("base_values", &[0.0; 2])]), "2 base values");
    is_invalid(&with(|t| t.more = vec![floats("base_values", &[f32::NAN])]), "base values");
    for targets in [0, -1, i64::MAX] {
        let mut trees = Trees::stump();
        trees.more = vec![int("n_targets", targets)];
        is_invalid(&trees.file(), "results");
    }
    is_unsupported(&with(|t| t.more = vec![text("post_transform", "LOGISTIC")]), "post_transform of a regressor");
    is_unsupported(&with(|t| t.more = vec![text("aggregate_function", "MIN")]), "aggregate_function");
    is_unsupported(&with(|t| t.more = vec![text("nodes_values_as_tensor", "")]), "double precision");
    is_invalid(&model(2, &[ml("TreeEnsembleRegressor", &["x"], &["y"], &[])], &[]), "it has no node");
}

/// A tree of so many nodes, each a branch and a leaf below it.
fn deep(branches: i64) -> Trees {
    let nodes = 0..2 * branches + 1;
    let is_branch = |node: &i64| node % 2 == 0 && *node < 2 * branches;
    let leaves: Vec<i64> = nodes.clone().filter(|node| !is_branch(node)).collect();
    let of = |f: fn(i64) -> i64| nodes.clone().map(|node| if is_branch(&node) { f(node) } else { 0 }).collect();
    Trees {
        trees: vec![0; nodes.clone().count()],
        nodes: nodes.clone().collect(),
        features: vec![0; nodes.clone().count()],
        values: nodes.clone().map(|node| -(node as f32)).collect(),
        modes: nodes.clone().map(|node| if is_branch(&node) { "BRANCH_LEQ" } else { "LEAF" }).collect(),
        holds: of(|node| node + 2),
        fails: of(|node| node + 1),
        results: vec![0; leaves.len()],
        weights: vec![0.5; leaves.len()],
        leaf_nodes: leaves,
        more: Vec::new(),
    }
}

#[test]
fn the_deepest_trees_are_read_without_a_stack_and_the_largest_not_at_all() {
    let scorer = read(&deep(100_000).file(), &json!(["age", "value"])).unwrap();
    assert!(scorer.summary.cost >= 100_000, "{}", scorer.summary.cost);
    is_too_large(&deep(500_001).file(), "bytes");
}

/// As onnxmltools writes LightGBM's tests of several categories.
#[test]
fn nodes_may_share_a_child_but_no_way_goes_in_circles() {
    let mut shared = Trees::stump();
    shared.trees = vec![0; 4];
    shared.nodes = vec![0, 1, 2, 3];
    shared.features = vec![0; 4];
    shared.values = vec![1.0, 3.0, 0.0, 0.0];
    shared.modes = vec!["BRANCH_EQ", "BRANCH_EQ", "LEAF", "LEAF"];
    (shared.holds, shared.fails) = (vec![2, 2, 0, 0], vec![1, 3, 0, 0]);
    shared.leaf_nodes = vec![2, 3];
    let scorer = read(&shared.file(), &json!(["age", "value"])).unwrap();
    assert!(scorer.summary.cost >= 3);
    shared.fails[1] = 0;
    is_invalid(&shared.file(), "has a cycle");
}
