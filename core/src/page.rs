//! Pages: every list is read in bounded, ordered pieces (law 12).

/// How much one page may hold. A page has at least one item when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// At most this many items.
    pub items: usize,
    /// The page ends with the item that passes this many bytes of content.
    pub bytes: usize,
}

impl PageLimit {
    /// A page bounded by its number of items alone.
    #[must_use]
    pub const fn items(items: usize) -> Self {
        Self {
            items,
            bytes: usize::MAX,
        }
    }
}

/// A piece of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Whether the list goes on behind the last item.
    pub more: bool,
}

impl<T> Page<T> {
    /// A page with nothing behind it.
    #[must_use]
    pub const fn last(items: Vec<T>) -> Self {
        Self { items, more: false }
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self::last(Vec::new())
    }
}
