//! systemd-boot and an entry of the boot loader specification (UAPI.1, type 1), laid out exactly as the
//! distribution's own tools would have left them.
//!
//! On the host, those tools go on: a package with a later kernel runs `kernel-install add`, removing ours runs
//! `kernel-install remove`. For that everything here follows systemd 252 as Debian 12 ships it, to the byte:
//!
//! - `bootctl install`: the loader in two places, `loader/loader.conf`, `loader/entries.srel`. The latter makes
//!   `kernel-install` choose `layout=bls` (`kernel-install`, "No layout configured by the administrator").
//! - `/usr/lib/kernel/install.d/90-loaderentry.install`: kernel and initrd below `/TOKEN/VERSION/`, and the
//!   entry `loader/entries/TOKEN-VERSION.conf` with its keys, their order and their blanks.
//! - `/usr/lib/kernel/install.d/85-initrd.install` (Debian): the initrd keeps its name.
//! - `/etc/kernel/postinst.d/zz-systemd-boot`: what calls `kernel-install`, once `bootctl is-installed` finds
//!   something in `EFI/systemd`.
//!
//! The token in names would be the machine id by default, which an image has none of: it is written to
//! `/etc/kernel/entry-token`, so that every later kernel uses the same. `/etc/kernel/cmdline` holds the options
//! for the same reason: without it later entries would copy whatever the host was once booted with.
//!
//! Neither random seed nor firmware variables: the one must differ between machines, the other is no file.

use bake_tree::{Content, EditError, Follow, Metadata, Node, Tree, TreePath};

use crate::kernel::Kernel;
use crate::{Architecture, OsRelease, path};

/// Where packages put the loader.
const LOADER_DIRECTORY: &str = "usr/lib/systemd/boot/efi";
/// Where `kernel-install` looks for the partition, in this order.
const BOOT_ROOTS: [&str; 3] = ["efi", "boot", "boot/efi"];
/// More than any configuration file of `kernel-install` has, in bytes.
const LIMIT: u64 = 64 << 10;

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Seconds that the menu is shown; nothing leaves the loader's default, not to show it.
    pub timeout: Option<u32>,
    /// Name for entries and their directory; otherwise the one that the tree asks for.
    pub token: Option<&'a str>,
}

/// Files of the EFI system partition and edits of the tree that belong together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootFiles {
    /// Files of the EFI system partition.
    pub esp: Vec<(TreePath, Content)>,
    /// Directories of the EFI system partition that may be empty.
    pub esp_directories: Vec<TreePath>,
    /// Files of the tree, owned by root, mode 0644.
    pub edits: Vec<(TreePath, Content)>,
    /// Where the host has to mount the partition for its tools to find it.
    pub mount_point: TreePath,
    /// What entries are named after.
    pub token: String,
}

/// A tree on which systemd-boot cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The tree has no systemd-boot.
    #[error("`{0}` is missing: install `systemd-boot` (Debian, Ubuntu) or `systemd-boot-unsigned` (Fedora)")]
    NoLoader(TreePath),
    /// The token cannot be part of a file name.
    #[error(
        "`{token}` from {origin} cannot name boot entries: expected 1 to 64 letters, digits, `.`, `_`, `-`"
    )]
    Token {
        /// The token.
        token: String,
        /// Where it is from.
        origin: &'static str,
    },
    /// The command line cannot be written into an entry.
    #[error("the kernel command line contains {0:?}: expected printable characters")]
    CommandLine(char),
    /// `kernel-install` is told to do something else.
    #[error(
        "`{path}` sets `{setting}`, so later kernels would get no entry of systemd-boot: remove that line, or choose \
         another boot method"
    )]
    Configured {
        /// The configuration file.
        path: TreePath,
        /// The line.
        setting: String,
    },
    /// `kernel-install` would put later entries elsewhere.
    #[error(
        "`{0}` exists, so `kernel-install` would put later entries there and not on the EFI system partition: \
         remove it, or choose another boot method"
    )]
    OtherRoot(TreePath),
    /// `/etc/kernel/tries` holds no number.
    #[error("`{0}` holds no number: expected how often an entry may be tried")]
    Tries(TreePath),
    /// The tree cannot be read or edited.
    #[error(transparent)]
    Tree(#[from] EditError),
}

