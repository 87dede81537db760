use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

#[test]
fn needs_root_a_directory_is_given_with_what_it_holds_and_through_no_link() {
    assert!(place::is_superuser(), "only root gives files away");
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    fs::create_dir_all(at("state/a/b")).unwrap();
    fs::create_dir_all(at("outside/below")).unwrap();
    fs::write(at("state/a/b/file"), "").unwrap();
    fs::write(at("outside/file"), "").unwrap();
    symlink("../outside", at("state/link")).unwrap();
    symlink("../../outside/file", at("state/a/file")).unwrap();
    std::os::unix::fs::chown(at("state/a/b/file"), Some(7), Some(8)).unwrap();
    let handle = place::enter(rustix::fs::CWD, at("state").as_os_str().as_bytes()).unwrap();
    let device = rustix::fs::fstat(&handle).unwrap().st_dev;
    give(&handle, device, 4321, 0).unwrap();
    let owner = |path: &str| {
        let stat = fs::symlink_metadata(at(path)).unwrap();
        (stat.uid(), stat.gid())
    };
    for path in ["state", "state/a", "state/a/b", "state/link", "state/a/file"] {
        assert_eq!(owner(path), (4321, 0), "{path}");
    }
    // The group stays.
    assert_eq!(owner("state/a/b/file"), (4321, 8));
    for path in ["outside", "outside/below", "outside/file"] {
        assert_eq!(owner(path), (0, 0), "{path}");
    }
}

#[test]
fn no_user_makes_this_program_run_out_of_handles() {
    let directory = tempfile::tempdir().unwrap();
    let mut path = directory.path().to_owned();
    for _ in 0..DEPTH + 5 {
        path.push("d");
    }
    fs::create_dir_all(path).unwrap();
    let handle = place::enter(rustix::fs::CWD, directory.path().as_os_str().as_bytes()).unwrap();
    let device = rustix::fs::fstat(&handle).unwrap().st_dev;
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(give(&handle, device, uid, 0), Err(Errno::NAMETOOLONG));
}
