//! Lists for clients: a caller requests a number of items, and gets as many as fit its answer.
//!
//! Each entry point has its own size of an answer; the number of items that a caller may request, and the
//! reads that make up one answer, are the same for all.

use std::future::Future;

use crate::error::RequestRefusal;
use crate::page::ListPage;

/// Largest number of items that a caller can request.
const MAX_REQUESTED_ITEMS: usize = 1_000;

/// Items read from the storage at a time.
const ITEMS_PER_READ: usize = 500;

/// The bounds of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerBounds {
    items: usize,
    bytes: usize,
}

impl AnswerBounds {
    /// Bounds an answer by the number of items that the caller requests, where 0 means as many as
    /// fit, and by the bytes that the caller takes.
    ///
    /// # Errors
    /// The number is negative.
    pub fn requested(limit: i64, bytes: usize) -> Result<Self, RequestRefusal> {
        let items = match usize::try_from(limit) {
            Ok(0) => usize::MAX,
            Ok(limit) => limit.min(MAX_REQUESTED_ITEMS),
            Err(_) => {
                return Err(RequestRefusal::bad(format!(
                    "limit is {limit}; it is the number of items wanted, or 0 for as many as fit"
                )));
            }
        };
        Ok(Self { items, bytes })
    }
}

/// Reads a list after `after` until the requested items are read, or the answer is full, or the
/// list ends. `encode` turns an item into its id, its form in the answer, and the bytes of that
/// form. An answer has at least one item if the list has one.
///
/// # Errors
/// The refusal of a read.
pub async fn fill<Id, Item, Encoded, Read, Reading>(
    after: Option<Id>,
    bounds: AnswerBounds,
    read: Read,
    encode: impl Fn(Item) -> (Id, Encoded, usize),
) -> Result<ListPage<Encoded>, RequestRefusal>
where
    Read: Fn(Option<Id>, usize) -> Reading,
    Reading: Future<Output = Result<ListPage<Item>, RequestRefusal>>,
    Id: Copy,
{
    let (mut after, mut items, mut bytes) = (after, Vec::new(), 0_usize);
    loop {
        let wanted = ITEMS_PER_READ.min(bounds.items - items.len());
        let page = read(after, wanted).await?;
        let more = page.more && !page.items.is_empty();
        for item in page.items {
            let (id, encoded, size) = encode(item);
            bytes = bytes.saturating_add(size);
            if bytes > bounds.bytes && !items.is_empty() {
                return Ok(ListPage { items, more: true });
            }
            after = Some(id);
            items.push(encoded);
        }
        if !more || items.len() >= bounds.items {
            return Ok(ListPage { items, more });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;

    /// Returns the numbers after `after` up to `end`, at most `limit` of them.
    fn numbers(
        end: u64,
        after: Option<u64>,
        limit: usize,
    ) -> Ready<Result<ListPage<u64>, RequestRefusal>> {
        let first = after.unwrap_or_default() + 1;
        let last = end.min(first + limit as u64 - 1);
        ready(Ok(ListPage {
            items: (first..=last).collect(),
            more: last < end,
        }))
    }

    /// Returns an answer of numbers that take ten bytes each.
    async fn answer(end: u64, after: Option<u64>, limit: i64, bytes: usize) -> ListPage<u64> {
        let bounds = AnswerBounds::requested(limit, bytes).unwrap();
        let read = |after, limit| numbers(end, after, limit);
        fill(after, bounds, read, |number| (number, number, 10))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn an_answer_ends_with_the_request_the_bytes_or_the_list() {
        let lengths = [
            (answer(10_000, None, 700, 1 << 20).await, 700, true),
            (answer(10_000, None, 5_000, 1 << 20).await, 1_000, true),
            (answer(10_000, None, 0, 25_009).await, 2_500, true),
            (answer(3, None, 0, 1 << 20).await, 3, false),
            (answer(3, None, 3, 1 << 20).await, 3, false),
            (answer(3, Some(3), 0, 1 << 20).await, 0, false),
            (answer(0, None, 0, 1 << 20).await, 0, false),
        ];
        for (page, length, more) in lengths {
            assert_eq!((page.items.len(), page.more), (length, more));
        }
    }

    #[tokio::test]
    async fn an_item_that_alone_is_too_large_is_answered_alone() {
        let page = answer(3, None, 0, 9).await;
        assert_eq!((page.items, page.more), (vec![1], true));
    }

    #[tokio::test]
    async fn answers_make_up_the_whole_list() {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = answer(10_000, after, 0, 9_999).await;
            seen.extend(page.items);
            after = seen.last().copied();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, (1..=10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_negative_limit_is_refused() {
        let refused = AnswerBounds::requested(-1, 9).unwrap_err().to_string();
        assert!(refused.starts_with("limit is -1;"), "{refused}");
    }
}
