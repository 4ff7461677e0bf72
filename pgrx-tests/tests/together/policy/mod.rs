//! Runs, decisions, outcomes, limits, guardrails.

mod blocks;
mod decisions;
mod evaluation;
mod guardrail_checks;
mod guardrail_limits;
mod guardrail_rows;
mod guardrail_runs;
mod guardrails;
mod limits;
mod modes;
mod outcomes;
mod packed;
mod partitions;
mod pushdown;
mod runs;
mod seeds;
mod suggestions;
