//! Where `update-grub` and `grub2-mkconfig` read what later kernels are booted with.

use super::menu::Serial;
use super::quoting::for_shell;

/// Where the distribution's tools say how they name root to the kernel.
pub(super) const NAMES_ROOT: &str = "etc/grub.d/10_linux";

/// Later menus, too, stay on the drive that GRUB was started from, and name root by its partition: that id is the
/// machine's own after first boot, while a file system that GRUB reads has to keep the id that clones of it have.
const BY_PARTITION: [(&str, &str); 3] = [
    ("GRUB_DISABLE_UUID", "true"),
    ("GRUB_DISABLE_LINUX_UUID", "true"),
    ("GRUB_DISABLE_LINUX_PARTUUID", "false"),
];

/// The variables that have a menu name partitions, if the tools know them (GRUB 2.04 and later). Others would name
/// devices, whose order changes.
pub(super) fn by_partition(tool: &[u8]) -> impl Iterator<Item = (&'static str, String)> {
    let knows = String::from_utf8_lossy(tool).contains("GRUB_DISABLE_LINUX_PARTUUID");
    BY_PARTITION.into_iter().filter(move |_| knows).map(|(name, value)| (name, value.to_owned()))
}

/// Variables of `/etc/default/grub` (GRUB manual, "Simple configuration").
///
/// `root=` is left out of the command line: those tools look up which device root is, as first boot may have
/// changed what names it. Their `ro` comes before the command line, so its `rw` counts.
pub(super) fn variables(
    command_line: &str,
    timeout: u32,
    serial: Option<Serial>,
) -> Vec<(&'static str, String)> {
    let words =
        command_line.split(' ').filter(|word| !word.starts_with("root=") && !word.starts_with("'root="));
    let command_line = words.collect::<Vec<_>>().join(" ");
    let mut variables = vec![
        ("GRUB_CMDLINE_LINUX", for_shell(&command_line)),
        ("GRUB_CMDLINE_LINUX_DEFAULT", for_shell("")),
        ("GRUB_TIMEOUT", timeout.to_string()),
    ];
    if let Some(serial) = serial {
        variables.push(("GRUB_TERMINAL", for_shell("console serial")));
        variables.push(("GRUB_SERIAL_COMMAND", for_shell(&serial.command())));
    }
    variables
}

/// A file of its own, where the tools read a directory of them.
pub(super) fn drop_in(variables: &[(&str, String)]) -> String {
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// An existing file with these variables: lines that set them are replaced where they are, others follow.
pub(super) fn merged(existing: &str, variables: &[(&str, String)]) -> String {
    let sets = |line: &str, name: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
    };
    let mut left = variables.to_vec();
    let mut text = String::new();
    for line in existing.lines() {
        if !variables.iter().any(|(name, _)| sets(line, name)) {
            text += &format!("{line}\n");
        } else if let Some(index) = left.iter().position(|(name, _)| sets(line, name)) {
            let (name, value) = left.remove(index);
            text += &format!("{name}={value}\n");
        }
    }
    text + &drop_in(&left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_replace_their_lines() {
        let existing =
            "# c\nGRUB_TIMEOUT=5\nGRUB_TIMEOUT_STYLE=menu\n export GRUB_TERMINAL=x\nGRUB_TIMEOUT=7";
        let variables = variables("root=PARTUUID=1 rw quiet", 3, Some(Serial { unit: 0, speed: 115_200 }));
        assert_eq!(
            merged(existing, &variables),
            "# c\nGRUB_TIMEOUT=3\nGRUB_TIMEOUT_STYLE=menu\nGRUB_TERMINAL=\"console serial\"\n\
             GRUB_CMDLINE_LINUX=\"rw quiet\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\n\
             GRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n"
        );
        assert_eq!(merged(&merged(existing, &variables), &variables), merged(existing, &variables));
    }
}
