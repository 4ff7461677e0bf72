//! The install script, which is all SQL: `build.rs` puts it together from the files in `sql/`.

include!(concat!(env!("OUT_DIR"), "/install.rs"));
