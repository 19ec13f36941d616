//! Cases of `FriendStore`: requests, agreements, and their pushes.

use super::StoreFixture;
use super::helpers::{NOW, contents, last, send, stored, together, user, users};
use crate::id::UserId;
use crate::store::{
    AppendRequest, Friend, FriendAcceptOutcome, FriendRequestOutcome, StoreErrorKind, StoreSet,
};

fn push(to: u64, content: &str) -> Vec<AppendRequest> {
    vec![send(&[user(to)], content.to_owned())]
}

async fn ask(s: &StoreSet, who: u64, whom: u64) -> FriendRequestOutcome {
    let pushes = push(whom, "asked");
    let asked = s
        .friend
        .request(user(who), user(whom), "r", &pushes, &[], NOW)
        .await;
    asked.unwrap()
}

async fn agree(s: &StoreSet, who: u64, whom: u64) -> FriendAcceptOutcome {
    let pushes = push(whom, "agreed");
    let agreed = s
        .friend
        .agree(user(who), user(whom), "a", &pushes, &[], NOW)
        .await;
    agreed.unwrap()
}

async fn befriend(s: &StoreSet, who: u64, whom: u64) {
    assert!(matches!(
        ask(s, who, whom).await,
        FriendRequestOutcome::Sent(_)
    ));
    assert!(matches!(
        agree(s, whom, who).await,
        FriendAcceptOutcome::Now(_)
    ));
}

async fn friends(s: &StoreSet, who: u64) -> Vec<Friend> {
    s.friend.friends(user(who), None, 100).await.unwrap().items
}

pub(super) async fn a_request_comes_with_its_pushes(it: StoreFixture) {
    let s = &it.stores;
    let FriendRequestOutcome::Sent(pushes) = ask(s, 1, 2).await else {
        panic!("not asked");
    };
    assert_eq!(pushes.len(), 1);
    assert_eq!(stored(pushes[0].clone())[0].0, user(2));
    assert_eq!(contents(s, user(2)).await, ["asked"]);
    // A request alone does not make a friendship.
    for (a, b) in [(1, 2), (2, 1)] {
        assert!(!s.friend.are_friends(user(a), user(b)).await.unwrap());
        assert!(friends(s, a).await.is_empty());
    }
}

pub(super) async fn a_request_is_made_once(it: StoreFixture) {
    let s = &it.stores;
    ask(s, 1, 2).await;
    assert_eq!(ask(s, 1, 2).await, FriendRequestOutcome::Pending);
    agree(s, 2, 1).await;
    assert_eq!(ask(s, 1, 2).await, FriendRequestOutcome::Friends);
    assert_eq!(ask(s, 2, 1).await, FriendRequestOutcome::Friends);
    assert_eq!(contents(s, user(2)).await, ["asked"]);
    assert_eq!(contents(s, user(1)).await, ["agreed"]);
}

pub(super) async fn an_agreement_makes_both_friends(it: StoreFixture) {
    let s = &it.stores;
    let asked = s
        .friend
        .request(user(1), user(2), "Bob 😀", &[], &[], NOW)
        .await
        .unwrap();
    assert_eq!(asked, FriendRequestOutcome::Sent(Vec::new()));
    let pushes = push(1, "agreed");
    let agreed = s
        .friend
        .agree(user(2), user(1), "Ann", &pushes, &[], NOW)
        .await
        .unwrap();
    let FriendAcceptOutcome::Now(pushes) = agreed else {
        panic!("{agreed:?}");
    };
    assert_eq!(pushes.len(), 1);
    for (who, whom, remarks) in [(1, 2, "Bob 😀"), (2, 1, "Ann")] {
        assert!(s.friend.are_friends(user(who), user(whom)).await.unwrap());
        let want = Friend {
            user: user(whom),
            remarks: remarks.into(),
            extra: String::new(),
        };
        assert_eq!(friends(s, who).await, [want]);
    }
    assert_eq!(agree(s, 2, 1).await, FriendAcceptOutcome::Before);
    assert_eq!(agree(s, 1, 2).await, FriendAcceptOutcome::Before);
    assert_eq!(contents(s, user(1)).await, ["agreed"]);
    assert_eq!(last(s, user(2)).await, 0);
}

/// X-1: gim fails half-way when both have asked.
pub(super) async fn mutual_requests_make_one_friendship(it: StoreFixture) {
    let s = &it.stores;
    assert!(matches!(ask(s, 1, 2).await, FriendRequestOutcome::Sent(_)));
    assert!(matches!(ask(s, 2, 1).await, FriendRequestOutcome::Sent(_)));
    assert!(matches!(agree(s, 2, 1).await, FriendAcceptOutcome::Now(_)));
    assert_eq!(agree(s, 1, 2).await, FriendAcceptOutcome::Before);
    for (who, whom) in [(1, 2), (2, 1)] {
        assert!(s.friend.are_friends(user(who), user(whom)).await.unwrap());
        let ids: Vec<UserId> = friends(s, who).await.iter().map(|it| it.user).collect();
        assert_eq!(ids, [user(whom)]);
    }
}

