//! The labels of a baked image, all of them, as the policy's own tools see them.

use std::path::Path;
use std::process::Command;

use crate::RHEL;
use crate::support::mount::Mount;
use crate::support::{is_root, run, scratch};

#[test]
fn as_root_setfiles_finds_nothing_to_relabel_in_rhel_s_image() {
    if !is_root("mounting an image to look at its labels") {
        return;
    }
    let scratch = scratch();
    let baked = RHEL.bake(scratch.path(), &[]);
    let mount = Mount::part(&baked.raw(), baked.partition("root"));
    let root = mount.path();
    assert_eq!(relabelled(&root), "");

    // It does look at labels, and at the product's too.
    let unit = root.join("opt/mesosphere");
    run(Command::new("setfattr")
        .args(["-n", "security.selinux", "-v", "system_u:object_r:tmp_t:s0"])
        .arg(&unit));
    assert!(relabelled(&root).contains("/opt/mesosphere from system_u:object_r:tmp_t:s0"));
    mount.unmount();
}

/// What setfiles would change.
fn relabelled(root: &Path) -> String {
    let mut setfiles = Command::new("setfiles");
    setfiles.args(["-n", "-v", "-F", "-r"]).arg(root);
    run(setfiles.arg(root.join("etc/selinux/default/contexts/files/file_contexts")).arg(root))
}
