//! An invoice as `stormops.invoice_json()` writes it. Every number is text, so that no digit is lost on the way.

pub mod html;
pub mod text;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Invoice {
    pub invoice_id: String,
    pub kind: String,
    pub number: Option<String>,
    pub status: String,
    pub period: String,
    pub organisation: String,
    pub currency: String,
    pub total: String,
    pub price_book: String,
    pub usage_mark: String,
    pub generated_at: String,
    pub finalized_at: Option<String>,
    pub voided_at: Option<String>,
    pub corrects_number: Option<String>,
    pub reason: Option<String>,
    pub lines: Vec<Line>,
}

#[derive(Deserialize)]
pub struct Line {
    pub line: String,
    pub metric_name: String,
    pub unit: Option<String>,
    pub from_time: String,
    pub to_time: String,
    pub tier: Option<String>,
    pub rule: String,
    pub quantity: String,
    pub unit_price: Option<String>,
    pub amount: String,
}

impl Invoice {
    /// What stands above it: Invoice 12, Draft invoice, Credit note 13.
    pub fn title(&self) -> String {
        let kind = if self.kind == "credit_note" { "Credit note" } else { "Invoice" };
        match (&self.number, self.status.as_str()) {
            (Some(number), "void") => format!("{kind} {number} (void)"),
            (Some(number), _) => format!("{kind} {number}"),
            (None, _) => format!("Draft {}", kind.to_lowercase()),
        }
    }

    /// What else is to be known of it, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, &str)> {
        let facts = [
            ("Organisation", Some(&self.organisation)),
            ("Period (UTC)", Some(&self.period)),
            ("Finalized", self.finalized_at.as_ref()),
            ("Generated", Some(&self.generated_at)),
            ("Voided", self.voided_at.as_ref()),
            ("Corrects invoice", self.corrects_number.as_ref()),
            ("Reason", self.reason.as_ref()),
            ("Price book", Some(&self.price_book)),
            ("Usage mark", Some(&self.usage_mark)),
            ("Invoice id", Some(&self.invoice_id)),
        ];
        facts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value.as_str()))).collect()
    }
}

impl Line {
    /// The part of the month, where the line is not about all of it.
    pub fn span(&self, period: &str) -> Option<String> {
        let whole = self.from_time.starts_with(&format!("{period}-01T00:00")) && self.to_time.contains("-01T00:00");
        (!whole).then(|| format!("{} to {}", self.from_time, self.to_time))
    }

    /// How the amount came about.
    pub fn explanation(&self) -> String {
        match &self.tier {
            Some(tier) => format!("{} ({tier})", self.rule),
            None => self.rule.clone(),
        }
    }
}

#[cfg(test)]
pub mod sample {
    use super::Invoice;

    /// An invoice whose every text is hostile to whoever prints it.
    pub fn invoice() -> Invoice {
        let json = serde_json::json!({
            "invoice_id": "0190-1", "kind": "invoice", "number": "12", "status": "finalized", "period": "2024-01",
            "organisation": "<script>alert('&')</script> \"Dächer\"", "currency": "USD", "total": "12.50",
            "price_book": "default", "usage_mark": "99", "generated_at": "2024-02-01T00:00:05Z",
            "finalized_at": "2024-02-02T00:00:05Z", "corrects_number": null, "reason": null,
            "lines": [
                {"line": "1", "metric_name": "model_call", "unit": "call", "from_time": "2024-01-01T00:00:00Z",
                 "to_time": "2024-02-01T00:00:00Z", "tier": "standard", "rule": "graduated, above 0 to 1000",
                 "quantity": "1000", "unit_price": "0.01", "amount": "10.00"},
                {"line": "2", "metric_name": "<b>seats</b>", "unit": null, "from_time": "2024-01-15T00:00:00Z",
                 "to_time": "2024-02-01T00:00:00Z", "tier": null, "rule": "per unit",
                 "quantity": "25", "unit_price": "0.1", "amount": "2.50"},
            ],
        });
        serde_json::from_value(json).unwrap()
    }
}
