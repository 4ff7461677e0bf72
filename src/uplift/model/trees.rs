//! TreeEnsembleClassifier and TreeEnsembleRegressor (ai.onnx.ml 1 to 3), read into a forest that is sound: every node is
//! reached from one root, on no way that goes in circles, and every feature, child and result is there.

use super::arithmetic::Post;
use super::attributes::Attributes;
use super::data::Type;
use super::forest::{Close, FEATURE, Forest, LEAF, MISSING_HOLDS, Node, Test, test_bits};
use super::site::{Made, Site, Step};
use super::walk::walk;
use super::{Fault, MOST_NODES, invalid, unsupported};
use crate::memory::with_room;

const MOST_RESULTS: usize = 1000;

/// Nodes by tree and number.
struct Places(Vec<(i64, i64, u32)>);

impl Places {
    fn new(trees: &[i64], numbers: &[i64]) -> Result<Self, Fault> {
        let mut places = with_room(trees.len())?;
        places.extend((0..).zip(trees.iter().zip(numbers)).map(|(place, (tree, number))| (*tree, *number, place)));
        places.sort_unstable();
        if let Some(&[(tree, number, _), ..]) =
            places.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1))
        {
            return invalid(format!("node {number} is twice in tree {tree}"));
        }
        Ok(Self(places))
    }

    fn find(&self, tree: i64, number: i64) -> Result<usize, Fault> {
        match self.0.binary_search_by_key(&(tree, number), |place| (place.0, place.1)) {
            Ok(found) => Ok(self.0[found].2 as usize),
            Err(_) => invalid(format!("tree {tree} has no node {number}")),
        }
    }
}

fn same_length(lengths: &[usize], length: usize, what: &str) -> Result<(), Fault> {
    if lengths.iter().any(|other| *other != length) {
        return invalid(format!("the lists of its {what} differ in length: {length} and {lengths:?}"));
    }
    Ok(())
}

pub fn trees(site: &Site, classifier: bool) -> Result<Made, Fault> {
    let (attributes, value) = (&site.node.attributes, site.numbers(0)?);
    let columns = value.columns()?;
    if ["nodes_values_as_tensor", "base_values_as_tensor", "class_weights_as_tensor", "target_weights_as_tensor"]
        .iter()
        .any(|name| attributes.has(name))
    {
        return unsupported("its trees are of double precision: export with FloatTensorType inputs");
    }
    let (forest, depth) = forest(attributes, classifier, columns)?;
    if value.missing && !forest.missing && site.producer == "skl2onnx" {
        return invalid(
            "skl2onnx, up to 1.20 at least, drops where trees send missing values, so that rows with one would be scored wrongly and nobody told: \
             impute in the pipeline, give each feature a value by coalesce, or set nodes_missing_value_tracks_true yourself",
        );
    }
    let out = forest.out;
    let step = Step::of(value, Type::Float, vec![out], forest);
    Step { output: usize::from(classifier), missing: false, cost: depth, ..step }.made()
}

