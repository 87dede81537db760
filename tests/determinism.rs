//! The same input gives the same disk, whatever of the surroundings changes: compared by the disk digest, which
//! covers every byte.
//!
//! On a part of a real root file system, with a kernel and all hard cases, that takes a second; tests/families/same.rs
//! has whole images of every family.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bake_disk::BlockDigests;
use bake_disk::container;
use support::{
    Baked, bake, bake_image, extract, is_root, members, output, project, rootfs, run, scratch, wrappings,
};
use tempfile::TempDir;

/// A part of a real root file system: everything that booting takes, and the hard cases.
struct Small {
    scratch: TempDir,
    members: Vec<members::Member>,
}

impl Small {
    fn new() -> Self {
        let bulky: [&[u8]; 8] = [
            b"./usr/lib/x86_64-linux-gnu/",
            b"./usr/lib/python3",
            b"./usr/lib/udev/hwdb",
            b"./usr/share/",
            b"./usr/bin/perl",
            b"./usr/bin/python3",
            b"./var/lib/dpkg/info/",
            b"./var/cache/",
        ];
        let is_module = |path: &[u8]| path.starts_with(b"./usr/lib/modules/") && path.ends_with(b".ko");
        let keep = |path: &[u8]| !is_module(path) && !bulky.iter().any(|prefix| path.starts_with(prefix));
        let members = members::read(&rootfs("debian-12"), keep);
        assert!(members.len() > 1000, "only {} members are left", members.len());
        let small = Self { scratch: scratch(), members };
        members::write(&small.members, &small.tar());
        small
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn tar(&self) -> PathBuf {
        self.path("rootfs.tar")
    }

    /// Bakes another form of it.
    fn bake(&self, rootfs: &Path, arguments: &[&str]) -> Baked {
        let out = tempfile::tempdir_in(self.scratch.path()).unwrap();
        bake_image(rootfs, out.path(), arguments)
    }

    /// Bakes the plain tar by a command that runs `bake`, into a directory that exists.
    fn bake_by(&self, command: &mut Command, out: &Path) -> Baked {
        command.args(["image", "--quiet", "--no-cache", "--rootfs"]).arg(self.tar());
        run(command.arg("--out").arg(out));
        Baked::read(out)
    }

    /// The digest of the plain tar, baked as plainly as possible.
    fn digest(&self) -> String {
        self.bake(&self.tar(), &[]).digest().to_owned()
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    for threads in ["1", "2", "3", "16"] {
        assert_eq!(small.bake(&small.tar(), &["--threads", threads]).digest(), digest, "{threads} threads");
    }
}

#[test]
fn time_zone_locale_and_the_rest_of_the_environment_do_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    let environments: [&[(&str, &str)]; 4] = [
        &[("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("LANG", "ar_EG.UTF-8")],
        &[("TZ", "America/St_Johns"), ("LC_ALL", "C"), ("HOME", "/nonexistent"), ("USER", "someone")],
        &[("HOSTNAME", "elsewhere"), ("TMPDIR", "/nonexistent"), ("COLUMNS", "7"), ("TERM", "dumb")],
        &[
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("RAYON_NUM_THREADS", "5"),
            ("E2FSPROGS_FAKE_TIME", "1"),
        ],
    ];
    for environment in environments {
        let image = small.bake_by(bake().envs(environment.iter().copied()), &small.path("out"));
        assert_eq!(image.digest(), digest, "{environment:?}");
    }
}

#[test]
fn the_umask_does_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    for umask in ["000", "022", "027", "077"] {
        let out = small.path(umask);
        fs::create_dir(&out).unwrap();
        let script = format!("umask {umask} && exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(bake().get_program());
        assert_eq!(small.bake_by(&mut command, &out).digest(), digest, "umask {umask}");
    }
}

#[test]
fn working_and_output_directory_do_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    let elsewhere = small.path("else where/with \u{e4}\u{301}");
    fs::create_dir_all(&elsewhere).unwrap();
    let relative = |from: &Path, rootfs: &str, out: &str| {
        let mut command = bake();
        command.current_dir(from).args(["image", "--quiet", "--no-cache", "--rootfs", rootfs, "--out", out]);
        run(&mut command);
        Baked::read(&from.join(out)).digest().to_owned()
    };
    assert_eq!(relative(small.scratch.path(), "rootfs.tar", "."), digest);
    assert_eq!(relative(&elsewhere, "../../rootfs.tar", "a/b/c"), digest);
    fs::rename(small.tar(), small.path("another-name.bin")).unwrap();
    assert_eq!(relative(&elsewhere, "../../another-name.bin", "."), digest);
}

#[test]
fn as_root_the_user_does_not_matter() {
    if !is_root("baking as another user") {
        return;
    }
    let small = Small::new();
    let digest = small.digest();
    // Others may pass through the scratch directory, and own what is in it.
    fs::set_permissions(small.scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let out = small.path("nobodys");
    fs::create_dir(&out).unwrap();
    chown(&out, Some(65534), Some(65534)).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]);
    assert_eq!(small.bake_by(command.arg(bake().get_program()), &out).digest(), digest);
}

#[test]
fn the_file_system_of_the_host_does_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let of_type = run(Command::new("stat").args(["--file-system", "--format=%T"]).arg(memory.path()));
    assert_eq!(of_type.trim(), "tmpfs");
    bakes_alike_on(memory.path(), &small, &digest);
}

