//! No test is forgotten: every file below `tests/` is a module of one of the binaries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module's file, and those of the modules that it declares. Modules are declared each on a line of its own.
fn modules(file: PathBuf, seen: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(!text.contains("\n#[path"), "{}: a module is where its name says", file.display());
    let directory = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("main" | "mod") => file.parent().expect("a folder").to_owned(),
        _ => file.with_extension(""),
    };
    seen.insert(file);
    for name in text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let [plain, folder] = [directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs")];
        modules(if plain.exists() { plain } else { folder }, seen);
    }
}

/// Every file below a folder.
fn below(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, files);
        } else {
            files.insert(path);
        }
    }
}

/// Below `tests/`, Cargo makes a binary of every `*.rs`, which would have a cluster of its own by oversight, and of
/// every folder that has a `main.rs`; of anything else it makes nothing.
#[test]
fn every_file_belongs_to_a_binary() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let (mut files, mut reached) = (BTreeSet::new(), BTreeSet::new());
    for folder in fs::read_dir(&tests).expect("a folder") {
        let folder = folder.expect("an entry").path();
        assert!(folder.is_dir(), "{}: put it into a folder", folder.display());
        modules(folder.join("main.rs"), &mut reached);
        below(&folder, &mut files);
    }
    let forgotten: Vec<_> = files.difference(&reached).collect();
    assert!(forgotten.is_empty(), "no module: {forgotten:#?}");
    assert!(reached.len() > 70, "{}", reached.len());
}
