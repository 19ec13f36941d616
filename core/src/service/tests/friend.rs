//! Friends: requests, agreement, and their pushes.

use super::*;

impl ServiceFixture {
    pub(super) async fn ask(&self, by: u64, whom: u64) -> Result<(), RequestRefusal> {
        let (remarks, text) = (format!("for {whom}"), "it is me".to_owned());
        self.service
            .add_friend(user(by), user(whom), remarks, text)
            .await
    }

    pub(super) async fn agree(&self, by: u64, to: u64) -> Result<(), RequestRefusal> {
        self.service
            .agree_friend(user(by), user(to), String::new())
            .await
    }

    async fn friends_of(&self, n: u64) -> Vec<u64> {
        let friends = self
            .service
            .friends(user(n), None, 500)
            .await
            .unwrap()
            .items;
        friends
            .iter()
            .map(|(friend, _)| friend.user.get())
            .collect()
    }
}

#[tokio::test]
async fn a_request_is_pushed_to_the_friend_and_the_agreement_to_the_requester() {
    let world = service_fixture();
    world.ask(1, 2).await.unwrap();
    world.ask(1, 2).await.unwrap();
    assert_eq!(world.pushes(2).await, ["100"]);
    let told = &world.texts(2).await[0];
    assert!(told.contains("name1") && told.contains("it is me"));
    assert!(world.friends_of(1).await.is_empty());
    world.agree(2, 1).await.unwrap();
    world.agree(2, 1).await.unwrap();
    assert_eq!(world.pushes(1).await, ["101"]);
    assert_eq!(world.friends_of(1).await, [2]);
    assert_eq!(world.friends_of(2).await, [1]);
    assert_eq!(
        world.ask(1, 2).await,
        Err(RequestRefusal::AlreadyFriends(user(2)))
    );
    assert_eq!(
        world.ask(2, 1).await,
        Err(RequestRefusal::AlreadyFriends(user(1)))
    );
    assert_eq!(world.sink.entries(), [(2, 1), (1, 1)]);
    let friends = world
        .service
        .friends(user(1), None, 500)
        .await
        .unwrap()
        .items;
    assert_eq!(friends[0].0.remarks, "for 2");
    assert_eq!(friends[0].1.as_ref().unwrap().profile.nickname, "name2");
}

#[tokio::test]
async fn x1_two_who_ask_each_other_become_friends() {
    let world = service_fixture();
    world.ask(1, 2).await.unwrap();
    world.ask(2, 1).await.unwrap();
    world.agree(2, 1).await.unwrap();
    assert_eq!(world.friends_of(1).await, [2]);
    assert_eq!(world.friends_of(2).await, [1]);
    world.agree(1, 2).await.unwrap();
    assert_eq!(
        world.ask(1, 2).await,
        Err(RequestRefusal::AlreadyFriends(user(2)))
    );
}

#[tokio::test]
async fn one_asks_others_that_exist() {
    let world = service_fixture();
    assert_eq!(world.ask(1, 1).await.unwrap_err().code(), 10001);
    let unknown = world.ask(1, 9_999).await;
    assert_eq!(unknown, Err(RequestRefusal::NoSuchUser(user(9_999))));
    assert_eq!(world.agree(1, 2).await.unwrap_err().code(), 10001);
    assert_eq!(world.agree(1, 1).await.unwrap_err().code(), 10001);
}

#[tokio::test]
async fn what_one_keeps_of_a_friend_is_set_field_by_field() {
    let world = service_fixture();
    world.ask(1, 2).await.unwrap();
    world.agree(2, 1).await.unwrap();
    let service = &world.service;
    let (one, two) = (user(1), user(2));
    let kept = service.set_friend(one, two, None, Some("x")).await.unwrap();
    assert_eq!((&*kept.remarks, &*kept.extra), ("for 2", "x"));
    let kept = service
        .friends(one, None, 500)
        .await
        .unwrap()
        .items
        .remove(0)
        .0;
    assert_eq!((&*kept.remarks, &*kept.extra), ("for 2", "x"));
    let stranger = service.set_friend(one, user(3), Some("a"), None).await;
    let refusal = stranger.unwrap_err();
    assert_eq!(refusal.code(), 10001);
    assert!(refusal.to_string().contains("AddFriend"), "{refusal}");
    let long = "x".repeat(2_000);
    let refusal = service.set_friend(one, two, None, Some(&long)).await;
    assert_eq!(refusal.unwrap_err().code(), 10001);
}

#[tokio::test(start_paused = true)]
async fn every_change_of_a_friendship_takes_from_the_users_rate() {
    let limits = Limits {
        send_rate: 1,
        send_burst: 1,
        ..Limits::default()
    };
    let world = service_fixture_with(memory::stores(), limits, ServerPolicy::default());
    world.ask(1, 2).await.unwrap();
    world.agree(2, 1).await.unwrap();
    let set = world.service.set_friend(user(2), user(1), Some("x"), None);
    let refused = [
        world.ask(1, 2).await,
        world.agree(2, 1).await,
        set.await.map(drop),
    ];
    for refusal in refused {
        let Err(RequestRefusal::RateLimited { retry_after }) = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!(retry_after, Duration::from_secs(1));
    }
}
