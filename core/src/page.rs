//! Pages: each list is read in bounded, ordered parts (law 12).

/// Limit of one page. A page has at least one item if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Maximum number of items.
    pub items: usize,
    /// Content bytes: the page ends with the item that passes them. An item that reaches them
    /// exactly does not end the page.
    pub bytes: usize,
}

impl PageLimit {
    /// Limits a page by its number of items alone.
    #[must_use]
    pub const fn items(items: usize) -> Self {
        Self {
            items,
            bytes: usize::MAX,
        }
    }
}

/// A part of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// True if the list continues after the last item.
    pub more: bool,
}

impl<T> ListPage<T> {
    /// Makes the last page of a list.
    #[must_use]
    pub const fn last(items: Vec<T>) -> Self {
        Self { items, more: false }
    }
}

impl<T> Default for ListPage<T> {
    fn default() -> Self {
        Self::last(Vec::new())
    }
}
