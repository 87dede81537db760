//! Sets of bytes, as brackets and escapes of an expression name them.

/// A set of bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([false; 256]);
    /// Every byte: the expressions' dots match newlines, too.
    pub const ALL: Self = Self([true; 256]);

    /// The bytes that `is` is true of.
    fn of(is: impl Fn(u8) -> bool) -> Self {
        Self(std::array::from_fn(|byte| is(byte as u8)))
    }

    /// Adds the bytes from one to another.
    pub fn add_range(&mut self, from: u8, to: u8) {
        self.0[usize::from(from)..=usize::from(to)].fill(true);
    }

    /// Adds those of another set.
    pub fn add_all(&mut self, other: &Self) {
        for (has, adds) in self.0.iter_mut().zip(other.0) {
            *has |= adds;
        }
    }

    /// Takes those that are not in the set.
    pub fn negate(&mut self) {
        for has in &mut self.0 {
            *has = !*has;
        }
    }

    /// Appends the set to an expression for the `regex` crate.
    pub fn write(&self, regex: &mut String) {
        let runs = self.0.chunk_by(|left, right| left == right);
        let ends = runs.scan(0_usize, |start, run| {
            let first = *start;
            *start += run.len();
            Some((run[0], first, *start - 1))
        });
        let ranges: String = ends
            .filter(|(is_in, ..)| *is_in)
            .map(|(_, first, last)| format!(r"\x{first:02x}-\x{last:02x}"))
            .collect();
        // No byte at all is said by taking all of them away.
        let class = if ranges.is_empty() { r"[^\x00-\xff]".to_owned() } else { format!("[{ranges}]") };
        regex.push_str(&class);
    }
}

/// The set that `\byte` names; nothing when that is no set.
pub(super) fn escaped_set(byte: u8) -> Option<ByteSet> {
    let mut set = match byte.to_ascii_lowercase() {
        b'd' => ByteSet::of(|byte| byte.is_ascii_digit()),
        b's' => ByteSet::of(super::text::is_space),
        b'w' => ByteSet::of(is_word),
        _ => return None,
    };
    if byte.is_ascii_uppercase() {
        set.negate();
    }
    Some(set)
}

/// The set that `[:name:]` stands for.
pub(super) fn posix_set(name: &[u8]) -> Option<ByteSet> {
    Some(match name {
        b"alpha" => ByteSet::of(|byte| byte.is_ascii_alphabetic()),
        b"lower" => ByteSet::of(|byte| byte.is_ascii_lowercase()),
        b"upper" => ByteSet::of(|byte| byte.is_ascii_uppercase()),
        b"alnum" => ByteSet::of(|byte| byte.is_ascii_alphanumeric()),
        b"ascii" => ByteSet::of(|byte| byte.is_ascii()),
        b"blank" => ByteSet::of(|byte| matches!(byte, b' ' | b'\t')),
        b"cntrl" => ByteSet::of(|byte| byte.is_ascii_control()),
        b"digit" => ByteSet::of(|byte| byte.is_ascii_digit()),
        b"graph" => ByteSet::of(|byte| byte.is_ascii_graphic()),
        b"print" => ByteSet::of(|byte| byte.is_ascii_graphic() || byte == b' '),
        b"punct" => ByteSet::of(|byte| byte.is_ascii_punctuation()),
        b"space" => ByteSet::of(super::text::is_space),
        b"word" => ByteSet::of(is_word),
        b"xdigit" => ByteSet::of(|byte| byte.is_ascii_hexdigit()),
        _ => return None,
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
