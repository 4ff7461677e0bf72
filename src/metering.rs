//! Usage: events, rollups, quotas. What is here is what SQL cannot say.

mod writers;