impl BootFiles {
    /// Applies the edits to a tree.
    ///
    /// # Errors
    /// When something else than a file is in the way.
    pub fn edit(&self, tree: &mut Tree) -> Result<(), EditError> {
        self.edits
            .iter()
            .try_for_each(|(path, content)| tree.write(path, Metadata::root(0o644), content.clone()))
    }
}

/// systemd-boot in the tree, for an architecture; the signed one is preferred, as `bootctl` does.
///
/// # Errors
/// When there is none.
pub fn find_loader(tree: &Tree, architecture: Architecture) -> Result<Content, EntryError> {
    let name = format!("{LOADER_DIRECTORY}/systemd-boot{}.efi", architecture.efi_suffix());
    for name in [format!("{name}.signed"), name.clone()] {
        if let Some(content) = tree.file(&path(&name))? {
            return Ok(content.clone());
        }
    }
    Err(EntryError::NoLoader(path(&name)))
}

/// Everything for booting `kernel` with `initrds` (path in the tree and content) through systemd-boot.
///
/// # Errors
/// When the tree lacks the loader, or is set up for something else.
pub fn install(
    tree: &Tree,
    kernel: &Kernel,
    initrds: &[(TreePath, Content)],
    options: &Options<'_>,
) -> Result<BootFiles, EntryError> {
    if let Some(wrong) = options.command_line.chars().find(|c| c.is_control() && !c.is_whitespace()) {
        return Err(EntryError::CommandLine(wrong));
    }
    let loader = find_loader(tree, kernel.architecture)?;
    let os_release = OsRelease::read(tree)?;
    let token = token(tree, options.token, &os_release)?;
    check_configuration(tree)?;
    let mount_point = mount_point(tree, &token)?;
    let tries = tries(tree)?;

    let suffix = kernel.architecture.efi_suffix();
    let version = &kernel.version;
    let directory = format!("{token}/{version}");
    let names = initrd_names(initrds);
    // `tr -s "$IFS" ' '` of 90-loaderentry.install.
    let command_line = options.command_line.split_whitespace().collect::<Vec<_>>().join(" ");
    let entry = entry(&os_release, version, &directory, &names, &command_line);
    let tries = tries.map(|tries| format!("+{tries}")).unwrap_or_default();
    let menu = match options.timeout {
        Some(seconds) => format!("timeout {seconds}\n"),
        None => "#timeout 3\n".to_owned(),
    };
    let text = |text: String| Content::bytes(text.into_bytes());
    let mut esp = vec![
        (path(&format!("EFI/BOOT/BOOT{}.EFI", suffix.to_ascii_uppercase())), loader.clone()),
        (path(&format!("EFI/systemd/systemd-boot{suffix}.efi")), loader),
        (path("loader/loader.conf"), text(menu + "#console-mode keep\n")),
        (path("loader/entries.srel"), text("type1\n".to_owned())),
        (path(&format!("loader/entries/{token}-{version}{tries}.conf")), text(entry)),
        (path(&format!("{directory}/linux")), kernel.content.clone()),
    ];
    for (name, (_, content)) in names.iter().zip(initrds) {
        esp.push((path(&format!("{directory}/{name}")), content.clone()));
    }
    esp.sort_by(|a, b| a.0.cmp(&b.0));
    let edits = vec![
        (path("etc/kernel/cmdline"), text(command_line + "\n")),
        (path("etc/kernel/entry-token"), text(token.clone() + "\n")),
    ];
    // `esp_subdirs` and `dollar_boot_subdirs` of bootctl.
    let directories = ["EFI", "EFI/BOOT", "EFI/Linux", "EFI/systemd", "loader", "loader/entries"];
    Ok(BootFiles { esp, esp_directories: directories.map(path).to_vec(), edits, mount_point, token })
}

/// The entry, as 90-loaderentry.install prints it. The key `machine-id` is only for entries that are named
/// after one.
fn entry(
    os_release: &OsRelease,
    version: &str,
    directory: &str,
    initrds: &[String],
    command_line: &str,
) -> String {
    let fallback = format!("Linux {version}");
    let mut lines = vec![
        format!("title      {}", os_release.get("PRETTY_NAME").unwrap_or(&fallback)),
        format!("version    {version}"),
    ];
    if let Some(key) = os_release.get("IMAGE_ID").or(os_release.get("ID")) {
        lines.push(format!("sort-key   {key}"));
    }
    lines.push(format!("options    {command_line}"));
    lines.push(format!("linux      /{directory}/linux"));
    lines.extend(initrds.iter().map(|name| format!("initrd     /{directory}/{name}")));
    lines.join("\n") + "\n"
}

