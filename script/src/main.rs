//! Writes the scripts that PostgreSQL reads: `stormops-script SQL-DIRECTORY TARGET-DIRECTORY`.

use std::path::Path;
use std::{env, fs, io};

use stormops_script::Sources;

fn main() -> io::Result<()> {
    let [_, sql, target] = env::args().collect::<Vec<_>>().try_into().map_err(|_: Vec<_>| {
        io::Error::other("say where the sources are and where the scripts go: stormops-script sql target/scripts")
    })?;
    fs::create_dir_all(&target)?;
    for file in Sources::read(Path::new(&sql))?.files(env!("CARGO_PKG_VERSION")) {
        fs::write(Path::new(&target).join(file.name), file.text)?;
    }
    Ok(())
}
