//! Where in a text something is, as people count.

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; an offset past the end, or inside a character, counts as the last character before.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut place = Self { line: 1, column: 1 };
        place.advance(&text[..text.floor_char_boundary(offset)]);
        place
    }

    /// The byte at this place of a text, on a boundary of characters; the end of the text if it is shorter.
    pub fn offset(self, text: &str) -> usize {
        let before = self.line.saturating_sub(1);
        let line = text.split_inclusive('\n').take(before).map(str::len).sum::<usize>();
        line + text[line..].chars().take(self.column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
    }

    /// Goes on to the place after `text`, which begins at this place.
    pub(super) fn advance(&mut self, text: &str) {
        for c in text.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
