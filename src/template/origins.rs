//! Where the parts of a text come from that was made of another text.

use std::ops::Range;

/// For every byte of a text that was made of a template: where in the template it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// In order: offset in the made text, offset in the template, and whether it was copied from there, or else put in
    /// the place of a tag that begins there.
    pieces: Vec<(usize, usize, bool)>,
}

impl Origins {
    /// The text goes on at `made` with a copy of what is at `origin`.
    pub fn copied(&mut self, made: usize, origin: usize) {
        self.pieces.push((made, origin, true));
    }

    /// The text goes on at `made` with what stands for the tag at `origin`.
    pub fn replaced(&mut self, made: usize, origin: usize) {
        self.pieces.push((made, origin, false));
    }

    /// The text goes on at `made` with a part of a text that had these origins itself.
    pub fn carried(&mut self, made: usize, earlier: &Origins, part: &Range<usize>) {
        if part.is_empty() {
            return;
        }
        match earlier.find(part.start) {
            (origin, true) => self.copied(made, origin),
            (origin, false) => self.replaced(made, origin),
        }
        let next = earlier.pieces.partition_point(|&(start, _, _)| start <= part.start);
        let inside = earlier.pieces[next..].iter().take_while(|&&(start, _, _)| start < part.end);
        self.pieces
            .extend(inside.map(|&(start, origin, copied)| (made + start - part.start, origin, copied)));
    }

    /// These origins, when the template itself was made of another text with the origins `earlier`. The made text has
    /// `length` bytes.
    #[must_use]
    pub fn through(&self, earlier: &Origins, length: usize) -> Self {
        let mut all = Self::default();
        for (index, &(made, origin, copied)) in self.pieces.iter().enumerate() {
            let end = self.pieces.get(index + 1).map_or(length, |&(next, _, _)| next);
            if copied {
                all.carried(made, earlier, &(origin..origin + end.saturating_sub(made)));
            } else {
                all.replaced(made, earlier.offset(origin));
            }
        }
        all
    }

    /// The offset in the template that the byte at `offset` comes from: the character itself, or the tag.
    pub fn offset(&self, offset: usize) -> usize {
        self.find(offset).0
    }

    /// The bytes of `template` that these bytes of the made text come from; tags as a whole.
    pub fn span(&self, template: &str, span: &Range<usize>) -> Range<usize> {
        let start = template.floor_char_boundary(self.offset(span.start));
        if span.is_empty() {
            return start..start;
        }
        let (last, copied) = self.find(span.end - 1);
        let last = template.floor_char_boundary(last);
        let character = || template[last..].chars().next().map_or(0, char::len_utf8);
        let length = if copied { None } else { tag_length(&template[last..]) };
        start..(last + length.unwrap_or_else(character)).max(start)
    }

    fn find(&self, offset: usize) -> (usize, bool) {
        let next = self.pieces.partition_point(|&(start, _, _)| start <= offset);
        match next.checked_sub(1).map(|index| self.pieces[index]) {
            Some((start, origin, true)) => (origin.saturating_add(offset - start), true),
            Some((_, origin, false)) => (origin, false),
            None => (0, true),
        }
    }
}

/// The length of the tag that a text begins with, if it does, in the usual delimiters.
pub fn tag_length(text: &str) -> Option<usize> {
    let close = match text.strip_prefix("{{") {
        Some(rest) if rest.starts_with('{') => "}}}",
        Some(_) => "}}",
        None => return None,
    };
    text.find(close).map(|end| end + close.len())
}
