use std::collections::BTreeMap;
use std::fs::File as HostFile;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bake_base::{Bytes, Digest, DigestReader, ReadAt};
use proptest::prelude::*;

use super::*;

const EPOCH: u64 = 1_767_225_600;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn text(path: &TreePath) -> String {
    format!("/{}", std::str::from_utf8(path.as_bytes()).unwrap())
}

fn file(name: &str, content: Content) -> File {
    File { path: path(name), content, mtime: Timestamp::from_seconds(1_700_000_000) }
}

fn directory(name: &str) -> Directory {
    Directory { path: path(name), mtime: Timestamp::from_seconds(1_600_000_000) }
}

fn options(sector_size: u32) -> Options {
    Options {
        size: MIN_SIZE,
        sector_size,
        serial: 0x1234_abcd,
        label: "ESP".to_owned(),
        epoch: Epoch::from_seconds(EPOCH),
    }
}

/// Bytes that say where they are, without being in memory.
#[derive(Debug)]
struct Pattern(u64);

impl ReadAt for Pattern {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(offset + buffer.len() as u64 <= self.0);
        for (at, byte) in (offset..).zip(buffer) {
            *byte = (at / 251) as u8 ^ at as u8 | 1;
        }
        Ok(())
    }
}

fn pattern(len: u64) -> Content {
    Content::whole(Arc::new(Pattern(len)), 0, len).unwrap()
}

fn digest(source: &dyn ReadAt) -> Digest {
    struct Reader<'a>(&'a dyn ReadAt, u64);
    impl io::Read for Reader<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = (self.0.len() - self.1).min(buffer.len() as u64).min(1 << 20) as usize;
            self.0.read_exact_at(self.1, &mut buffer[..n])?;
            self.1 += n as u64;
            Ok(n)
        }
    }
    DigestReader::new(io::BufReader::with_capacity(1 << 20, Reader(source, 0))).drain().unwrap().0
}

/// A digest of the pieces alone: cheap where the volume is mostly holes.
fn sparse_digest(layout: &Layout) -> Digest {
    let mut hasher = bake_base::Hasher::new();
    for piece in layout.pieces() {
        let mut bytes = vec![0; piece.len as usize];
        layout.read_exact_at(piece.offset, &mut bytes).unwrap();
        hasher.update(&piece.offset.to_le_bytes());
        hasher.update(&bytes);
    }
    hasher.finish()
}

fn write(layout: &Layout, to: &Path) {
    let target = HostFile::create(to).unwrap();
    target.set_len(layout.len()).unwrap();
    for piece in layout.pieces() {
        let mut done = 0;
        while done < piece.len {
            let mut buffer = vec![0; (piece.len - done).min(1 << 20) as usize];
            piece.source.read_exact_at(piece.source_offset + done, &mut buffer).unwrap();
            target.write_all_at(&buffer, piece.offset + done).unwrap();
            done += buffer.len() as u64;
        }
    }
}

#[allow(clippy::disallowed_methods)] // judges are programs
fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> (bool, String) {
    let output = std::process::Command::new(program)
        .args(arguments)
        .env("MTOOLS_SKIP_CHECK", "0")
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// `fsck.fat` finds nothing and says nothing but its version and the summary.
fn assert_clean(image: &Path) {
    let (ok, text) = run("fsck.fat", &["-n".as_ref(), image.as_ref()]);
    assert!(ok && text.lines().count() == 2, "{text}");
}

struct Written {
    scratch: tempfile::TempDir,
    image: PathBuf,
    layout: Layout,
}

fn written(files: &[File], directories: &[Directory], options: &Options) -> Written {
    let layout = layout(files, directories, options).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("esp.img");
    write(&layout, &image);
    assert_clean(&image);
    Written { scratch, image, layout }
}

/// What our own reader finds: files with their digests, directories without.
fn contents(source: &Arc<dyn ReadAt>) -> BTreeMap<String, Option<Digest>> {
    let volume = Volume::read(source).unwrap();
    let entry = |entry: Entry| (text(&entry.path), entry.content.map(|content| digest(&content)));
    volume.entries.into_iter().map(entry).collect()
}

fn expected(files: &[File]) -> BTreeMap<String, Option<Digest>> {
    let mut entries = BTreeMap::new();
    for file in files {
        entries.insert(text(&file.path), Some(digest(&file.content)));
        let mut path = file.path.clone();
        while let Some((parent, _)) = path.split().filter(|(parent, _)| !parent.is_root()) {
            entries.insert(text(&parent), None);
            path = parent;
        }
    }
    entries
}

/// What `mcopy` extracts.
fn extracted(written: &Written) -> BTreeMap<String, Option<Digest>> {
    fn walk(directory: &Path, prefix: &str, entries: &mut BTreeMap<String, Option<Digest>>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &name, entries);
                entries.insert(name, None);
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                entries.insert(name, Some(Digest::of(&bytes)));
            }
        }
    }
    let out = written.scratch.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let arguments = ["-s", "-Q", "-m", "-i"].map(std::ffi::OsStr::new);
    let arguments = [&arguments[..], &[written.image.as_ref(), "::*".as_ref(), out.as_ref()]].concat();
    let (ok, text) = run("mcopy", &arguments);
    assert!(ok, "{text}");
    let mut entries = BTreeMap::new();
    walk(&out, "", &mut entries);
    entries
}

