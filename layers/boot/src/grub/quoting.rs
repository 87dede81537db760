//! Kernel command lines in the languages that they pass through: GRUB's and the shell's.

/// The words of a command line as the kernel splits it: at blanks outside of double quotes, which do not become
/// part of the word (`parse_args` of Linux).
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut inside) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (quoted, inside) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if inside {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            c => {
                word.push(c);
                inside = true;
            }
        }
    }
    if inside {
        words.push(word);
    }
    words
}

/// The command line as GRUB's `linux` has to be given it. GRUB expands words as a shell does, and gives those
/// with blanks to the kernel in double quotes.
///
/// # Errors
/// The first character that does not survive: GRUB puts a backslash before quotes and backslashes, which the
/// kernel does not take away again.
pub(super) fn for_grub(line: &str) -> Result<String, char> {
    if let Some(wrong) =
        line.chars().find(|c| (c.is_control() && !c.is_whitespace()) || matches!(c, '\\' | '\''))
    {
        return Err(wrong);
    }
    Ok(words(line).iter().map(|word| grub_word(word)).collect::<Vec<_>>().join(" "))
}

/// A word of GRUB's language.
pub(super) fn grub_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-=,.:/+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A value for a file of `NAME=VALUE` that shells read.
pub(super) fn for_shell(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_arrives() {
        for (line, expected) in [
            (" root=PARTUUID=1-2  rw\nquiet ", "root=PARTUUID=1-2 rw quiet"),
            ("a=b;c $x", "'a=b;c' '$x'"),
            ("dyndbg=\"file a.c +p\" x", "'dyndbg=file a.c +p' x"),
            ("a={b} c=* d=\"\" e=1-3,7:50%", "'a={b}' 'c=*' d= e=1-3,7:50%"),
            ("\"\"", "''"),
            ("", ""),
        ] {
            assert_eq!(for_grub(line).unwrap(), expected, "{line}");
        }
        for (line, wrong) in [("a\\b", '\\'), ("a'b'", '\''), ("a\0", '\0'), ("\x1b[", '\x1b')] {
            assert_eq!(for_grub(line), Err(wrong));
        }
    }

    #[test]
    fn shells_read_the_same() {
        assert_eq!(for_shell("a 'b $c' \"`\\"), "\"a 'b \\$c' \\\"\\`\\\\\"");
    }
}
