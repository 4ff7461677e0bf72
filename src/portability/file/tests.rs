use super::*;

const TENANT: &str = "0190a0a0-0000-7000-8000-000000000001";

/// A file of one table with these rows.
fn file(rows: &[&str]) -> Vec<String> {
    let sum = rows.iter().fold(Sha256::new(), |sum, row| sum.chain_update(row).chain_update("\n"));
    let mut lines = vec![
        format!(r#"{{"format":"stormops tenant","version":1,"tenant_id":"{TENANT}"}}"#),
        r#"{"table":"storms","columns":["name"]}"#.to_owned(),
    ];
    lines.extend(rows.iter().map(|row| (*row).to_owned()));
    lines.push(format!(
        r#"{{"manifest":[{{"table":"storms","columns":["name"],"rows":{},"sha256":"{}"}}],"tenant_id":"{TENANT}","rows":{}}}"#,
        rows.len(),
        hex(&sum.finalize()),
        rows.len()
    ));
    lines
}

/// The first fault, or that of a file that ends too early.
fn fault(lines: &[String]) -> Option<String> {
    let mut reader = Reader::default();
    let read = lines.iter().try_for_each(|line| reader.take(line).map(drop)).and_then(|()| reader.whole());
    read.err().map(|fault| fault.message)
}

fn good() -> Vec<String> {
    file(&[r#"["storms","Hail"]"#, r#"["storms","Wind"]"#])
}

#[test]
fn a_whole_file_is_taken_and_counted() {
    assert_eq!(fault(&good()), None);
    let mut reader = Reader::default();
    let lines = good();
    let kinds = lines.iter().map(|line| match reader.take(line) {
        Ok(Line::Tenant(_)) => 't',
        Ok(Line::Table(_)) => 'c',
        Ok(Line::Row) => 'r',
        Ok(Line::End) => 'e',
        Err(_) => 'x',
    });
    assert_eq!(kinds.collect::<String>(), "tcrre");
    assert_eq!((reader.rows(), reader.tables().collect::<Vec<_>>()), (2, vec![("storms", 2)]));
}

/// Coreutils' `printf '["storms","Hail"]\n' | sha256sum`: what anybody can check a file by.
#[test]
fn the_digest_is_that_of_the_rows_as_they_stand() {
    let manifest = file(&[r#"["storms","Hail"]"#]).pop().unwrap();
    assert!(manifest.contains("da56a76b2327413b6f3c155f1401cdb27089aa80fa61917a226cf87c9e0e1bb5"), "{manifest}");
}

#[test]
fn every_line_that_is_lost_doubled_moved_or_changed_is_seen() {
    for place in 0..good().len() {
        let mut lost = good();
        lost.remove(place);
        assert!(fault(&lost).is_some(), "without line {place}");
        let mut doubled = good();
        doubled.insert(place, good()[place].clone());
        assert!(fault(&doubled).is_some(), "line {place} twice");
        let mut cut = good();
        cut.truncate(place);
        assert!(fault(&cut).is_some(), "cut before line {place}");
    }
    let mut moved = good();
    moved.swap(2, 3);
    assert!(fault(&moved).unwrap().contains("\"storms\" do not match"));
    let mut changed = good();
    changed[2] = r#"["storms","hail"]"#.to_owned();
    assert!(fault(&changed).is_some());
    let mut spaced = good();
    spaced[2].push(' ');
    assert!(fault(&spaced).is_some(), "a byte that JSON does not see");
}

#[test]
fn a_forged_line_is_refused() {
    let deep = "[".repeat(10_000);
    let replaced = |place: usize, line: &str| {
        let mut lines = good();
        lines[place] = line.to_owned();
        fault(&lines).unwrap_or_default()
    };
    for (place, line, due) in [
        (0, "", "line 1 is no header"),
        (
            0,
            r#"{"format":"stormops tenant","version":2,"tenant_id":"0190a0a0-0000-7000-8000-000000000001"}"#,
            "a format",
        ),
        (
            0,
            r#"{"format":"stormops tenant","version":1,"tenant_id":"0190A0A0-0000-7000-8000-000000000001"}"#,
            "no tenant_id",
        ),
        (0, r#"{"format":"stormops tenant","version":1,"tenant_id":"x","more":1}"#, "is no header"),
        (1, r#"{"table":"storms","columns":"name"}"#, "does not say a table"),
        (2, r#"["properties","Hail"]"#, "of another table"),
        (2, r#"[["storms"],"Hail"]"#, "of another table"),
        (2, &deep, "of another table"),
        (2, r#"{"table":"storms","columns":["name"]}"#, "a second time"),
        (4, "null", "is no row, table or manifest"),
        (4, &format!("{{\"manifest\":{deep}"), "is no row, table or manifest"),
        (4, r#"{"manifest":[],"tenant_id":"0190a0a0-0000-7000-8000-000000000001","rows":0}"#, "of other tables"),
    ] {
        assert!(replaced(place, line).contains(due), "{line:.60}: {}", replaced(place, line));
    }
    let mut after = good();
    after.push(r#"["storms","late"]"#.to_owned());
    assert!(fault(&after).unwrap().contains("after the manifest"));
    assert!(fault(&[]).unwrap().contains("cut short"));
}

#[test]
fn what_is_too_large_is_said_to_be() {
    let mut reader = Reader::default();
    reader.take(&good()[0]).ok().unwrap();
    let long = format!("{{\"table\":\"{}\"", "x".repeat(LONGEST));
    assert!(reader.take(&long).err().unwrap().too_large);
}
