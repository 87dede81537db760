//! The units that an image brings, as systemd's own checker sees them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::mount::Mount;
use crate::support::{is_root, output, scratch, text};
use crate::{DEBIAN, RHEL, UBUNTU};

/// Where hosts have units of their own.
const UNITS: &str = "etc/systemd/system";

#[test]
fn as_root_systemd_analyze_accepts_every_unit_that_an_image_brings() {
    if !is_root("mounting an image to look at its units") {
        return;
    }
    let read_only = ["--read-only", "root", "--read-only-format", "ext4", "--role", DEBIAN.role];
    for (family, more) in [(&DEBIAN, &read_only[..]), (&UBUNTU, &[]), (&RHEL, &[])] {
        let scratch = scratch();
        let baked = family.bake(scratch.path(), more);
        let mount = Mount::part(&baked.raw(), baked.partition("root"));
        let (succeeds, said) = verify(&mount.path());
        assert!(succeeds && said.is_empty(), "{}: {said:?}", family.profile);

        // It does look, and into the image.
        let unit = mount.path().join(UNITS).join("dcos-setup.service");
        let broken = fs::read_to_string(&unit).unwrap().replace("ExecStart=", "ExecStart=/nowhere");
        fs::write(&unit, broken).unwrap();
        let (succeeds, said) = verify(&mount.path());
        assert!(!succeeds && said.concat().contains("/nowhere"), "{}: {said:?}", family.profile);
        mount.unmount();
    }
}

/// Whether it accepts all units that are no links, and what it says of them. It also tells of others, such as links of
/// Debian's dracut to units that only an initrd has.
fn verify(root: &Path) -> (bool, Vec<String>) {
    let entries = fs::read_dir(root.join(UNITS)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut units: Vec<_> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    units.sort();
    assert!(units.len() >= 4, "{units:?}");
    let root = format!("--root={}", root.display());
    let verified = output(Command::new("systemd-analyze").args(["verify", "--man=no", &root]).args(&units));
    let is_ours = |line: &&str| units.iter().any(|unit| line.contains(unit.as_str()));
    let said = text(&verified.stderr);
    (verified.status.success(), said.lines().filter(is_ours).map(str::to_owned).collect())
}
