//! Bytes as they are read, cut into text at character borders.
//!
//! A sequence that is not complete yet waits for the next read (at most 3 bytes); bytes that can never
//! become a character turn into U+FFFD, as `String::from_utf8_lossy` does it for the whole.

/// See the module.
#[derive(Debug, Default)]
pub struct Utf8Splitter {
    incomplete: Vec<u8>,
}

impl Utf8Splitter {
    /// The text that is complete with these bytes; it may be empty.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.incomplete.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.incomplete.len());
        let mut rest = self.incomplete.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.incomplete.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    // `valid` was just found to be UTF-8: nothing is replaced here
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.incomplete = after.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[bad..];
                }
            }
        }
    }

    /// At the end of input: what was waiting will never be complete.
    pub fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.incomplete).is_empty() {
            ""
        } else {
            "\u{fffd}"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut splitter = Utf8Splitter::default();
        assert_eq!(splitter.push(&[b'a', 0xf0, 0x9f]), "a");
        assert_eq!(splitter.push(&[0x8c]), "");
        assert_eq!(splitter.push(&[0x8a, b'b']), "\u{1f30a}b");
        assert_eq!(splitter.finish(), "");
    }

    #[test]
    fn what_never_completes_is_replaced() {
        let mut splitter = Utf8Splitter::default();
        assert_eq!(splitter.push(&[0xff, b'a', 0xe2, 0x82]), "\u{fffd}a");
        assert_eq!(splitter.push(b"b"), "\u{fffd}b");
        assert_eq!(splitter.push(&[0xe2]), "");
        assert_eq!(splitter.finish(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn wherever_it_is_cut_it_reads_like_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..200, 0..20)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut splitter = Utf8Splitter::default();
            let mut text = String::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                text.push_str(&splitter.push(&bytes[from..cut]));
                from = cut;
            }
            text.push_str(splitter.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn text_in_any_pieces_is_the_same_text(text in "\\PC{0,80}", size in 1usize..7) {
            let mut splitter = Utf8Splitter::default();
            let read: String = text.as_bytes().chunks(size).map(|chunk| splitter.push(chunk)).collect();
            prop_assert_eq!(read + splitter.finish(), text);
        }
    }
}
