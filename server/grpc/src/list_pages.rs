//! Lists that are answered in pages, and never with more than a gRPC client takes by default.
//!
//! gim's clients request a whole list. They get as much of it as fits; gimlet's own field says
//! whether there is more.

use std::future::Future;

use gimlet_core::error::RequestRefusal;
use gimlet_core::list::{self, AnswerBounds};
use gimlet_core::page::ListPage;
use prost::Message;

/// Largest number of bytes of an answer that a gRPC client with its defaults takes: 4 MiB, less the
/// room for what surrounds the items.
pub(super) const MAX_ANSWER_BYTES: usize = (4 << 20) - 1_024;

/// Reads a list after `after` until `limit` items are read, or the answer is full, or the list
/// ends. Returns the items, and whether there are more.
pub(super) async fn fill<Id, Item, Wire, Read, Reading>(
    after: Option<Id>,
    limit: i32,
    read: Read,
    convert: impl Fn(Item) -> (Id, Wire),
) -> Result<(Vec<Wire>, bool), RequestRefusal>
where
    Wire: Message,
    Read: Fn(Option<Id>, usize) -> Reading,
    Reading: Future<Output = Result<ListPage<Item>, RequestRefusal>>,
    Id: Copy,
{
    let bounds = AnswerBounds::requested(limit.into(), MAX_ANSWER_BYTES)?;
    let encode = move |item| {
        let (id, wire) = convert(item);
        let size = size(&wire);
        (id, wire, size)
    };
    let page = list::fill(after, bounds, read, encode).await?;
    Ok((page.items, page.more))
}

/// Refuses an answer whose size the request determines, if it is larger than a client takes.
pub(super) fn check_size(field: &str, answer: &impl Message) -> Result<(), RequestRefusal> {
    let bytes = answer.encoded_len();
    if bytes <= MAX_ANSWER_BYTES {
        return Ok(());
    }
    Err(RequestRefusal::bad(format!(
        "the answer to these {field} is {bytes} bytes; at most {MAX_ANSWER_BYTES} are allowed: ask for fewer"
    )))
}

/// Bytes of an item in a repeated field with a number up to 15.
fn size(item: &impl Message) -> usize {
    let length = item.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use gimlet_proto::pb;
    use prost::Message as _;

    use super::*;

    /// A page of a group whose members have the longest profiles that are allowed.
    fn page(
        members: u64,
        after: Option<u64>,
        limit: usize,
    ) -> Ready<Result<ListPage<u64>, RequestRefusal>> {
        let first = after.unwrap_or(0) + 1;
        let last = members.min(first - 1 + limit as u64);
        ready(Ok(ListPage {
            items: (first..=last).collect(),
            more: last < members,
        }))
    }

    fn member(id: u64) -> (u64, pb::GroupMember) {
        let member = pb::GroupMember {
            user_id: i64::try_from(id).unwrap(),
            nickname: "n".repeat(255),
            avatar_url: "a".repeat(512),
            user_extra: "e".repeat(1_024),
            ..Default::default()
        };
        (id, member)
    }

    async fn list(members: u64, after: Option<u64>, limit: i32) -> (Vec<pb::GroupMember>, bool) {
        let read = |after, limit| page(members, after, limit);
        fill(after, limit, read, member).await.unwrap()
    }

    #[tokio::test]
    async fn p10_a_whole_list_is_cut_before_what_a_client_takes_by_default() {
        let (members, has_more) = list(10_000, None, 0).await;
        assert!(has_more);
        let answer = pb::GetGroupMembersResp { members, has_more };
        let length = answer.encoded_len();
        assert!(length <= 4 << 20, "{length}");
        assert!(length > (4 << 20) - 4_096, "as much as fits: {length}");
    }

    /// gim's and fim's clients send no limit and know no pages.
    #[tokio::test]
    async fn p10_a_request_without_a_limit_gets_the_largest_group_whole() {
        let usual = |id| {
            let (id, mut member) = member(id);
            member.user_extra.truncate(400 - 20);
            (member.nickname, member.avatar_url) = (String::new(), String::new());
            (id, member)
        };
        let read = |after, limit| page(10_000, after, limit);
        let (members, has_more) = fill(None, 0, read, usual).await.unwrap();
        assert!(members.iter().all(|it| it.encoded_len() > 380));
        assert_eq!((members.len(), has_more), (10_000, false));
    }

    #[tokio::test]
    async fn p10_pages_make_up_the_whole_list() {
        for (limit, asks) in [(0, 5), (700, 15), (5_000, 10)] {
            let (mut seen, mut after) = (Vec::new(), None);
            for ask in 1.. {
                let (members, more) = list(10_000, after, limit).await;
                seen.extend(members.iter().map(|it| it.user_id));
                after = seen.last().map(|id| id.cast_unsigned());
                if !more {
                    assert_eq!(ask, asks, "limit {limit}");
                    break;
                }
            }
            assert_eq!(seen, (1..=10_000).collect::<Vec<_>>());
        }
        assert_eq!(list(0, None, 0).await, (vec![], false));
        assert_eq!(list(3, None, 3).await.0.len(), 3);
        assert!(!list(3, None, 3).await.1);
    }

    #[tokio::test]
    async fn p10_an_answer_as_long_as_its_request_is_refused_when_it_is_too_long() {
        let users = |count: u64| pb::GetGroupMembersResp {
            members: (1..=count).map(|id| member(id).1).collect(),
            ..Default::default()
        };
        assert_eq!(check_size("user_ids", &users(2_000)), Ok(()));
        let refused = check_size("user_ids", &users(3_000))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("user_ids is 5"), "{refused}");
        assert!(refused.ends_with("ask for fewer"), "{refused}");
    }

    #[tokio::test]
    async fn a_negative_limit_is_refused() {
        let read = |after, limit| page(1, after, limit);
        let refused = fill(None, -1, read, member).await.unwrap_err();
        assert!(refused.to_string().starts_with("limit is -1;"), "{refused}");
    }
}
