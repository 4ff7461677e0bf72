//! What can share a cluster with everything else: a test has its own database, and roles that it makes have names of
//! their own. What restarts the server, needs another one beside it, or changes what all sessions see, is in a folder
//! of its own next to this one.
//!
//! A test that gives or takes use does so in turn (`Db::in_turn`); one that looks at locks or sessions looks at those
//! of its own database; one that reads the server's log looks for marks of its own.

mod docs;
mod errors;
mod experiment;
mod field;
mod files;
mod health;
mod metering;
mod policy;
mod portability;
mod reference;
mod tenancy;
mod uplift;
