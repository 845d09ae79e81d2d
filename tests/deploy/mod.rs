//! What `deploy/` and the forge's workflows say fits nova3 and itself, as far as a machine without containers can tell:
//! the forms are strict, what is named is there, flags and settings are the binary's own. Whether it starts, only an
//! engine or a cluster shows.
//!
//! Each check is a function from a tree to its faults, so that it is run on the tree as it is, where it finds none, and on
//! broken copies, where it has to.

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
