//! `grub.cfg`: as little as boots, until the distribution's own tools write theirs over it.

use super::quoting::grub_word;

/// A serial console that the kernel's command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serial {
    /// Number of the port.
    pub unit: u32,
    /// Bits per second.
    pub speed: u32,
}

impl Serial {
    /// The last one of a command line, by `console=ttyS0,115200n8` (Linux:
    /// `Documentation/admin-guide/serial-console.rst`). GRUB knows the four ports of a PC.
    pub(super) fn of(command_line: &str) -> Option<Self> {
        let consoles = command_line.split_whitespace().filter_map(|word| word.strip_prefix("console=ttyS"));
        let mut consoles = consoles.filter_map(|console| {
            let (unit, options) = console.split_once(',').unwrap_or((console, ""));
            let unit = unit.parse().ok().filter(|unit| *unit < 4)?;
            let digits = options.find(|c: char| !c.is_ascii_digit()).unwrap_or(options.len());
            // The kernel's default is GRUB's as well.
            let speed = options[..digits].parse().ok().filter(|speed| *speed > 0).unwrap_or(9600);
            Some(Self { unit, speed })
        });
        consoles.next_back()
    }

    /// The command that sets it up.
    pub(super) fn command(self) -> String {
        format!("serial --unit={} --speed={}", self.unit, self.speed)
    }
}

/// What the menu offers.
#[derive(Clone, Debug)]
pub(super) enum Entries<'a> {
    /// One kernel.
    One {
        /// What the menu calls it.
        title: &'a str,
        /// Its path.
        kernel: &'a str,
        /// The command line, in GRUB's language.
        command_line: &'a str,
        /// Paths of its initrds.
        initrds: &'a [String],
    },
    /// What `/boot/loader/entries` describes, for GRUBs that have Fedora's command `blscfg`.
    Described {
        /// What `$kernelopts` in entries stands for, in GRUB's language.
        command_line: &'a str,
    },
}

/// The configuration.
pub(super) fn menu(timeout: u32, serial: Option<Serial>, entries: &Entries<'_>) -> String {
    let mut text = format!("# The distribution's own tools may replace this.\nset timeout={timeout}\n");
    if let Some(serial) = serial {
        // Under UEFI, the firmware's console is on the serial port where there is one to be on.
        text += &format!(
            "if [ \"$grub_platform\" = pc ]; then\n\
             \tif {}; then\n\
             \t\tterminal_input console serial\n\
             \t\tterminal_output console serial\n\
             \tfi\n\
             fi\n",
            serial.command()
        );
    }
    match entries {
        Entries::One { title, kernel, command_line, initrds } => {
            let title = format!("'{}'", title.replace('\'', "'\\''"));
            text += &format!("menuentry {title} {{\n\tlinux {} {command_line}\n", grub_word(kernel));
            if !initrds.is_empty() {
                let initrds: Vec<_> = initrds.iter().map(|initrd| grub_word(initrd)).collect();
                text += &format!("\tinitrd {}\n", initrds.join(" "));
            }
            text += "}\n";
        }
        Entries::Described { command_line } => text += &described(command_line),
    }
    text
}

/// As `grub2-mkconfig` of RHEL writes it, without what asks for other disks: nothing on the host writes it again
/// when kernels come and go. `$boot` is where GRUB for BIOS looks for entries; `load_video` is what they call.
fn described(command_line: &str) -> String {
    format!(
        "if [ -s $prefix/grubenv ]; then\n\
         \tload_env\n\
         fi\n\
         if [ \"$next_entry\" ]; then\n\
         \tset default=\"$next_entry\"\n\
         \tset next_entry=\n\
         \tsave_env next_entry\n\
         else\n\
         \tset default=\"$saved_entry\"\n\
         fi\n\
         if [ -z \"$kernelopts\" ]; then\n\
         \tset kernelopts={}\n\
         fi\n\
         function load_video {{\n\
         \tinsmod all_video\n\
         }}\n\
         set boot=$root\n\
         set blsdir=/boot/loader/entries\n\
         insmod blscfg\n\
         blscfg\n",
        grub_word(command_line)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_serial_console_counts() {
        for (line, expected) in [
            ("console=tty0 console=ttyS1,115200n8", Some((1, 115_200))),
            ("console=ttyS0,9600 console=ttyS0,57600", Some((0, 57600))),
            ("console=ttyS0", Some((0, 9600))),
            ("console=ttyAMA0,115200 console=ttyS9 console=ttySx", None),
            ("console=tty0 quiet", None),
        ] {
            let found = Serial::of(line).map(|serial| (serial.unit, serial.speed));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_menu_is_small() {
        let entries = Entries::One {
            title: "Bob's Linux",
            kernel: "/boot/vmlinuz-6.1",
            command_line: "root=PARTUUID=1 console=ttyS0,115200",
            initrds: &["/boot/initrd.img-6.1".to_owned()],
        };
        assert_eq!(
            menu(0, None, &entries),
            "# The distribution's own tools may replace this.\nset timeout=0\nmenuentry 'Bob'\\''s Linux' {\n\
             \tlinux /boot/vmlinuz-6.1 root=PARTUUID=1 console=ttyS0,115200\n\tinitrd /boot/initrd.img-6.1\n}\n"
        );
    }
}
