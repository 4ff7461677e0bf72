//! Hands the parts of the install script to pgrx, which wants literal paths, and each part small enough for the compiler;
//! and puts the upgrade scripts where `cargo pgrx` looks for them.

use std::path::Path;
use std::{env, fs, io};

use stormops_script::Sources;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=sql");
    let sql = Path::new("sql");
    let sources = Sources::read(sql)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let (mut lines, mut before) = (String::new(), String::new());
    for part in sources.parts() {
        let name = part.name.trim_end_matches(".sql").replace('/', "_");
        let path = Path::new(&out).join(format!("{name}.sql"));
        fs::write(&path, part.text)?;
        lines += &format!("pgrx::extension_sql_file!({path:?}, name = {name:?}{before});\n");
        before = format!(", requires = [{name:?}]");
    }
    fs::write(Path::new(&out).join("install.rs"), lines)?;
    for upgrade in sources.upgrades(env!("CARGO_PKG_VERSION")) {
        let path = sql.join(&upgrade.name);
        // Writing what is there already would have cargo build anew each time.
        if fs::read_to_string(&path).ok().as_deref() != Some(&upgrade.text) {
            fs::write(path, &upgrade.text)?;
        }
    }
    Ok(())
}
