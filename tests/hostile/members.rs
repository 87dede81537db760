//! Tars whose members lie.

use std::io::Write;
use std::process::Command;

use crate::support::ground::{Ground, Numbers, failed_well};
use crate::support::tar::{Header, Tar};
use crate::support::{Baked, full, output, run, text, tiny};

/// Bakes the tiny root file system with more members, which must fail, and the message must name the file and
/// say all of `expected`.
fn refused(what: &str, more: Tar, expected: &[&str]) {
    refused_bytes(what, &tiny::rootfs().and(&more).finish(), expected);
}

fn refused_bytes(what: &str, tar: &[u8], expected: &[&str]) {
    let ground = Ground::new(&[("rootfs.tar", tar)]);
    let said = ground.refused(&["--rootfs", "rootfs.tar"]);
    for text in ["rootfs.tar"].iter().chain(expected) {
        assert!(said.contains(text), "{what}: `{text}` is not in: {said}");
    }
}

/// Bakes the tiny root file system with more members, which must pass, and gives the disk digest.
fn digest(what: &str, more: Tar) -> String {
    let ground = Ground::new(&[("rootfs.tar", &tiny::rootfs().and(&more).finish())]);
    let output = output(&mut ground.command(&["--quiet", "--rootfs", "rootfs.tar"]));
    assert!(output.status.success(), "{what}: {}", text(&output.stderr));
    assert!(ground.has_whole_image(), "{what}");
    ground.untouched_but(what, &["out"]);
    Baked::read(&ground.path("out")).digest().to_owned()
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn names_that_lead_out_of_the_tree_are_refused() {
    for name in ["../evil", "..", "etc/../../evil", "etc/../evil", "./../evil"] {
        refused(name, tar().file(name, b"x"), &[name, "`..`", "stays inside"]);
        refused(name, tar().directory(name), &[name, "`..`"]);
        refused(name, tar().records(&[("path", name)]).file("fine", b"x"), &[name, "`..`"]);
    }
    for name in ["/etc/evil", "//evil", "/"] {
        refused(name, tar().file(name, b"x"), &[name, "absolute", "expected a path relative"]);
    }
}

#[test]
fn names_that_no_file_system_has_are_refused() {
    let long = "n".repeat(256);
    refused("long name", tar().records(&[("path", &long)]).file("x", b""), &["nnn", "255 bytes"]);
    let deep = "d/".repeat(2049);
    refused("long path", tar().records(&[("path", &deep)]).file("x", b""), &["d/d/d", "4095"]);
    refused("NUL", tar().records(&[("path", "a\0b")]).file("x", b""), &["NUL"]);
    let target = "t".repeat(4096);
    let link = tar().records(&[("linkpath", &target)]).symlink("long-link", "x");
    let ground = Ground::new(&[("rootfs.tar", &tiny::rootfs().and(&link).finish())]);
    let said = ground.refused(&["--rootfs", "rootfs.tar"]);
    assert!(said.contains("/long-link") && said.contains("4095"), "{said}");
}

#[test]
fn members_behind_links_out_of_the_tree_are_refused() {
    for target in ["..", "../..", "../../../../../../tmp", "etc/../../tmp"] {
        let more = tar().symlink("way", target).file("way/evil", b"x");
        refused(target, more, &["way/evil", "leads out of the tree"]);
    }
    let more = tar().symlink("a", "b/../../..").directory("b").file("a/evil", b"x");
    refused("through a directory", more, &["a/evil", "leads out of the tree"]);
    let more = tar().symlink("way", "nowhere").file("way/evil", b"x");
    refused("to nothing", more, &["way/evil", "leads nowhere"]);
}

#[test]
fn absolute_links_mean_the_image_and_never_the_machine_that_bakes() {
    digest("absolute", tar().symlink("way", "/var/tmp").file("way/inside", b"x"));
    let target = std::env::temp_dir().join("bake-evil");
    let more = tar().symlink("way", target.to_str().unwrap()).file("way/evil", b"x");
    refused("to this machine", more, &["way/evil", "leads nowhere"]);
    assert!(!target.exists());
}

#[test]
fn loops_of_links_are_refused_only_where_something_lies_behind_them() {
    let links = || tar().symlink("a", "b").symlink("b", "c").symlink("c", "a");
    digest("a loop alone", links());
    refused("a loop", links().file("a/evil", b"x"), &["a/evil", "loop"]);
    refused("itself", tar().symlink("self", "self").file("self/evil", b"x"), &["self/evil", "loop"]);
    refused("through itself", tar().symlink("s", "s/s").file("s/evil", b"x"), &["s/evil", "loop"]);
}

#[test]
fn members_below_what_is_no_directory_are_refused() {
    refused("below a file", tar().file("etc/passwd/x", b""), &["etc/passwd/x", "no directory"]);
    let more = tar().member(Header::new("pipe", b'6', 0), b"").file("pipe/x", b"");
    refused("below a pipe", more, &["pipe/x", "no directory"]);
}

#[test]
fn hard_links_to_nothing_to_themselves_and_to_directories_are_refused() {
    for (target, expected) in [
        ("nothing", "does not exist"),
        ("link", "does not exist"),
        ("etc", "directories have one name"),
        ("./", "directories have one name"),
        ("../etc/passwd", "`..`"),
        ("/etc/passwd", "absolute"),
    ] {
        refused(target, tar().hard_link("link", target), &["link", target.trim_end_matches("./"), expected]);
    }
    let ring = tar().hard_link("one", "two").hard_link("two", "one");
    refused("ring", ring, &["one", "two", "does not exist"]);
    let more = tar().symlink("way", "../..").hard_link("link", "way/etc/passwd");
    refused("through a link out of the tree", more, &["link", "way/etc/passwd", "does not exist"]);
    let more = tar().hard_link("etc/passwd", "etc/motd");
    refused("over a file", more, &["etc/passwd", "given twice"]);
}

#[test]
fn a_path_given_twice_with_a_difference_is_refused() {
    let file = || tar().file("twice", b"one");
    for (what, second) in [
        ("content", tar().file("twice", b"two")),
        ("size", tar().file("twice", b"three")),
        ("mode", tar().member(Header::new("twice", b'0', 3).mode(0o600), b"one")),
        ("type", tar().directory("twice")),
        ("type", tar().symlink("twice", "one")),
        ("type", tar().hard_link("twice", "etc/passwd")),
        ("attributes", tar().records(&[("SCHILY.xattr.user.a", "1")]).file("twice", b"one")),
        ("owner", tar().records(&[("uid", "7")]).file("twice", b"one")),
        ("time", tar().records(&[("mtime", "7.5")]).file("twice", b"one")),
    ] {
        refused(what, file().and(&second), &["twice", "given twice"]);
        refused(what, second.and(&file()), &["twice", "given twice"]);
    }
    refused("the root", tar().member(Header::new("./", b'5', 0).mode(0o700), b""), &["given twice", "modes"]);
}

#[test]
fn the_same_member_twice_and_repeated_directories_change_nothing() {
    let once = || {
        tar().directory("d").file("d/twice", b"one").symlink("d/link", "twice").hard_link("d/hard", "d/twice")
    };
    let first = digest("once", once());
    assert_eq!(first, digest("twice", once().and(&once())));
    assert_eq!(
        first,
        digest("other spellings", once().directory("./d/").file("./d//twice", b"one").directory("."))
    );
}

#[test]
fn every_problem_of_a_tar_is_told_at_once() {
    let more =
        tar().hard_link("one", "nothing").file("etc/passwd/two", b"").symlink("l", "l").file("l/three", b"");
    refused("several", more, &["one", "etc/passwd/two", "l/three"]);
    let more = tar().file("../one", b"").file("/two", b"");
    refused("several names", more, &["../one", "/two", "2 members"]);
    let many = (0..1000).fold(tar(), |tar, i| tar.hard_link(&format!("link-{i}"), "nothing"));
    refused("very many", many, &["link-0", "and 980 more"]);
}

#[test]
fn sizes_near_two_to_the_63_are_refused_in_every_notation() {
    for size in [1 << 40, i64::MAX as u64 - 1, i64::MAX as u64, 1 << 63, u64::MAX - 511, u64::MAX] {
        let header = || Header::new("huge", b'0', size);
        refused("base 256", tar().member(header(), b""), &["huge", &size.to_string()]);
        let more = tar().records(&[("size", &size.to_string())]).file("huge", b"");
        refused("pax", more, &["huge", &size.to_string()]);
        let mut described = Header::new("describes", b'x', size);
        refused("of an extended header", tar().member(described.clone(), b""), &["describes", "at most"]);
        described.0[156] = b'L';
        refused("of a long name", tar().member(described, b""), &["describes", "at most"]);
    }
    let sized = |bytes: &[u8]| {
        let mut header = Header::new("huge", b'0', 0);
        header.field(124, bytes);
        tar().member(header, b"")
    };
    refused("negative", sized(&[0xff; 12]), &["huge", "size"]);
    refused("95 bits", sized(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), &["huge", "size"]);
    refused("largest octal", sized(b"777777777777"), &["huge", "68719476735"]);
    refused("no digits", sized(b"twelve bytes"), &["huge", "size"]);
    for size in ["-1", "18446744073709551616", "1e9", "0x10", " 1", "1 "] {
        let more = tar().records(&[("size", size)]).file("huge", b"");
        refused(size, more, &["size", size, "expected a decimal number"]);
    }
}

#[test]
fn sparse_maps_that_cannot_be_are_refused() {
    let sparse = |real: &str, map: &str| {
        let records = [("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.name", "sparse")];
        let records = [&records[..], &[("GNU.sparse.size", real), ("GNU.sparse.map", map)]].concat();
        tar().records(&records).file("GNUSparseFile.0/sparse", &[b'x'; 512])
    };
    let digest_of = |map| digest("a map that can be", sparse("100000000", map));
    assert_eq!(digest_of("4096,512"), digest_of("4096,512,100000000,0"), "a map may say where the file ends");
    for (what, real, map) in [
        ("past the end", "1000", "4096,512"),
        ("overlapping", "100000", "4096,512,4100,10"),
        ("backwards", "100000", "8192,256,4096,256"),
        ("more than there is", "100000", "4096,1024"),
        ("less than there is", "100000", "4096,100"),
        ("overflowing", "9223372036854775807", "9223372036854775806,512"),
        ("overflowing 64 bits", "18446744073709551615", "18446744073709551615,512"),
        ("odd", "100000", "4096"),
        ("no numbers", "100000", "a,b"),
    ] {
        refused(what, sparse(real, map), &["sparse"]);
    }
}

#[test]
fn a_hole_of_eight_exbibytes_is_refused_by_its_name() {
    let records = [
        ("GNU.sparse.major", "0"),
        ("GNU.sparse.minor", "1"),
        ("GNU.sparse.name", "sparse"),
        ("GNU.sparse.size", "9223372036854775807"),
        ("GNU.sparse.map", "0,512"),
    ];
    let more = tar().records(&records).file("GNUSparseFile.0/sparse", &[b'x'; 512]);
    let ground = Ground::new(&[("rootfs.tar", &tiny::rootfs().and(&more).finish())]);
    let said = ground.refused(&["--rootfs", "rootfs.tar"]);
    assert!(said.contains("/sparse"), "{said}");
}

#[test]
fn a_tar_that_is_cut_anywhere_is_refused() {
    let whole = tiny::rootfs().finish();
    let end = whole.len();
    for cut in [1, 100, 511, 512, 513, 700, end / 3, end / 2 + 17, end - 1536, end - 1024, end - 512, end - 1]
    {
        refused_bytes(&format!("cut at {cut} of {end}"), &whole[..cut], &[]);
    }
    refused_bytes("nothing", b"", &["empty", "expected a tar"]);
    refused_bytes("no tar", &[b'x'; 5000], &["no tar", "expected a tar"]);
    refused_bytes("something behind", &[&whole[..], &[1; 512]].concat(), &["follows the end"]);
}

#[test]
fn every_part_that_booting_needs_is_missed_before_anything_is_written() {
    for (part, expected) in tiny::PARTS.into_iter().zip([
        &["/etc/os-release"][..],
        &["no kernel", "/boot/vmlinuz-VERSION", "linux-image-amd64"],
        &["no modules", tiny::KERNEL, "usr/lib/modules"],
        &["no initrd", "update-initramfs", "the driver `ext4`"],
        &["systemd-bootx64.efi", "install `systemd-boot`"],
    ]) {
        let ground = Ground::new(&[("rootfs.tar", &tiny::without(part).finish())]);
        let said = ground.refused(&["--rootfs", "rootfs.tar"]);
        for text in expected {
            assert!(said.contains(text), "{part}: `{text}` is not in: {said}");
        }
    }
    let ground = Ground::new(&[("rootfs.tar", &tiny::rootfs().finish())]);
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--loader", "unified"]);
    assert!(said.contains("linuxx64.efi.stub") && said.contains("install `systemd-boot-efi`"), "{said}");
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--arch", "arm64"]);
    assert!(said.contains(tiny::KERNEL) && said.contains("x86-64") && said.contains("arm64"), "{said}");
    for driver in ["nvme", "virtio_blk"] {
        let ground = Ground::new(&[("rootfs.tar", &tiny::without_driver(driver).finish())]);
        let said = ground.refused(&["--rootfs", "rootfs.tar"]);
        let module = format!("kernel/{driver}.ko` is no kernel module");
        assert!(said.contains(&module), "an initrd with it is made of the module: {said}");
    }
}

#[test]
fn overlays_and_products_are_read_with_the_same_care() {
    let rootfs = tiny::rootfs().finish();
    let evil = tar().file("../evil", b"x").finish();
    let replaces = tar().file("etc", b"x").finish();
    let files = [("rootfs.tar", &rootfs[..]), ("evil.tar", &evil), ("replaces.tar", &replaces)];
    let ground = Ground::new(&files);
    for kind in ["--overlay", "--product"] {
        let said = ground.refused(&["--rootfs", "rootfs.tar", kind, "evil.tar"]);
        assert!(said.contains("evil.tar") && said.contains("../evil"), "{said}");
    }
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--overlay", "replaces.tar"]);
    assert!(said.contains("replaces.tar") && said.contains("`/etc` is a directory"), "{said}");
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--product", "rootfs.tar"]);
    assert!(said.contains("`active`") && said.contains("bootstrap tarball"), "{said}");
    let said = ground.refused(&["--rootfs", "rootfs.tar", "--overlay", "none.tar"]);
    assert!(said.contains("none.tar"), "{said}");
}

/// Bytes of headers are changed one at a time, the sum being mended or not. Whatever that makes of the tar, it
/// is refused well or baked whole.
#[test]
fn no_change_of_a_header_makes_it_panic_or_leave_something() {
    let whole = tiny::rootfs()
        .records(&[("mtime", "1500000000.5"), ("SCHILY.xattr.user.a", "value"), ("path", "etc/long")])
        .file("etc/short", b"content")
        .symlink("etc/link", "long")
        .hard_link("etc/hard", "etc/long")
        .member(Header::new("etc/device", b'3', 0), b"")
        .finish();
    let headers: Vec<usize> =
        (0..whole.len()).step_by(512).filter(|at| whole[*at..].get(257..262) == Some(b"ustar")).collect();
    let mut numbers = Numbers(2);
    let (mut refused, mut baked) = (0, 0);
    for _ in 0..if full() { 5000 } else { 150 } {
        let mut tar = whole.clone();
        let header = headers[numbers.below(headers.len() as u64) as usize];
        let at = header + numbers.below(512) as usize;
        tar[at] ^= 1 << numbers.below(8);
        if numbers.below(4) > 0 {
            let mended = Header(tar[header..header + 512].try_into().unwrap()).sealed();
            tar[header..header + 512].copy_from_slice(&mended);
        }
        let what = format!("byte {at} is {:#x} instead of {:#x}", tar[at], whole[at]);
        let ground = Ground::new(&[("rootfs.tar", &tar)]);
        let output = output(&mut ground.command(&["--quiet", "--rootfs", "rootfs.tar"]));
        if output.status.success() {
            assert!(ground.has_whole_image(), "{what}");
            ground.untouched_but(&what, &["out"]);
            baked += 1;
        } else {
            failed_well(&output, &what);
            ground.is_untouched(&what);
            refused += 1;
        }
    }
    assert!(refused > 0 && baked > 0, "{refused} refused, {baked} baked: both should be seen");
}

/// Bytes of memory that a file without content may cost, all told.
const BYTES_PER_FILE: u64 = 900;

#[test]
fn a_million_empty_files_are_baked_in_memory_that_their_number_bounds() {
    let count: u64 = 1_000_000;
    let ground = Ground::new(&[]);
    let mut tar = std::io::BufWriter::new(std::fs::File::create(ground.path("rootfs.tar")).unwrap());
    tar.write_all(&tiny::rootfs().0).unwrap();
    for directory in 0..1000 {
        let mut some = tar_of_empty_files(directory, count / 1000);
        tar.write_all(&std::mem::take(&mut some.0)).unwrap();
    }
    tar.write_all(&[0; 1024]).unwrap();
    drop(tar.into_inner().unwrap());
    let mut command = ground.through(
        &["/usr/bin/time", "--quiet", "--format", "%M %e", "--output", "measured"],
        &["--quiet", "--rootfs", "rootfs.tar"],
    );
    run(&mut command);
    let measured = std::fs::read_to_string(ground.path("measured")).unwrap();
    eprintln!("a million empty files: KiB of memory and seconds: {measured}");
    let kibibytes: u64 = measured.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kibibytes * 1024 < count * BYTES_PER_FILE, "{kibibytes} KiB for {count} files");
    let baked = Baked::read(&ground.path("out"));
    let root = ground.path("root");
    baked.extract("root", &root);
    let found = run(Command::new("dumpe2fs").arg("-h").arg(&root));
    let field = |name: &str| -> u64 {
        let line = found.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert!(field("Inode count:") - field("Free inodes:") >= count, "{found}");
    run(Command::new("e2fsck").arg("-fn").arg(&root));
}

fn tar_of_empty_files(directory: u64, count: u64) -> Tar {
    let top = Tar::default().directory(&format!("srv-{directory}"));
    (0..count).fold(top, |tar, file| tar.file(&format!("srv-{directory}/file-{file}"), b""))
}
