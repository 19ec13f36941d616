//! Functions that the in-memory stores share: locks, pages of ordered lists, changed fields.

use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use crate::page::ListPage;

/// Takes a lock of this module. These are std mutexes and not tokio's, because each is held for a
/// short computation and never over an await.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

/// Takes a page of at most `limit` items (at least one) from an ordered list.
pub(super) fn page<T>(items: impl Iterator<Item = T>, limit: usize) -> ListPage<T> {
    page_while(items, limit, |_| true)
}

/// Takes a page that also ends before the first item that does not fit.
pub(super) fn page_while<T>(
    items: impl Iterator<Item = T>,
    limit: usize,
    mut fits: impl FnMut(&T) -> bool,
) -> ListPage<T> {
    let mut taken = Vec::new();
    for item in items {
        if taken.len() >= limit.max(1) || !fits(&item) {
            return ListPage {
                items: taken,
                more: true,
            };
        }
        taken.push(item);
    }
    ListPage::last(taken)
}

/// Returns the range of the ids after `after`.
pub(super) fn above<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    )
}

/// Sets a field if a value is given.
pub(super) fn set(field: &mut String, value: Option<&String>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}