/// The names that initrds get beside the kernel: their own where they begin with `initrd` (Debian's
/// 85-initrd.install), otherwise the one that dracut's plugin gives.
fn initrd_names(initrds: &[(TreePath, Content)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, (path, _)) in initrds.iter().enumerate() {
        let own = path.split().and_then(|(_, name)| String::from_utf8(name.to_vec()).ok());
        let name = own.filter(|name| name.starts_with("initrd")).unwrap_or_else(|| "initrd".to_owned());
        names.push(if names.contains(&name) { format!("{name}-{index}") } else { name });
    }
    names
}

/// What entries are named after: the caller's wish, the administrator's, or the first candidate of
/// `kernel-install` that does not identify a machine.
pub(crate) fn token(tree: &Tree, wanted: Option<&str>, os_release: &OsRelease) -> Result<String, EntryError> {
    let configured = first_line(tree, "etc/kernel/entry-token")?;
    let candidates = [
        (wanted.map(str::to_owned), "the options"),
        (configured, "`/etc/kernel/entry-token`"),
        (os_release.get("IMAGE_ID").map(str::to_owned), "`IMAGE_ID` in os-release"),
        (os_release.get("ID").map(str::to_owned), "`ID` in os-release"),
    ];
    let given = candidates.into_iter().find_map(|(token, origin)| Some((token?, origin)));
    let (token, origin) = given.unwrap_or_else(|| ("Default".to_owned(), "kernel-install"));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if token.is_empty() || token.len() > 64 || token.starts_with('.') || !token.bytes().all(allowed) {
        return Err(EntryError::Token { token: token.chars().take(80).collect(), origin });
    }
    Ok(token)
}

/// Refuses a `kernel-install` that is configured for something else.
fn check_configuration(tree: &Tree) -> Result<(), EntryError> {
    // The first file that exists counts alone.
    for name in ["etc/kernel/install.conf", "usr/lib/kernel/install.conf"] {
        let file = path(name);
        let Some(text) = tree.read(&file, LIMIT)? else { continue };
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            let value = line.strip_prefix("layout=").map(|value| value.trim_matches(['"', '\'']));
            if value.is_some_and(|value| !matches!(value, "" | "bls" | "auto"))
                || line.starts_with("BOOT_ROOT=")
            {
                return Err(EntryError::Configured { path: file, setting: line.to_owned() });
            }
        }
        break;
    }
    Ok(())
}

/// Where the partition goes on the host: `/efi` where the tree has it, otherwise `/boot/efi`. What the tree
/// itself has in a place that `kernel-install` looks at earlier would win over the partition.
fn mount_point(tree: &Tree, token: &str) -> Result<TreePath, EntryError> {
    let exists = |path: &TreePath| tree.lookup(path, Follow::Last).is_some();
    let is_directory = |path: &TreePath| {
        let id = tree.lookup(path, Follow::Last);
        id.is_some_and(|id| matches!(tree.inode(id).node, Node::Directory(_)))
    };
    let mount_point = if is_directory(&path("efi")) { path("efi") } else { path("boot/efi") };
    for root in BOOT_ROOTS.map(path).into_iter().take_while(|root| *root != mount_point) {
        for other in [root.join(token.as_bytes()), root.join(b"loader").join(b"entries")] {
            if exists(&other) {
                return Err(EntryError::OtherRoot(other));
            }
        }
    }
    Ok(mount_point)
}

fn tries(tree: &Tree) -> Result<Option<u32>, EntryError> {
    let Some(line) = first_line(tree, "etc/kernel/tries")? else { return Ok(None) };
    line.parse().map(Some).map_err(|_| EntryError::Tries(path("etc/kernel/tries")))
}

/// The first line of a file, as the shell's `read` gives it.
fn first_line(tree: &Tree, name: &str) -> Result<Option<String>, EntryError> {
    let text = tree.read(&path(name), LIMIT)?;
    let line = text.map(|text| String::from_utf8_lossy(&text).lines().next().unwrap_or("").trim().to_owned());
    Ok(line.filter(|line| !line.is_empty()))
}

#[cfg(test)]
#[path = "entries/tests.rs"]
mod tests;