pub(super) async fn there_is_no_agreement_without_a_request(it: StoreFixture) {
    let s = &it.stores;
    assert_eq!(agree(s, 1, 2).await, FriendAcceptOutcome::NoRequest);
    ask(s, 1, 2).await;
    // A user cannot agree to their own request.
    assert_eq!(agree(s, 1, 2).await, FriendAcceptOutcome::NoRequest);
    assert!(!s.friend.are_friends(user(1), user(2)).await.unwrap());
    assert_eq!(contents(s, user(2)).await, ["asked"]);
}

pub(super) async fn a_wrong_push_stops_its_request(it: StoreFixture) {
    let s = &it.stores;
    let wrong = [send(&[user(2)], "asked"), send(&[], "to nobody")];
    let refused = s
        .friend
        .request(user(1), user(2), "", &wrong, &[], NOW)
        .await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Misuse);
    assert_eq!(last(s, user(2)).await, 0);
    assert!(matches!(ask(s, 1, 2).await, FriendRequestOutcome::Sent(_)));
    let refused = s.friend.agree(user(2), user(1), "", &wrong, &[], NOW).await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Misuse);
    assert!(matches!(agree(s, 2, 1).await, FriendAcceptOutcome::Now(_)));
}

pub(super) async fn twenty_requests_at_once_push_once(it: StoreFixture) {
    let s = it.stores;
    for pair in (1..20).step_by(2) {
        let outcomes = together(20, |i| {
            let s = s.clone();
            // From both sides at once.
            async move { ask(&s, pair + i % 2, pair + 1 - i % 2).await }
        })
        .await;
        let asked = outcomes
            .iter()
            .filter(|it| matches!(it, FriendRequestOutcome::Sent(_)));
        assert_eq!(asked.count(), 2);
        let agreed = together(20, |i| {
            let s = s.clone();
            async move { agree(&s, pair + i % 2, pair + 1 - i % 2).await }
        })
        .await;
        let now = agreed
            .iter()
            .filter(|it| matches!(it, FriendAcceptOutcome::Now(_)))
            .count();
        assert_eq!(now, 1, "one friendship");
        let entries = last(&s, user(pair)).await + last(&s, user(pair + 1)).await;
        assert_eq!(entries, 3, "two requests and an agreement");
    }
}

pub(super) async fn a_friend_is_kept_as_the_user_likes(it: StoreFixture) {
    let s = &it.stores;
    let set = async |who, whom, remarks, extra| {
        let done = s
            .friend
            .set(user(who), user(whom), remarks, extra, NOW)
            .await;
        let kept = done.unwrap();
        kept.map(|it| (it.user.get(), it.remarks, it.extra))
    };
    let kept =
        |whom: u64, remarks: &str, extra: &str| Some((whom, remarks.to_owned(), extra.to_owned()));
    assert_eq!(set(1, 2, Some("x"), None).await, None);
    ask(s, 1, 2).await;
    // G4: data that is set while the request waits is kept.
    assert_eq!(set(1, 2, None, Some("e")).await, kept(2, "r", "e"));
    assert_eq!(set(2, 1, Some("x"), None).await, None, "it has not asked");
    assert!(friends(s, 1).await.is_empty());
    agree(s, 2, 1).await;
    assert_eq!(set(1, 2, None, None).await, kept(2, "r", "e"));
    assert_eq!(set(1, 2, None, Some("😀")).await, kept(2, "r", "😀"));
    assert_eq!(set(1, 2, Some("Bob"), None).await, kept(2, "Bob", "😀"));
    let want = Friend {
        user: user(2),
        remarks: "Bob".into(),
        extra: "😀".into(),
    };
    assert_eq!(friends(s, 1).await, [want]);
    assert_eq!(
        friends(s, 2).await[0].remarks,
        "a",
        "the other keeps its own"
    );
}

pub(super) async fn a_mutual_request_keeps_what_was_kept(it: StoreFixture) {
    let s = &it.stores;
    ask(s, 1, 2).await;
    ask(s, 2, 1).await;
    let set = s.friend.set(user(2), user(1), None, Some("e"), NOW).await;
    assert!(set.unwrap().is_some());
    let agreed = s.friend.agree(user(2), user(1), "", &[], &[], NOW).await;
    assert!(matches!(agreed.unwrap(), FriendAcceptOutcome::Now(_)));
    let want = Friend {
        user: user(1),
        remarks: "r".into(),
        extra: "e".into(),
    };
    assert_eq!(friends(s, 2).await, [want]);
}

pub(super) async fn friends_are_paged_by_id(it: StoreFixture) {
    let s = &it.stores;
    for n in (2..=12).rev() {
        befriend(s, 1, n * 3).await;
    }
    for n in [5, 8] {
        ask(s, 1, n).await;
        ask(s, n + 2, 1).await;
    }
    let (mut after, mut read) = (None, Vec::<UserId>::new());
    for (size, more) in [(5, true), (5, true), (1, false)] {
        let page = s.friend.friends(user(1), after, 5).await.unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        read.extend(page.items.iter().map(|it| it.user));
        after = read.last().copied();
    }
    let want: Vec<_> = users(2..=12).iter().map(|it| user(it.get() * 3)).collect();
    assert_eq!(read, want);
}
