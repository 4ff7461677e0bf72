//! What the page of one storm is drawn from: `health_report_data()` as JSON.

use super::Issue;
use super::map::Map;
use serde::Deserialize;

/// Days since the decision; lift so far with its always-valid interval.
pub type Day = (f64, Option<f64>, Option<f64>, Option<f64>);

/// What `health_report_data()` tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Storm {
    pub org_name: String,
    pub storm: String,
    pub storm_status: String,
    pub made_at: String,
    pub health_status: String,
    pub issues: Vec<Issue>,
    pub scored: f64,
    pub run: Option<Run>,
    pub rates: Option<Rates>,
    pub lift: Vec<Day>,
    pub scores: Option<Scores>,
    pub curve: Vec<(f64, f64, f64)>,
    pub qini: Option<f64>,
    pub policies: Vec<Policy>,
    pub map: Option<Map>,
    pub usage: Vec<Usage>,
    pub bill: Option<Bill>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    pub policy_mode: String,
    pub decided_at: String,
    pub treat: f64,
    pub hold: f64,
    pub excluded: f64,
    pub with_outcome: f64,
    pub converted: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rates {
    pub status: String,
    pub verdict: Option<String>,
    pub treated_n: f64,
    pub control_n: f64,
    pub treated_rate: Option<f64>,
    pub control_rate: Option<f64>,
    pub lift: Option<f64>,
    pub lift_low: Option<f64>,
    pub lift_high: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scores {
    pub n: f64,
    pub mean: f64,
    pub sd: Option<f64>,
    pub severity: Option<String>,
    pub reference: Option<String>,
    pub low: f64,
    pub high: f64,
    pub histogram: Vec<f64>,
    pub reference_histogram: Vec<f64>,
}

/// A row of `compare_policies()`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub policy: String,
    pub status: String,
    pub unit: Option<String>,
    pub treat_share: Option<f64>,
    pub net_value: Option<f64>,
    pub net_value_low: Option<f64>,
    pub net_value_high: Option<f64>,
    pub weights_suspect: Option<bool>,
    pub applied: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub metric_name: String,
    pub unit: Option<String>,
    pub total: String,
    pub series: Vec<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bill {
    pub period: String,
    pub currency: String,
    pub total: String,
    /// What, how much, amount: as the invoice writes them.
    pub lines: Vec<(String, String, String)>,
}
