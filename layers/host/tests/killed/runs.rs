//! The commands that change a host.

use std::fs;
use std::path::Path;

use crate::planted;
use crate::scene::{Kind, Run};
use crate::wares::{ACTIVATE, ADD, INSTALL, INSTALL_NEUTRAL, UPGRADE, put};

fn nothing(_: &Path) {}

pub const INSTALLATION: Run =
    Run { name: "install", kind: Kind::Begin, before: &[], then: nothing, command: INSTALL };

pub const ACTIVATION: Run = Run {
    name: "activate",
    kind: Kind::Commit,
    before: &[INSTALL, ADD[0], ADD[1]],
    then: nothing,
    command: ACTIVATE,
};

/// Brings packages too, and another configuration.
pub const UPGRADING: Run =
    Run { name: "upgrade", kind: Kind::Commit, before: &[INSTALL], then: nothing, command: UPGRADE };

pub const ROLLBACK: Run = Run {
    name: "rollback",
    kind: Kind::Commit,
    before: &[INSTALL, ADD[0], ADD[1], ACTIVATE],
    then: nothing,
    command: "rollback 1",
};

/// To other roles: until the directory of the roles is written, it still names those of the generation that was left,
/// which must not be taken for somebody's wish to have them again.
pub const ROLLBACK_OF_ROLES: Run = Run {
    name: "rollback of roles",
    kind: Kind::Commit,
    before: &[INSTALL, "role add slave", "role remove master"],
    then: nothing,
    command: "rollback 1",
};

pub const ROLE_ADDED: Run = Run {
    name: "role add",
    kind: Kind::Commit,
    before: &[INSTALL],
    then: nothing,
    command: "role add slave",
};

pub const ROLE_REMOVED: Run = Run {
    name: "role remove",
    kind: Kind::Commit,
    before: &[INSTALL, "role add slave"],
    then: nothing,
    command: "role remove master",
};

/// The first boot of an image without a role.
pub const ROLE_LEARNT: Run = Run {
    name: "setup",
    kind: Kind::Begin,
    before: &[INSTALL_NEUTRAL],
    then: |root| put(&root.join("proc/cmdline"), "quiet dcos.roles=master,slave\n", 0o644),
    command: "setup",
};

/// The first boot of a system whose image has the product in its `/usr`.
pub const SEED_TAKEN: Run = Run {
    name: "seed",
    kind: Kind::Begin,
    before: &[],
    then: |root| planted::plant(&root.with_file_name("wares"), "serve", root),
    command: "seed",
};

/// The first boot with another image.
pub const SEED_UPGRADING: Run = Run {
    name: "another seed",
    kind: Kind::Begin,
    before: &[INSTALL, "setup"],
    then: |root| planted::plant(&root.with_file_name("wares"), "next", root),
    command: "seed",
};

pub const EDIT: Run = Run {
    name: "edit",
    kind: Kind::Commit,
    before: &[INSTALL],
    then: nothing,
    command: "edit --keep site --from WARES/hello--2.tar.xz /opt/mesosphere/bin/hello",
};

pub const ADDITION: Run =
    Run { name: "add", kind: Kind::Steps, before: &[INSTALL], then: nothing, command: ADD[0] };

pub const REMOVAL: Run = Run {
    name: "remove",
    kind: Kind::Steps,
    before: &[INSTALL, ADD[0], ADD[1]],
    then: nothing,
    command: "remove hello--2 extra--1",
};

pub const COLLECTION: Run = Run {
    name: "gc",
    kind: Kind::Steps,
    before: &[INSTALL, "role add slave", UPGRADE, "role remove slave"],
    then: nothing,
    command: "gc --keep 0",
};

pub const REPAIR: Run = Run {
    name: "repair",
    kind: Kind::Steps,
    before: &[INSTALL],
    then: damage,
    command: "repair --from WARES/serve",
};

fn damage(root: &Path) {
    let home = root.join("opt/mesosphere");
    let hello = home.join("packages/hello--1");
    put(&hello.join("bin/hello"), "something else\n", 0o755);
    put(&hello.join("share/too-much"), "", 0o644);
    put(&hello.join("share/3"), "", 0o600);
    fs::remove_dir_all(hello.join("include")).unwrap();
    fs::remove_file(home.join("current/bin/tool")).unwrap();
    fs::remove_file(home.join("current/environment")).unwrap();
    fs::remove_file(home.join("lib")).unwrap();
    fs::remove_dir_all(home.join("packages/tool--1/lib")).unwrap();
}

pub const REMOVAL_OF_ALL: Run = Run {
    name: "uninstall",
    kind: Kind::End,
    before: &[INSTALL, UPGRADE],
    then: nothing,
    command: "uninstall --yes",
};
