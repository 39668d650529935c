//! A text cut into pieces like a language model's tokens: words with the space before them, long ones
//! in several pieces. Joined, they are the text.

/// Characters of one piece, its leading white space not counted.
const PIECE: usize = 6;

/// See the module.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (token, after) = rest.split_at(next_border(rest));
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// Where the first token ends: after white space, up to `PIECE` characters of one kind.
fn next_border(text: &str) -> usize {
    let mut taken = 0;
    let mut kind = None;
    for (at, c) in text.char_indices() {
        let this = Kind::of(c);
        match kind {
            // a token may begin with white space, but not go on with it
            None | Some(Kind::Space) => {}
            Some(kind) if kind != this => return at,
            Some(_) => {}
        }
        if this != Kind::Space {
            taken += 1;
            if taken > PIECE {
                return at;
            }
        } else if at >= PIECE * 4 {
            return at;
        }
        kind = Some(this);
    }
    text.len()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Word,
    Sign,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            c if c.is_whitespace() => Self::Space,
            c if c.is_alphanumeric() => Self::Word,
            _ => Self::Sign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_with_their_space_and_long_ones_in_pieces() {
        assert_eq!(
            tokens("A self-hosted broker."),
            ["A", " self", "-", "hosted", " broker", "."]
        );
        assert_eq!(tokens("realtime  \n x"), ["realti", "me", "  \n x"]);
    }

    proptest! {
        #[test]
        fn joined_they_are_the_text(text in "(\\PC|\\s){0,120}") {
            let tokens = tokens(&text);
            prop_assert!(tokens.iter().all(|token| !token.is_empty()));
            prop_assert_eq!(tokens.concat(), text);
        }
    }
}
