//! Isolation, the context, roles, the guard, the log.

mod arguments;
mod attest;
mod break_glass;
mod catalog;
mod chain;
mod commands;
mod context;
mod cursors;
mod entering;
mod forgery;
mod guard;
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
mod transactions;
mod users;
mod whole_rows;
