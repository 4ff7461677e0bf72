//! What somebody with the rights for it might do, and how it is undone.

mod definitions;
mod readers;
mod switches;

/// The properties that name it, what is done, what the evidence of the first property says, and what undoes it. What a
/// superuser's `stormops.install()` undoes is undone by that.
pub type Sabotage = (&'static str, &'static str, &'static str, &'static str);

const INSTALL: &str = "SELECT stormops.install()";

pub fn all() -> impl Iterator<Item = &'static Sabotage> {
    [definitions::SABOTAGES, readers::SABOTAGES, switches::SABOTAGES].into_iter().flatten()
}
