//! Which characters from outside may not be printed as they are (S13.3): the one list of them. What must not live here: how
//! they are spelt instead, which depends on where the text goes.

/// Whether a character controls a terminal, hides, reverses or moves what stands around it: Cc, Cf, Zl, Zp, the tags,
/// variation selectors and private use. `\n` is one of them: whoever prints whole texts lets it through.
#[must_use]
pub fn is_unsafe(ch: char) -> bool {
    ch.is_control()
        || matches!(u32::from(ch),
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180b..=0x180f
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff
            | 0xfff9..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
            | 0xe000..=0xf8ff | 0xe0000..=0xe0fff | 0xf0000..=0x0010_ffff)
}
