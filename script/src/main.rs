//! Prints the script of `CREATE EXTENSION`: `stormops-script [SQL-DIRECTORY]`.

use std::io::{self, Write};
use std::path::Path;

use stormops_script::Sources;

fn main() -> io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "sql".to_owned());
    io::stdout().write_all(Sources::read(Path::new(&directory))?.install().as_bytes())
}
