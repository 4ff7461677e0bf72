//! An invoice as one page that needs nothing else: for the browser, light or dark, and for the printer.

use maud::{DOCTYPE, PreEscaped, html};

use super::{Invoice, Line};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1c1f; --dim: #5c636b; --rule: #d5d9de; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --dim: #a2a9b1; --rule: #3a4048; --page: #16181b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 1.5rem; font-size: 1.75rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.5rem; margin: 0 0 2rem; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
.lines { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { color: var(--dim); font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
small { display: block; color: var(--dim); }
tfoot th, tfoot td { border-bottom: 0; font-size: 1.15rem; font-weight: 700; }
@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem; }
  th, td { padding-right: .5rem; font-size: .875rem; }
  .quantity { white-space: normal; overflow-wrap: anywhere; }
}
@page { margin: 18mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --dim: #444; --rule: #999; --page: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .lines { overflow: visible; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
}
";

/// Every value goes through maud, which escapes it; only the style above is ours and raw.
pub fn html(invoice: &Invoice) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (invoice.title()) ", " (invoice.organisation) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (invoice.title()) }
                    dl { @for (name, value) in invoice.facts() { dt { (name) } dd { (value) } } }
                    div.lines {
                        table {
                            thead {
                                tr {
                                    th scope="col" { "Item" }
                                    th.number scope="col" { "Quantity" }
                                    th.number scope="col" { "Unit price" }
                                    th.number scope="col" { "Amount" }
                                }
                            }
                            tbody { @for line in &invoice.lines { (row(line, &invoice.period)) } }
                            tfoot {
                                tr {
                                    th scope="row" colspan="3" { "Total " (invoice.currency) }
                                    td.number { (invoice.total) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn row(line: &Line, period: &str) -> maud::Markup {
    html! {
        tr {
            td {
                (line.metric_name)
                small { (line.explanation()) }
                @if let Some(span) = line.span(period) { small { (span) } }
            }
            td.number.quantity { (line.quantity) @if let Some(unit) = &line.unit { " " (unit) } }
            td.number { @if let Some(price) = &line.unit_price { (price) } }
            td.number { (line.amount) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::html;

    #[test]
    fn no_value_is_markup() {
        let page = html(&sample::invoice());
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert('&amp;')&lt;/script&gt; &quot;Dächer&quot;"), "{page}");
        assert!(page.contains("&lt;b&gt;seats&lt;/b&gt;"));
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        let page = html(&sample::invoice());
        assert!(
            !page.contains("http://")
                && !page.contains("https://")
                && !page.contains("src=")
                && !page.contains("href=")
        );
        assert!(page.contains("@media print") && page.contains("prefers-color-scheme: dark"));
    }
}
