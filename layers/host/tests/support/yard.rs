//! A host in a directory: packages become a product, the program installs it, and packages come to its store.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bake_archive::open_directory_at;
use bake_base::{Digest, json};
use bake_host::contents::{CONTENTS, Contents};
use bake_host::product::{Blob, Bootstrap, HostFile, Product, SCHEMA};
use bake_tree::Tree;

/// The configuration of the product that a yard begins with.
pub const CONFIG: &str = "0123456789012345678901234567890123456789";
/// The time of everything in packages.
const TIME: &str = "--mtime=@1000000000";

/// A package that is to be made.
#[derive(Clone, Debug)]
pub struct Package {
    pub id: String,
    pub files: BTreeMap<String, (Vec<u8>, u32)>,
    pub links: BTreeMap<String, String>,
    /// Whether it has a list of its contents.
    pub listed: bool,
}

impl Package {
    /// A package with nothing but an empty `pkginfo.json`.
    pub fn new(id: &str) -> Self {
        let files = BTreeMap::from([("pkginfo.json".to_owned(), (b"{}".to_vec(), 0o644))]);
        Self { id: id.to_owned(), files, links: BTreeMap::new(), listed: true }
    }

    pub fn info(self, json: &str) -> Self {
        self.file("pkginfo.json", json)
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), (text.as_bytes().to_vec(), 0o644));
        self
    }

    pub fn program(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), (text.as_bytes().to_vec(), 0o755));
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    /// A unit that does nothing but say `text`.
    pub fn unit(self, path: &str, text: &str) -> Self {
        let unit = format!("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo {text}\n");
        self.file(path, &unit)
    }

    /// Without `contents.json`, as the packages of older tools.
    pub fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }

    /// Makes the package in a directory of its own.
    pub fn make(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        for (path, (bytes, mode)) in &self.files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        for (path, target) in &self.links {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        if self.listed {
            let opened = open_directory_at("a package", fs::File::open(directory).unwrap().into()).unwrap();
            let mut tree = Tree::new();
            for (members, policy) in opened.layers {
                tree.apply(members, policy).unwrap();
            }
            fs::write(directory.join(CONTENTS), Contents::of(&tree, 1).unwrap().to_json()).unwrap();
        }
    }
}

/// Packs a directory as packages are packed.
pub fn pack(directory: &Path, archive: &Path) {
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let tar = ["--sort=name", "--owner=0", "--group=0", TIME, "-cJf"];
    let status = Command::new("tar").args(tar).arg(archive).arg("-C").arg(directory).arg(".").status();
    assert!(status.unwrap().success());
}

fn blob(directory: &Path, path: &str) -> Blob {
    let bytes = fs::read(directory.join(path)).unwrap();
    Blob { path: path.to_owned(), sha256: Digest::of(&bytes), size: bytes.len() as u64 }
}

/// A directory with a serve directory and the root of a host.
pub struct Yard {
    directory: tempfile::TempDir,
    /// The product that is served.
    pub product: Product,
}

impl Yard {
    /// Serves a product of these packages; nothing is installed.
    pub fn new(packages: &[Package]) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        let product = serve(&directory.path().join("from"), CONFIG, packages);
        let yard = Self { directory, product };
        yard.write();
        yard
    }

    /// The same, installed for `roles`.
    pub fn installed(packages: &[Package], roles: &[&str]) -> Self {
        let yard = Self::new(packages);
        yard.install(roles);
        yard
    }

    /// Serves another product, beside what was served already.
    pub fn serve(&mut self, config: &str, packages: &[Package]) {
        self.product = serve(&self.from(), config, packages);
        self.write();
    }

    /// Writes the document of the product again, after a change of [`Yard::product`].
    pub fn write(&self) {
        fs::write(self.from().join("product.json"), json::to_canonical(&self.product).unwrap()).unwrap();
    }

    pub fn install(&self, roles: &[&str]) -> String {
        let (product, from) = (self.from().join("product.json"), self.from());
        let mut arguments = vec!["install", "--product", product.to_str().unwrap()];
        arguments.extend(["--from", from.to_str().unwrap()]);
        arguments.extend(roles.iter().flat_map(|role| ["--role", role]));
        self.done(&arguments)
    }

    /// Puts a package into the store of the host.
    pub fn add(&self, package: &Package) {
        package.make(&self.home(&format!("packages/{}", package.id)));
    }

    /// The same with several.
    pub fn add_all<'a>(&self, packages: impl IntoIterator<Item = &'a Package>) {
        for package in packages {
            self.add(package);
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The serve directory.
    pub fn from(&self) -> PathBuf {
        self.at("from")
    }

    /// The root of the host.
    pub fn root(&self) -> PathBuf {
        self.at("root")
    }

    /// A path in the install root.
    pub fn home(&self, path: &str) -> PathBuf {
        self.root().join("opt/mesosphere").join(path)
    }

    /// What a link of the install root leads to.
    pub fn link(&self, path: &str) -> String {
        fs::read_link(self.home(path)).unwrap().display().to_string()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        command.arg("--root").arg(self.root()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command says that ends well.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What a command complains about that refuses.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The record of a generation.
    pub fn record(&self, number: u32) -> serde_json::Value {
        let path = self.home(&format!("generations/{number}/generation.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

/// Makes a product: the packages in a bootstrap tarball, and `dcos-config` beside it.
fn serve(from: &Path, config: &str, packages: &[Package]) -> Product {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bootstrap = work.path().join("bootstrap");
    fs::create_dir_all(bootstrap.join("packages")).unwrap();
    let mut inside = BTreeMap::new();
    for package in packages {
        let directory = bootstrap.join("packages").join(&package.id);
        package.make(&directory);
        let name = package.id.split("--").next().unwrap();
        let path = format!("packages/{name}/{}.tar.xz", package.id);
        pack(&directory, &from.join(&path));
        inside.insert(package.id.parse().unwrap(), blob(from, &path));
    }
    let of_config = Package::new(&format!("dcos-config--setup_{config}")).file("etc/cluster", config);
    of_config.make(&work.path().join("config"));
    let path = format!("packages/dcos-config/{}.tar.xz", of_config.id);
    pack(&work.path().join("config"), &from.join(&path));
    let beside = BTreeMap::from([(of_config.id.parse().unwrap(), blob(from, &path))]);
    let path = format!("bootstrap/{config}.bootstrap.tar.xz");
    pack(&bootstrap, &from.join(&path));
    fs::write(from.join("pkgpanda"), "the program").unwrap();
    let mut active: Vec<_> = beside.keys().chain(inside.keys()).cloned().collect();
    active.sort();
    let url = HostFile { mode: "0644".to_owned(), content: config.to_owned() };
    Product {
        schema: SCHEMA.to_owned(),
        config_id: config.to_owned(),
        bootstrap: Bootstrap { id: config.to_owned(), packages: inside, blob: blob(from, &path) },
        packages: beside,
        active,
        files: BTreeMap::from([("/etc/mesosphere/setup-flags/repository-url".to_owned(), url)]),
        secrets: Vec::new(),
        pkgpanda: blob(from, "pkgpanda"),
    }
}
