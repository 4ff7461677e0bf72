//! The pages: what they link to is there, headings included, and each domain has one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("docs/").map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    pages
}

/// A page without its fenced blocks.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let text = format!("\n{text}");
    text.split("\n```").step_by(2).collect()
}

/// The anchors that a forge gives to headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let anchor =
        |heading: &str| heading.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-");
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The links of a page that lead nowhere.
fn broken(page: &Path) -> Vec<String> {
    let text = prose(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let leads_nowhere = |target: &&str| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { page.to_owned() } else { page.with_file_name(file) };
        !file.exists() || !heading.is_empty() && !anchors(&file).contains(heading)
    };
    targets.filter(|target| !target.contains("://")).filter(leads_nowhere).map(str::to_owned).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    for page in pages() {
        assert_eq!(broken(&page), [""; 0], "{}", page.display());
    }
    let sample = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample.md");
    fs::write(&sample, "## A `b`, c\n[a](#a-b-c) [b](#b) [c](none.md) [d](https://none.example)\n").expect("a file");
    assert_eq!(broken(&sample), ["#b", "none.md"]);
}

#[test]
fn every_domain_has_a_page() {
    for folder in fs::read_dir(root().join("sql")).expect("sql/") {
        let folder = folder.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        if folder.join("register.sql").exists() {
            assert!(root().join(format!("docs/{name}.md")).exists(), "docs/{name}.md");
        }
    }
}