fn typical() -> Vec<File> {
    vec![
        file("/EFI/BOOT/BOOTX64.EFI", pattern(98_304)),
        file("/EFI/systemd/systemd-bootx64.efi", pattern(98_305)),
        file("/loader/loader.conf", Content::bytes(&b"timeout 3\n"[..])),
        file("/loader/entries/debian-6.1.0-56-cloud-amd64.conf", Content::bytes(&b"title Debian\n"[..])),
        file("/debian/6.1.0-56-cloud-amd64/linux", pattern(7_777_777)),
        file("/debian/6.1.0-56-cloud-amd64/initrd.img-6.1.0-56-cloud-amd64", pattern(60 << 20)),
        file("/empty", Content::empty()),
        file("/Mixed Case [ä].text", Content::bytes(&b"x"[..])),
    ]
}

#[test]
fn judges_accept_a_typical_volume_on_both_sector_sizes() {
    for sector_size in [512, 4096] {
        let files = typical();
        let written = written(&files, &[], &options(sector_size));
        assert_eq!(contents(&(Arc::new(written.layout.clone()) as Arc<dyn ReadAt>)), expected(&files));
        let image: Arc<dyn ReadAt> =
            Arc::new(bake_base::FileBytes::new(HostFile::open(&written.image).unwrap()).unwrap());
        let volume = Volume::read(&image).unwrap();
        assert_eq!((volume.sector_size, volume.cluster_size), (u64::from(sector_size), 4096));
        assert_eq!((volume.serial, &*volume.label), (0x1234_abcd, "ESP"));
        assert!(volume.clusters >= 65_525);
        assert_eq!(extracted(&written), expected(&files));
    }
}

#[test]
fn content_is_referred_to_in_one_aligned_piece() {
    for sector_size in [512, 4096] {
        let layout = layout(&typical(), &[], &options(sector_size)).unwrap();
        let large: Vec<_> = layout.pieces().iter().filter(|piece| piece.len >= 60 << 20).collect();
        assert_eq!(large.len(), 1);
        assert_eq!((large[0].len, large[0].source_offset, large[0].offset % 4096), (60 << 20, 0, 0));
        let ours: u64 = layout.pieces().iter().filter(|piece| piece.len == 4096).map(|piece| piece.len).sum();
        assert!(ours < 400 << 10, "{ours} bytes of metadata are kept");
    }
}

#[test]
fn the_same_files_in_any_order_give_the_same_bytes() {
    let mut files = typical();
    let directories = [directory("/loader"), directory("/EFI"), directory("/extra/deep")];
    let first = digest(&layout(&files, &directories, &options(512)).unwrap());
    files.reverse();
    let reversed = [directory("/extra/deep"), directory("/EFI"), directory("/loader")];
    assert_eq!(digest(&layout(&files, &reversed, &options(512)).unwrap()), first);
    let other = Options { serial: 7, ..options(512) };
    assert_ne!(digest(&layout(&files, &directories, &other).unwrap()), first);
}

