//! Kept reading positions: keys and values are the broker's, the store only seals the values.

use super::whole::walk;
use super::{Batch, Store, StoreError, Unreadable};
use crate::engine::disk::sealed::{seal, unseal};

/// Keys that one step removes.
const REMOVED_AT_ONCE: usize = 10_000;

impl Store {
    /// Every bookmark with its key, or what stands in its place.
    pub fn visit_bookmarks(
        &self,
        mut visit: impl FnMut(&[u8], Result<&[u8], StoreError>),
    ) -> Option<Unreadable> {
        walk(&self.bookmarks, &[], |key, value| {
            let damaged = |_| StoreError::damaged("a kept reading position");
            visit(key, unseal(value).map_err(damaged));
        })
    }

    /// All of them. It is on the disk when this returns.
    pub(super) fn forget_bookmarks(&self) -> Result<(), StoreError> {
        let mut batch = self.batch();
        for guard in self.bookmarks.iter() {
            batch.bookmark(guard.key()?.to_vec(), None);
            if batch.batch.len() >= REMOVED_AT_ONCE {
                std::mem::replace(&mut batch, self.batch()).commit(false)?;
            }
        }
        if !batch.is_empty() {
            batch.commit(false)?;
        }
        self.sync()
    }
}

impl Batch<'_> {
    /// Each key once in a batch: fjall gives all of it the same number.
    pub fn bookmark(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let bookmarks = &self.store.bookmarks;
        match value {
            Some(value) => self.batch.insert(bookmarks, key, seal(value)),
            None => self.batch.remove(bookmarks, key),
        }
    }
}