/// And how many nodes a row passes at the most.
fn forest(attributes: &Attributes, classifier: bool, columns: usize) -> Result<(Forest, usize), Fault> {
    let list = |name: &str| attributes.ints(name, MOST_NODES);
    let (trees, numbers) = (list("nodes_treeids")?, list("nodes_nodeids")?);
    let (features, holds, fails) = (list("nodes_featureids")?, list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let (values, modes) =
        (attributes.floats("nodes_values", MOST_NODES)?, attributes.texts("nodes_modes", MOST_NODES)?);
    let missing = list("nodes_missing_value_tracks_true")?;
    let count = trees.len();
    if count == 0 {
        return invalid("it has no node");
    }
    same_length(&[numbers.len(), features.len(), holds.len(), fails.len(), values.len(), modes.len()], count, "nodes")?;
    if !missing.is_empty() {
        same_length(&[missing.len()], count, "nodes")?;
    }
    let places = Places::new(&trees, &numbers)?;
    let mut nodes = with_room(count)?;
    let mut has_parent = with_room(count)?;
    has_parent.resize(count, false);
    let (mut test, mut any_missing, mut mixed) = (None, false, false);
    for at in 0..count {
        let Some(own) = test_named(modes[at])? else {
            nodes.push(Node { value: 0.0, feature: LEAF, next: [at as u32; 2] });
            continue;
        };
        let feature = match u32::try_from(features[at]) {
            Ok(feature) if (feature as usize) < columns && feature <= FEATURE => feature,
            _ => return invalid(format!("it asks for feature {} of {columns}", features[at])),
        };
        if values[at].is_nan() {
            return invalid(format!("a threshold of tree {} is NaN", trees[at]));
        }
        let mut next = [0; 2];
        for (next, number) in next.iter_mut().zip([fails[at], holds[at]]) {
            let child = places.find(trees[at], number)?;
            has_parent[child] = true;
            *next = child as u32;
        }
        mixed |= *test.get_or_insert(own) != own;
        let holds_missing = missing.get(at).is_some_and(|flag| *flag != 0);
        any_missing |= holds_missing;
        nodes.push(Node {
            value: values[at],
            feature: feature | test_bits(own) | if holds_missing { MISSING_HOLDS } else { 0 },
            next,
        });
    }
    drop((features, holds, fails, values, modes, numbers, missing));
    let leaves = leaves(attributes, classifier, &places, &nodes)?;
    drop(places);
    let (order, roots, depth) = walk(&nodes, &has_parent, &trees)?;
    let (forest, single) = close(attributes, classifier, &leaves)?;
    let mut forest = Forest {
        roots,
        columns,
        test: test.filter(|_| !mixed).or(if mixed { None } else { Some(Test::AtMost) }),
        missing: any_missing,
        ..forest
    };
    arrange(&mut forest, nodes, &order, leaves, single)?;
    Ok((forest, depth))
}

fn test_named(mode: &[u8]) -> Result<Option<Test>, Fault> {
    Ok(Some(match mode {
        b"LEAF" => return Ok(None),
        b"BRANCH_LEQ" => Test::AtMost,
        b"BRANCH_LT" => Test::Below,
        b"BRANCH_GTE" => Test::AtLeast,
        b"BRANCH_GT" => Test::Above,
        b"BRANCH_EQ" => Test::Equal,
        b"BRANCH_NEQ" => Test::Unequal,
        _ => return unsupported("a node is none of LEAF and BRANCH_LEQ, _LT, _GTE, _GT, _EQ, _NEQ"),
    }))
}

/// Weights by leaf, in the order of the file, which is that of the sums.
fn leaves(
    attributes: &Attributes,
    classifier: bool,
    places: &Places,
    nodes: &[Node],
) -> Result<Vec<(u32, u32, f32)>, Fault> {
    let of = if classifier { "class" } else { "target" };
    let list = |name: &str| attributes.ints(&format!("{of}_{name}"), MOST_NODES);
    let (trees, numbers, results) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let weights = attributes.floats(&format!("{of}_weights"), MOST_NODES)?;
    same_length(&[trees.len(), numbers.len(), results.len()], weights.len(), "leaves")?;
    let mut leaves = with_room(weights.len())?;
    for (place, weight) in weights.into_iter().enumerate() {
        let leaf = places.find(trees[place], numbers[place])?;
        if nodes[leaf].feature & LEAF == 0 {
            return invalid(format!("node {} of tree {} has a weight and is no leaf", numbers[place], trees[place]));
        }
        let result = u32::try_from(results[place]).ok().filter(|result| (*result as usize) < MOST_RESULTS);
        let Some(result) = result else { return invalid(format!("a leaf adds to result {}", results[place])) };
        if !weight.is_finite() {
            return invalid(format!("a leaf of tree {} is not finite", trees[place]));
        }
        leaves.push((leaf as u32, result, weight));
    }
    leaves.sort_by_key(|leaf| leaf.0); // stable
    Ok(leaves)
}

/// How sums become results; and whether each leaf has one weight for the one sum.
fn close(attributes: &Attributes, classifier: bool, leaves: &[(u32, u32, f32)]) -> Result<(Forest, bool), Fault> {
    let out = if classifier {
        list_length(attributes)?
    } else {
        usize::try_from(attributes.int("n_targets", 1)?).unwrap_or(0)
    };
    if out == 0 || out > MOST_RESULTS {
        return invalid(format!("{out} results, where there are 1 to {MOST_RESULTS}"));
    }
    if let Some(leaf) = leaves.iter().find(|leaf| leaf.1 as usize >= out) {
        return invalid(format!("a leaf adds to result {} of {out}", leaf.1));
    }
    let post = Post::read(attributes)?;
    if !classifier && post != Post::None {
        // onnxruntime leaves it out where there is one target.
        return unsupported("post_transform of a regressor, which programs treat differently");
    }
    let average = match attributes.text("aggregate_function")? {
        b"" | b"SUM" => false,
        b"AVERAGE" => true,
        _ => return unsupported("its aggregate_function is neither SUM nor AVERAGE"),
    };
    let base = attributes.floats("base_values", MOST_RESULTS)?;
    // As exporters write it: one sum, for the first class by its number, is the second's.
    let two = classifier && out == 2 && leaves.iter().all(|leaf| leaf.1 == 0);
    if !(base.is_empty() || base.len() == out || two && base.len() == 1) || base.iter().any(|base| !base.is_finite()) {
        return invalid(format!("{} base values for {out} results", base.len()));
    }
    if classifier && out == 2 && base.len() > usize::from(two) {
        return unsupported("these base values of two classes, of which onnxruntime leaves something out");
    }
    let close = if two { Close::Two { positive: leaves.iter().all(|leaf| leaf.2 >= 0.0) } } else { Close::Scores };
    let sums = if two { 1 } else { out };
    let single = sums == 1 && leaves.windows(2).all(|pair| pair[0].0 != pair[1].0);
    let forest = Forest {
        nodes: Vec::new(),
        roots: Vec::new(),
        ranges: Vec::new(),
        weights: Vec::new(),
        columns: 0,
        sums,
        out,
        average,
        base,
        post,
        close,
        test: None,
        missing: false,
    };
    Ok((forest, single))
}

fn list_length(attributes: &Attributes) -> Result<usize, Fault> {
    let ints = attributes.ints("classlabels_int64s", MOST_RESULTS)?.len();
    Ok(ints.max(attributes.texts("classlabels_strings", MOST_RESULTS)?.len()))
}

/// Puts nodes and weights in the order of the walk.
fn arrange(
    forest: &mut Forest,
    nodes: Vec<Node>,
    order: &[u32],
    leaves: Vec<(u32, u32, f32)>,
    single: bool,
) -> Result<(), Fault> {
    let mut places: Vec<u32> = with_room(nodes.len())?;
    places.resize(nodes.len(), 0);
    for (place, at) in (0..).zip(order) {
        places[*at as usize] = place;
    }
    forest.nodes = with_room(nodes.len())?;
    forest.nodes.extend(order.iter().map(|at| {
        let node = nodes[*at as usize];
        Node { next: node.next.map(|next| places[next as usize]), ..node }
    }));
    if single {
        for (leaf, _, weight) in leaves {
            forest.nodes[places[leaf as usize] as usize].value = weight;
        }
        return Ok(());
    }
    forest.ranges = with_room(nodes.len())?;
    forest.ranges.resize(nodes.len(), [0; 2]);
    forest.weights = with_room(leaves.len())?;
    let to_one = matches!(forest.close, Close::Two { .. });
    for of_one in leaves.chunk_by(|a, b| a.0 == b.0) {
        let start = forest.weights.len() as u32;
        forest.weights.extend(of_one.iter().map(|leaf| (if to_one { 0 } else { leaf.1 }, leaf.2)));
        forest.ranges[places[of_one[0].0 as usize] as usize] = [start, forest.weights.len() as u32];
    }
    Ok(())
}
