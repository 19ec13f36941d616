//! Failures: pauses, poisoned events, outages for long, dead letters.

use super::*;

/// Advances the wall clock together with tokio's.
async fn pass(fixture: &DeliveryFixture, span: Duration) {
    let step = Duration::from_mins(1);
    let mut left = span;
    while !left.is_zero() {
        let next = left.min(step);
        fixture.clock.advance(next);
        tokio::time::sleep(next).await;
        left -= next;
    }
}

fn unreachable_program() -> DeliveryOutcome {
    DeliveryOutcome::Unreachable {
        error: "connection refused".into(),
        retry_after: None,
    }
}

fn poisoned(texts: &[String]) -> bool {
    texts.iter().any(|text| text == "5:0")
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for_with_growing_pauses_and_loses_nothing() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|_| unreachable_program());
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    fixture.request(&numbered(&[2, 3, 4], 30)).await;
    pass(&fixture, Duration::from_hours(6)).await;
    let attempts = endpoint.attempts();
    assert!((36..2_000).contains(&attempts.len()), "{}", attempts.len());
    let late = attempts.windows(2).skip(attempts.len() / 2);
    let pauses: Vec<_> = late.map(|pair| pair[1].at - pair[0].at).collect();
    let longest = pauses.iter().max().unwrap();
    assert!(*longest > Duration::from_mins(1) && *longest <= Duration::from_secs(601));
    endpoint.decide(|_| DeliveryOutcome::Delivered);
    let delivered = endpoint.wait_for(90).await;
    assert_in_order(&delivered, &[2, 3, 4], 30);
    assert_eq!(delivered.len(), 90, "each once");
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_event_blocks_its_receiver_only() {
    for outcome in [
        DeliveryOutcome::Refused("422".into()),
        DeliveryOutcome::Failed("500".into()),
    ] {
        let endpoint = ScriptedEndpoint::new();
        let failure = outcome.clone();
        endpoint.decide(move |texts| {
            if poisoned(texts) {
                failure.clone()
            } else {
                DeliveryOutcome::Delivered
            }
        });
        let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
        let fixture = start(memory::stores(), &hooks, RULES);
        let begun = Instant::now();
        fixture.request(&numbered(&[2, 3, 4, 5], 30)).await;
        let delivered = endpoint.wait_for(90).await;
        assert_in_order(&delivered, &[2, 3, 4], 30);
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "{:?}",
            begun.elapsed()
        );
        assert!(!delivered.iter().any(|text| text.starts_with("5:")));
        // It is tried for a day, then its receiver's other events follow.
        pass(&fixture, Duration::from_hours(25)).await;
        let delivered = endpoint.wait_for(119).await;
        let of_five: Vec<_> = delivered.iter().filter(|it| it.starts_with("5:")).collect();
        let expected: Vec<_> = (1..30).map(|number| format!("5:{number}")).collect();
        assert_eq!(of_five, expected.iter().collect::<Vec<_>>());
        let crm = HookName::new("crm").unwrap();
        let letters = fixture.delivery.dead_letters(&crm, None, 10).await.unwrap();
        let [letter] = letters.items.as_slice() else {
            panic!("{letters:?}");
        };
        assert!(letter.attempts > 5, "{}", letter.attempts);
        assert!(
            ["422", "500"].contains(&letter.error.as_str()),
            "{}",
            letter.error
        );
        // A day has some hundred attempts, not thousands.
        let tries = endpoint.attempts();
        let tries = tries.iter().filter(|it| poisoned(&it.texts)).count();
        assert!((20..1_500).contains(&tries), "{tries}");
        // Its replay succeeds once the cause is removed.
        endpoint.decide(|_| DeliveryOutcome::Delivered);
        assert_eq!(fixture.delivery.replay(&crm, None).await.unwrap(), 1);
        let delivered = endpoint.wait_for(120).await;
        assert_eq!(delivered.last().map(String::as_str), Some("5:0"));
        fixture.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_too_many_events_wait_behind_a_poisoned_one_it_is_given_up() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|texts| {
        if poisoned(texts) {
            DeliveryOutcome::Refused("422".into())
        } else {
            DeliveryOutcome::Delivered
        }
    });
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let rules = DeliveryRules {
        batch: 500,
        ..RULES
    };
    let fixture = start(memory::stores(), &hooks, rules);
    let begun = Instant::now();
    fixture.request(&numbered(&[5], 3_000)).await;
    fixture.request(&numbered(&[2], 10)).await;
    let delivered = endpoint.wait_for(3_009).await;
    assert_in_order(&delivered, &[2], 10);
    assert!(
        begun.elapsed() < Duration::from_mins(10),
        "{:?}",
        begun.elapsed()
    );
    let crm = HookName::new("crm").unwrap();
    let letters = fixture.delivery.dead_letters(&crm, None, 10).await.unwrap();
    assert_eq!(letters.items.len(), 1);
    assert!(letters.items[0].error.contains("many later events wait"));
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_answers_500_for_long_is_asked_rarely_and_gets_everything_later() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|_| DeliveryOutcome::Failed("500".into()));
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    let receivers: Vec<u64> = (2..302).collect();
    fixture.request(&numbered(&receivers, 3)).await;
    pass(&fixture, Duration::from_hours(12)).await;
    let attempts = endpoint.attempts().len();
    assert!((72..2_000).contains(&attempts), "{attempts}");
    endpoint.decide(|_| DeliveryOutcome::Delivered);
    let begun = Instant::now();
    let delivered = endpoint.wait_for(900).await;
    assert_in_order(&delivered, &receivers, 3);
    assert!(
        begun.elapsed() < Duration::from_mins(12),
        "{:?}",
        begun.elapsed()
    );
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_reached_for_a_day_leaves_dead_letters_that_can_be_replayed() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|_| unreachable_program());
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    fixture.request(&numbered(&[2, 3], 700)).await;
    pass(&fixture, Duration::from_hours(23)).await;
    fixture.request(&[(4, "0".into())]).await;
    let crm = HookName::new("crm").unwrap();
    let status = fixture.delivery.list().await.unwrap().remove(0);
    assert_eq!(
        status.backlog.dead_letters, 0,
        "not before a day has passed"
    );
    pass(&fixture, Duration::from_hours(2)).await;
    let status = fixture.delivery.list().await.unwrap().remove(0);
    assert_eq!(status.backlog.dead_letters, 1_400);
    assert_eq!(status.backlog.events, 1, "the new event waits");
    assert_eq!(status.statistics.given_up, 1_400);
    let (error, _) = status.statistics.last_failure.unwrap();
    assert_eq!(error, "connection refused");
    endpoint.decide(|_| DeliveryOutcome::Delivered);
    assert_eq!(fixture.delivery.replay(&crm, None).await.unwrap(), 1_400);
    let delivered = endpoint.wait_for(1_401).await;
    assert_in_order(&delivered, &[2, 3], 700);
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_a_program_asks_for_is_kept() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|_| DeliveryOutcome::Unreachable {
        error: "429".into(),
        retry_after: Some(Duration::from_secs(45)),
    });
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    fixture.request(&numbered(&[2], 1)).await;
    pass(&fixture, Duration::from_secs(50)).await;
    let attempts = endpoint.attempts();
    assert_eq!(attempts.len(), 2);
    assert!(attempts[1].at - attempts[0].at >= Duration::from_secs(45));
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_dropped_by_position_or_all() {
    let endpoint = ScriptedEndpoint::new();
    endpoint.decide(|_| unreachable_program());
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let rules = DeliveryRules {
        retry_for: Duration::from_secs(1),
        ..RULES
    };
    let fixture = start(memory::stores(), &hooks, rules);
    fixture.request(&numbered(&[2], 20)).await;
    pass(&fixture, Duration::from_hours(1)).await;
    let crm = HookName::new("crm").unwrap();
    let page = fixture.delivery.dead_letters(&crm, None, 5).await.unwrap();
    assert!(page.more && page.items.len() == 5);
    let some = [page.items[0].position, page.items[1].position];
    assert_eq!(
        fixture
            .delivery
            .drop_letters(&crm, Some(&some))
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        fixture
            .delivery
            .drop_letters(&crm, Some(&some))
            .await
            .unwrap(),
        0
    );
    assert_eq!(fixture.delivery.drop_letters(&crm, None).await.unwrap(), 18);
    let status = fixture.delivery.list().await.unwrap().remove(0);
    assert_eq!(status.backlog.dead_letters, 0);
    fixture.stop().await;
}
