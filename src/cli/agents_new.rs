//! `nova3 agents new`: writes a commented agent file.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::exit::{Exit, decided};
use super::init::write_new;
use crate::agent::Agents;
use crate::domain::ids::shortened;
use crate::domain::request::is_name;
use crate::observe::tell;

const TEMPLATE: &str = include_str!("agent_template.toml");

/// Writes the file of a new agent: into the folder of `agents.folder`, or else into the present folder.
pub(super) fn main(name: &str, folder: Option<&Path>, agents: &Agents) -> Result<Exit> {
    if !is_name(name) || name.ends_with(|c: char| c.is_ascii_digit()) {
        let message = format!(
            "`{}` is no name of an agent: expected lower-case letters, digits and `_` such as `score`, without a digit at \
             the end",
            shortened(name, 60)
        );
        return Err(decided(Exit::Usage, message));
    }
    if agents.named(name).is_some() {
        let message = format!("there is an agent `{name}` already (choose another name)");
        return Err(decided(Exit::Usage, message));
    }
    let path = folder
        .map_or_else(PathBuf::new, Path::to_path_buf)
        .join(format!("{name}.toml"));
    let shown = path.display().to_string();
    write_new(&path, &TEMPLATE.replace("NAME", name).replace("FILE", &shown))?;
    tell(&format!(
        "wrote {shown}; try `nova3 agents test {shown} --input 'some text' --mock`"
    ));
    Ok(Exit::Good)
}
