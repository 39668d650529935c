//! What pieces of memory take: what a bound of memory has to count.

/// What an allocator with size classes takes for a piece of `bytes`: four classes for each power of two, as mimalloc
/// and jemalloc have. glibc's takes less for most sizes.
pub const fn room(bytes: usize) -> usize {
    /// The smallest class, and the step up to eight of them.
    const WORD: usize = 16;
    if bytes <= 8 * WORD {
        return bytes.next_multiple_of(WORD);
    }
    let step = 1 << ((bytes - 1).ilog2() - 2);
    bytes.next_multiple_of(step)
}

/// The same for what is counted: an `Arc` of a `T`.
pub const fn room_of_shared<T>() -> usize {
    room(2 * size_of::<usize>() + size_of::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_up_in_steps() {
        let classes = [
            (0, 0),
            (1, 16),
            (128, 128),
            (129, 160),
            (1024, 1024),
            (1025, 1280),
            (1281, 1536),
            (1793, 2048),
            (2049, 2560),
        ];
        for (bytes, taken) in classes {
            assert_eq!(room(bytes), taken, "{bytes}");
            assert_eq!(room(taken), taken, "a class is its own");
        }
    }
}
