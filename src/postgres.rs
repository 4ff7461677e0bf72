//! What every domain needs of the server, each thing once. No module here knows a domain.

pub mod aggregate;
#[cfg(not(test))] // tests run without a server
mod allocator;
pub mod array;
pub mod bytea;
pub mod call;
pub mod float_state;
pub mod hooks;
pub mod interrupts;
pub mod json;
pub mod lookup;
pub mod memory;
#[cfg(any(test, feature = "pg_test"))]
mod pg_tests;
pub mod raise;
pub mod rows;
pub mod settings;
pub mod slices;
pub mod stored;
pub mod time;
pub mod wait;
pub mod window;
