//! Isolation, the context, roles, the guard, the log.

mod arguments;
mod attest;
mod break_glass;
mod catalog;
mod chain;
mod context;
mod cursors;
mod forgery;
mod guard;
mod guard_locks;
mod isolation;
mod lifecycle;
mod login;
mod open_transactions;
mod poison;
mod privileges;
mod protect;
mod roles;
mod suspension;
mod tokens;
mod users;
