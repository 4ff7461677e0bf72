//! Checks, alerts and their delivery, dashboards, monitoring.

mod alerts;
mod counts;
mod dashboard;
mod delivery;
mod delivery_turns;
mod encodings;
mod expectations;
mod fairness;
mod jobs;
mod messages;
mod monitoring;
mod monitoring_chain;
mod monitoring_files;
mod monitoring_panels;
mod report;
mod storms;
mod system;
mod tables;
