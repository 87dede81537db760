//! `dcos_node_upgrade.sh`: made as `dcos_install.sh` is, of pieces of the same text.

#[cfg(test)]
mod tests;

use bake_host::product::{Blob, Product};

use crate::Error;
use crate::installer::{Block, InstallerData, whole, words};

/// The script's name in a serve directory.
pub const UPGRADER: &str = "dcos_node_upgrade.sh";
/// The functions, in the order in which a reader wants them.
const PIECES: [&str; 4] = [
    include_str!("../installer/report.sh"),
    include_str!("../installer/upgrade/arguments.sh"),
    include_str!("../installer/fetch.sh"),
    include_str!("../installer/upgrade/upgrade.sh"),
];
/// What the script begins with.
const BEGINNING: &str = "#!/bin/bash\n\
    # Upgrades a host of a DC/OS cluster; `--help` tells how. Made by `bake configure`.\n";

/// The script that brings hosts to `product`, which `data` is about.
///
/// # Errors
/// When a text holds control characters, which no word of a script can show.
pub fn script(data: &InstallerData, product: &Product) -> Result<Vec<u8>, Error> {
    let file = |id| product.packages.get(id).or_else(|| product.bootstrap.packages.get(id));
    let packages: Vec<Blob> = product.active.iter().filter_map(file).cloned().collect();
    let block = || {
        let mut block = Block::of(data)?;
        block.list(
            "packages",
            "Path, sha256 and size of the file of each package, which is called after it.",
            &words(&packages),
        )?;
        Ok(block.text)
    };
    let block = block().map_err(|reason| Error::Render { what: UPGRADER.to_owned(), reason })?;
    Ok(whole(BEGINNING, &block, &PIECES).into_bytes())
}
