//! What every domain needs of the server, each thing once. No module here knows a domain.

pub mod aggregate;
pub mod bytea;
pub mod call;
pub mod float_state;
pub mod hooks;
pub mod lookup;
pub mod raise;
pub mod stored;
pub mod time;