#[test]
fn dates_labels_and_serials_are_what_was_asked_for() {
    let mut late = file("/late.txt", Content::bytes(&b"x"[..]));
    late.mtime = Timestamp::from_seconds(4_000_000_000);
    let written = written(&[late], &[directory("/dir")], &options(512));
    let (ok, text) = run("mdir", &["-i".as_ref(), written.image.as_ref(), "::".as_ref()]);
    assert!(ok, "{text}");
    for line in ["is ESP", "1234-ABCD", "<DIR>     2020-09-13  12:26  dir", "2026-01-01   0:00  late.txt"] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    let volume = Volume::read(&(Arc::new(written.layout) as Arc<dyn ReadAt>)).unwrap();
    let times: Vec<_> = volume.entries.iter().map(|entry| entry.mtime.unwrap().seconds).collect();
    assert_eq!(times, [1_600_000_000, EPOCH as i64]);
    // Ten reserved sectors (two for the alignment) and two FATs of 1,023; root and `dir` have a cluster each.
    assert_eq!(
        volume.to_string(),
        "FAT32 `ESP` 1234-ABCD: 130815 clusters of 4096, sectors of 512\n\
         /dir/ @1600000000\n\
         /late.txt @1767225600 1 1060864+1\n"
    );
}

#[test]
fn deep_and_wide_directories_are_clean() {
    let deep = "/level-of-the-tower".repeat(60);
    let mut files = vec![file(&format!("{deep}/bottom"), Content::bytes(&b"down"[..]))];
    for number in 0..2000 {
        files.push(file(
            &format!("/wide/file number {number}.text"),
            Content::bytes(format!("{number}").into_bytes()),
        ));
    }
    let written = written(&files, &[directory("/none/at/all")], &options(512));
    let mut all = expected(&files);
    all.extend(["/none", "/none/at", "/none/at/all"].map(|name| (name.to_owned(), None)));
    assert_eq!(contents(&(Arc::new(written.layout.clone()) as Arc<dyn ReadAt>)), all);
    assert_eq!(extracted(&written), all);
}

#[test]
fn a_name_never_takes_the_short_name_of_another() {
    // Made up for the long names, in this order: LONGNA~1.TXT, LONGNA~2.TXT, ...
    let names = [
        "longname.text",
        "longname two.text",
        "LONGNA~1.TXT",
        "LONGNA~2.TEX",
        "LONGNA~1.TEX",
        ".abc",
        ".x.y",
    ];
    let files: Vec<_> =
        names.iter().map(|name| file(&format!("/{name}"), Content::bytes(name.as_bytes()))).collect();
    let written = written(&files, &[], &options(512));
    assert_eq!(contents(&(Arc::new(written.layout.clone()) as Arc<dyn ReadAt>)), expected(&files));
    assert_eq!(extracted(&written), expected(&files));
}

#[test]
fn everything_that_fat_cannot_hold_is_named_at_once() {
    let large = Content::sparse(1 << 32, Vec::new()).unwrap();
    let files = [
        file("/a/question?", Content::empty()),
        file("/a/Case", Content::empty()),
        file("/a/case", Content::empty()),
        file("/large", large),
        file("/file", Content::empty()),
        file("/file/below", Content::empty()),
        file("/dot./below", Content::empty()),
    ];
    let error = layout(&files, &[], &options(512)).unwrap_err();
    let Error::Entries(unfit) = &error else { panic!("{error}") };
    let mut paths: Vec<_> = unfit.iter().map(|unfit| unfit.path.to_string()).collect();
    paths.sort();
    assert_eq!(paths, ["/a/case", "/a/question?", "/dot.", "/file/below", "/large"]);
    assert!(error.to_string().contains("`/a/case` and `/a/Case` have one name"), "{error}");
}

#[test]
fn options_out_of_bounds_are_refused() {
    let refused = |options: Options| layout(&[], &[], &options).unwrap_err().to_string();
    assert!(refused(Options { size: MIN_SIZE - 4096, ..options(512) }).contains("536866816"));
    assert!(refused(Options { size: MIN_SIZE + 512, ..options(512) }).contains("multiple of 4096"));
    assert!(refused(options(1024)).contains("512 or 4096"));
    for label in ["", "lower", "TWELVE CHARS", "NO NAME", " X"] {
        assert!(
            refused(Options { label: label.to_owned(), ..options(512) }).contains("is no label"),
            "{label}"
        );
    }
}

