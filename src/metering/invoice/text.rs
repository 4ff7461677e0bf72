//! An invoice for psql: columns of fixed width, numbers to the right.

use super::{Invoice, Line};

const HEADINGS: [&str; 6] = ["#", "metric", "quantity", "unit price", "amount", "rule"];
const TO_THE_RIGHT: [bool; 6] = [true, false, true, true, true, false];

pub fn text(invoice: &Invoice) -> String {
    let mut lines = vec![invoice.title()];
    lines.extend(invoice.facts().iter().map(|(name, value)| format!("{:<18}{}", format!("{name}:"), one_line(value))));
    lines.push(String::new());

    let rows: Vec<[String; 6]> = invoice.lines.iter().map(|line| cells(line, &invoice.period)).collect();
    let headings = HEADINGS.map(str::to_owned);
    let total_label = format!("total {}", invoice.currency);
    let width = |column: usize| {
        let cells = rows.iter().chain([&headings]).map(|row| row[column].chars().count());
        let total = if column == 4 { invoice.total.chars().count() } else { 0 };
        cells.max().unwrap_or(0).max(total)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    lines.push(row(&headings, &widths));
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    lines.push(rule.clone());
    lines.extend(rows.iter().map(|cells| row(cells, &widths)));
    lines.push(rule);
    // Under the amounts: the width of the columns before them, and what parts them.
    let before = widths[..4].iter().sum::<usize>() + 2 * 3;
    lines.push(format!("{total_label:<before$}  {:>amount$}", invoice.total, amount = widths[4]));
    lines.push(String::new());
    lines.join("\n")
}

fn cells(line: &Line, period: &str) -> [String; 6] {
    let unit = line.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let span = line.span(period).map(|span| format!(", {span}")).unwrap_or_default();
    [
        line.line.clone(),
        one_line(&line.metric_name),
        one_line(&format!("{}{unit}", line.quantity)),
        line.unit_price.clone().unwrap_or_default(),
        line.amount.clone(),
        one_line(&format!("{}{span}", line.explanation())),
    ]
}

fn row(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let padded = cells.iter().zip(widths).zip(TO_THE_RIGHT).map(|((cell, width), right)| {
        let space = " ".repeat(width - cell.chars().count());
        if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// A terminal obeys control characters, and a line break would feign a line.
fn one_line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::text;

    #[test]
    fn amounts_stand_below_each_other() {
        let text = text(&sample::invoice());
        let ends: Vec<usize> = ["10.00", "2.50", "12.50"]
            .iter()
            .map(|amount| {
                let line = text.lines().find(|line| line.contains(&format!(" {amount}"))).unwrap();
                line.find(amount).unwrap() + amount.len()
            })
            .collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}\n{text}");
        assert!(text.starts_with("Invoice 12\n"));
        assert!(text.contains("2024-01-15T00:00:00Z to 2024-02-01T00:00:00Z"));
    }

    #[test]
    fn a_line_break_in_a_name_makes_no_line() {
        let mut invoice = sample::invoice();
        let before = text(&invoice).lines().count();
        invoice.organisation = "A\nInvoice 13\u{1b}[2J".to_owned();
        let text = text(&invoice);
        assert_eq!(text.lines().count(), before);
        assert!(!text.contains('\u{1b}'));
    }
}