#[test]
fn as_root_other_file_systems_of_the_host_do_not_matter() {
    if !is_root("baking on XFS and btrfs") {
        return;
    }
    let small = Small::new();
    let digest = small.digest();
    for make in ["mkfs.xfs", "mkfs.btrfs", "mkfs.ext4"] {
        let file = small.path("file-system");
        fs::File::create(&file).unwrap().set_len(8 << 30).unwrap();
        run(Command::new(make).arg("-q").arg(&file));
        let mount = support::mount::Mount::whole(&file);
        bakes_alike_on(&mount.path(), &small, &digest);
        mount.unmount();
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn the_compression_of_the_input_does_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    for (program, level, name) in [
        ("gzip", "-1", "rootfs.gz"),
        ("xz", "-0", "rootfs.xz"),
        ("zstd", "-1", "rootfs.zst"),
        ("bzip2", "-1", "rootfs.bz2"),
    ] {
        let whole = small.path(name);
        compress(program, level, &small.tar(), None, &whole);
        assert_eq!(small.bake(&whole, &[]).digest(), digest, "{name}");
        // Two streams in one file: cut where no header is.
        let parts = small.path(&format!("{name}.parts"));
        compress(program, level, &small.tar(), Some(12_345_678), &parts);
        assert_eq!(small.bake(&parts, &[]).digest(), digest, "{name} of two streams");
        fs::remove_file(&whole).unwrap();
        fs::remove_file(&parts).unwrap();
    }
}

#[test]
fn the_order_of_members_does_not_matter() {
    let mut small = Small::new();
    let digest = small.digest();
    let position =
        |small: &Small, name: &[u8]| small.members.iter().position(|member| member.path == name).unwrap();
    let (target, link) = (b"./srv/hard-cases/link-1".as_slice(), b"./srv/hard-cases/link-2".as_slice());
    let shuffled = small.path("shuffled.tar");
    members::shuffle(&mut small.members);
    members::write(&small.members, &shuffled);
    assert_eq!(small.bake(&shuffled, &[]).digest(), digest, "shuffled");
    // The reverse has every hard link before its target and every directory behind what it holds, where the
    // tar itself, which is sorted, has them the other way round.
    small.members.sort_by(|one, other| other.path.cmp(&one.path));
    assert!(position(&small, link) < position(&small, target));
    members::write(&small.members, &shuffled);
    assert_eq!(small.bake(&shuffled, &[]).digest(), digest, "reversed");
}

#[test]
fn oci_layouts_and_docker_archives_bake_as_the_tar_does() {
    let small = Small::new();
    let digest = small.digest();
    let (plain, zipped) =
        ("application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip");
    // The same tree in two layers, of which the upper one brings everything below /etc.
    let is_upper = |member: &&members::Member| member.path.starts_with(b"./etc/");
    let (lower, upper) = (small.path("lower.tar"), small.path("upper.tar"));
    members::write(small.members.iter().filter(|member| !is_upper(member)), &lower);
    members::write(small.members.iter().filter(is_upper), &upper);
    let compressed = small.path("upper.tar.gz");
    compress("gzip", "-1", &upper, None, &compressed);

    for (name, layers) in
        [("one", vec![(small.tar(), plain)]), ("two", vec![(lower.clone(), plain), (compressed, zipped)])]
    {
        let (layout, archive) = (small.path(name), small.path(&format!("{name}.oci.tar")));
        wrappings::oci_layout(&layers, "amd64", &layout);
        assert_eq!(small.bake(&layout, &[]).digest(), digest, "OCI layout, layers: {name}");
        wrappings::pack(&layout, &archive);
        assert_eq!(small.bake(&archive, &[]).digest(), digest, "OCI archive, layers: {name}");
        fs::remove_dir_all(layout).unwrap();
    }
    for (name, layers) in [("one", vec![small.tar()]), ("two", vec![lower, upper])] {
        let archive = small.path(&format!("{name}.docker.tar"));
        wrappings::docker_archive(&layers, "amd64", &small.path(&format!("docker-{name}")), &archive);
        assert_eq!(small.bake(&archive, &[]).digest(), digest, "docker archive, layers: {name}");
    }
}

#[test]
fn as_root_a_directory_bakes_as_the_tar_does() {
    if !is_root("baking from an extracted directory") {
        return;
    }
    let small = Small::new();
    let directory = small.path("directory");
    extract(&small.tar(), &directory);
    assert_eq!(small.bake(&directory, &[]).digest(), small.digest());
}

#[test]
fn gnu_and_pax_tars_of_one_directory_bake_alike() {
    let small = Small::new();
    let directory = small.path("directory");
    extract(&small.tar(), &directory);
    let digests = ["gnu", "pax"].map(|format| {
        let tar = small.path(format);
        let mut command = Command::new("tar");
        // Whole seconds and no attributes: the GNU format has no place for more.
        command.args(["--create", "--sparse", "--numeric-owner", "--mtime=@1600000000", "--format", format]);
        run(command.arg("--directory").arg(&directory).arg("--file").arg(&tar).arg("."));
        small.bake(&tar, &[]).digest().to_owned()
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn the_cache_does_not_matter() {
    let small = Small::new();
    let digest = small.digest();
    let (compressed, cache) = (small.path("rootfs.zst"), small.path("cache"));
    compress("zstd", "-1", &small.tar(), None, &compressed);
    for rootfs in [&compressed, &small.tar()] {
        for (state, paranoid) in [("cold", false), ("warm", false), ("warm", true)] {
            let out = tempfile::tempdir_in(small.scratch.path()).unwrap();
            let mut command = bake();
            command.args(["image", "--quiet", "--rootfs"]).arg(rootfs).arg("--cache").arg(&cache);
            command.args(paranoid.then_some("--paranoid"));
            run(command.arg("--out").arg(out.path()));
            let shown = rootfs.display();
            assert_eq!(
                Baked::read(out.path()).digest(),
                digest,
                "{shown}, {state} cache, paranoid: {paranoid}"
            );
        }
    }
    assert!(fs::read_dir(&cache).unwrap().next().is_some(), "nothing was cached");
}

#[test]
fn every_container_holds_the_same_disk() {
    let small = Small::new();
    let out = small.path("out");
    let image = bake_image(&small.tar(), &out, &["--format", "raw,qcow2"]);
    for artifact in image.manifest["artifacts"].as_array().unwrap() {
        let file = fs::File::open(out.join(artifact["name"].as_str().unwrap())).unwrap();
        let opened = container::open(file).unwrap();
        assert_eq!(opened.format.name(), artifact["format"]);
        let blocks = BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap();
        assert_eq!(blocks.disk_digest().to_string(), image.digest(), "{}", artifact["format"]);
    }
    assert_eq!(small.bake(&small.tar(), &["--format", "qcow2"]).digest(), image.digest());
}

/// All of them, and the tree: the files, not only the disk in them.
#[test]
fn every_container_is_the_same_file_from_everyone() {
    let small = Small::new();
    let formats: Vec<_> =
        container::Format::all().iter().map(|format| format.name()).chain(["tar"]).collect();
    let formats = formats.join(",");
    let arguments = ["--sum-raw", "--format", &formats];
    let digests = |image: &Baked| -> Vec<String> {
        let artifacts = image.manifest["artifacts"].as_array().unwrap().iter();
        artifacts.map(|file| format!("{} {}", file["name"], file["sha256"].as_str().unwrap())).collect()
    };
    let expected = digests(&small.bake(&small.tar(), &[&arguments[..], &["--threads", "1"]].concat()));
    assert_eq!(expected.len(), container::Format::all().len() + 1);

    let out = small.path("else where");
    fs::create_dir(&out).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077 && exec \"$@\"", "sh"]);
    if is_root("writing containers as another user") {
        fs::set_permissions(small.scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        chown(&out, Some(65534), Some(65534)).unwrap();
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(bake().get_program()).env("TZ", "Asia/Kathmandu").env("LC_ALL", "tr_TR.UTF-8");
    // Another layout of the input too: no container may depend on where the content came from.
    let compressed = small.path("rootfs.zst");
    compress("zstd", "-1", &small.tar(), None, &compressed);
    command.args(["image", "--quiet", "--no-cache", "--threads", "3", "--rootfs"]).arg(compressed);
    run(command.args(arguments).arg("--out").arg(&out));
    assert_eq!(digests(&Baked::read(&out)), expected);
}

/// Two builds of the tool itself, from sources in different directories. Compiles everything once more, so only
/// with `BAKE_TEST_FULL=1` (`ci/test --full`).
#[test]
fn where_the_tool_was_built_does_not_matter() {
    if std::env::var_os("BAKE_TEST_FULL").is_none() {
        eprintln!("SKIPPED without BAKE_TEST_FULL=1: another build of the tool");
        return;
    }
    let small = Small::new();
    let digest = small.digest();
    let sources = small.path("another/place for the sources");
    fs::create_dir_all(&sources).unwrap();
    for name in ["Cargo.toml", "Cargo.lock", "bake", "layers", "profiles", "tests"] {
        run(Command::new("cp").arg("-r").arg(project(name)).arg(&sources));
    }
    let mut cargo = Command::new(env!("CARGO"));
    // Another profile on top: optimisation must not matter either.
    cargo.current_dir(&sources).args(["build", "--release", "--package=bake", "--target-dir=built here"]);
    run(cargo.env_remove("CARGO_TARGET_DIR"));
    let mut other = Command::new(sources.join("built here/release/bake"));
    assert_eq!(small.bake_by(&mut other, &small.path("out")).digest(), digest);
}

/// Bakes with input and output on another file system.
fn bakes_alike_on(directory: &Path, small: &Small, digest: &str) {
    let rootfs = directory.join("rootfs.tar");
    fs::copy(small.tar(), &rootfs).unwrap();
    assert_eq!(bake_image(&rootfs, &directory.join("out"), &[]).digest(), digest, "{}", directory.display());
    if is_root("baking from a directory on another file system") {
        let extracted = directory.join("extracted");
        extract(&rootfs, &extracted);
        let image = bake_image(&extracted, &directory.join("again"), &[]);
        assert_eq!(image.digest(), digest, "directory on {}", directory.display());
    }
}

/// Compresses a file; with `cut`, as two streams of which the second begins there.
fn compress(program: &str, level: &str, from: &Path, cut: Option<usize>, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let mut target = fs::File::create(to).unwrap();
    let (head, tail) = bytes.split_at(cut.unwrap_or(bytes.len()));
    for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
        let file = to.with_extension("part");
        fs::write(&file, part).unwrap();
        let input = Stdio::from(fs::File::open(&file).unwrap());
        let stream = output(Command::new(program).args([level, "-c"]).stdin(input)).stdout;
        assert!(!stream.is_empty(), "{program} failed");
        std::io::Write::write_all(&mut target, &stream).unwrap();
        fs::remove_file(&file).unwrap();
    }
}