#[test]
fn a_full_volume_names_the_file_that_has_no_room() {
    let files = [file("/a", pattern(300 << 20)), file("/b", pattern(300 << 20))];
    let error = layout(&files, &[], &options(512)).unwrap_err();
    assert!(matches!(&error, Error::Full { path, .. } if path.to_string() == "/b"), "{error}");
}

#[test]
fn larger_volumes_are_clean_too() {
    for (size, sector_size) in [(1 << 30, 512), (MIN_SIZE + 4096 * 77, 512), (3 << 30, 4096)] {
        written(&typical(), &[], &Options { size, ..options(sector_size) });
    }
}

/// How many bytes of clusters a specimen has.
const DIRECTORIES: usize = 64 * CLUSTER_SIZE as usize;

/// The first bytes of a volume with a directory tree in it, small enough to damage at will.
fn specimen() -> (Layout, Vec<u8>) {
    let files: Vec<_> = (0..40)
        .map(|number| file(&format!("/dir {}/a long name {number}", number % 3), pattern(9000)))
        .collect();
    let layout = layout(&files, &[], &options(512)).unwrap();
    let mut boot = [0; 512];
    layout.read_exact_at(0, &mut boot).unwrap();
    let geometry = Geometry::parse(&boot, layout.len()).unwrap();
    let mut head = vec![0; geometry.offset(2) as usize + DIRECTORIES];
    layout.read_exact_at(0, &mut head).unwrap();
    (layout, head)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tree_comes_back(
        names in prop::collection::btree_map("[a-zA-Z0-9 ._~+-]{0,20}[a-z0-9](/[a-zA-Z0-9._~ äß-]{0,9}[A-Z0-9]){0,3}", 0_u64..20_000, 0..40),
        sector_size in prop::sample::select(vec![512_u32, 4096]),
    ) {
        let files: Vec<_> = names.iter().map(|(name, len)| file(&format!("/{name}"), pattern(*len))).collect();
        match layout(&files, &[], &options(sector_size)) {
            Ok(layout) => {
                prop_assert_eq!(contents(&(Arc::new(layout.clone()) as Arc<dyn ReadAt>)), expected(&files));
                prop_assert_eq!(sparse_digest(&layout), sparse_digest(&super::layout(&files, &[], &options(sector_size)).unwrap()));
                let scratch = tempfile::tempdir().unwrap();
                let image = scratch.path().join("esp.img");
                write(&layout, &image);
                assert_clean(&image);
            }
            // Names that differ in case, files below files.
            Err(Error::Entries(_)) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_volume_is_an_error_or_another_volume(
        flips in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..20),
        whole in any::<bool>(),
    ) {
        thread_local!(static SPECIMEN: (Layout, Vec<u8>) = specimen());
        let mut builder = LayoutBuilder::new();
        let (len, head) = SPECIMEN.with(|(layout, head)| {
            let mut head = head.clone();
            for (at, byte) in &flips {
                // Where the fields are: the boot sector, the FAT's head, the directories.
                let ranges = [(0, 512), (4096, 8192), (head.len() - DIRECTORIES, DIRECTORIES)];
                let (start, len) = ranges[usize::from(*byte) % 3];
                head[start + (at * len as f64) as usize] = *byte;
            }
            (layout.len(), head)
        });
        if whole {
            builder.push_bytes(0, head);
            let source: Arc<dyn ReadAt> = Arc::new(builder.finish(len).unwrap());
            if let Ok(volume) = Volume::read(&source) {
                for content in volume.entries.iter().filter_map(|entry| entry.content.as_ref()) {
                    // Whatever it is, it is inside of the volume.
                    content.read_exact_at(content.len(), &mut []).unwrap();
                }
            }
        } else {
            let cut = (flips[0].0 * head.len() as f64) as usize;
            let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(&head[..cut]));
            prop_assert!(Volume::read(&source).is_err());
        }
    }
}
