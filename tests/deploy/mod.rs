//! Checks `deploy/` and the forge's workflows against nova3 and against each other, on a machine without containers.
//! Files fit strict schemas, named objects exist, and flags and settings are the binary's own. Only a container engine
//! or a cluster shows whether they start.
//!
//! Each check is a function from a tree to its faults. It runs on the repository, where it finds none, and on broken
//! copies, where it has to find some.

mod breaks;
mod cluster;
mod command;
mod compose;
mod forge;
mod harness;
mod image;
mod page;
mod release;
mod scaling;
mod workload;

use harness::{Tree, root};

#[test]
fn everything_fits() {
    let tree = Tree {
        folder: root().to_path_buf(),
    };
    let faults = tree.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
