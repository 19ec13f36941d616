//! Cases of `DeviceStore`: registration, generations (law 7) and acks (law 9).

use super::StoreFixture;
use super::helpers::{LATER, NOW, device, together, user};
use crate::id::{DeviceId, Generation};
use crate::seq::Seq;
use crate::store::{AckMark, Device, DeviceInfo};

fn info() -> DeviceInfo {
    DeviceInfo {
        kind: 5,
        brand: "😀".into(),
        model: "a rather long name of a model, longer than gim allows".into(),
        system_version: "17.0".into(),
        sdk_version: String::new(),
    }
}

pub(super) async fn a_registered_device_is_as_it_said(it: StoreFixture) {
    let s = &it.stores.device;
    assert_eq!(s.get(device(1)).await.unwrap(), None);
    s.register(device(1), &info(), NOW).await.unwrap();
    let mut want = Device {
        id: device(1),
        info: info(),
        user: None,
        generation: Generation(0),
        created_at: NOW,
        updated_at: NOW,
    };
    assert_eq!(s.get(device(1)).await.unwrap().as_ref(), Some(&want));
    // a sign-in does not change the creation time.
    s.raise(&[(device(1), user(7))], LATER).await.unwrap();
    want.user = Some(user(7));
    want.generation = Generation(1);
    want.updated_at = LATER;
    assert_eq!(s.get(device(1)).await.unwrap(), Some(want));
    assert_eq!(s.get(device(2)).await.unwrap(), None);
}

pub(super) async fn each_sign_in_raises_the_generation(it: StoreFixture) {
    let s = &it.stores.device;
    s.register(device(1), &info(), NOW).await.unwrap();
    for n in 1..=5 {
        // C-5: the device passes from user to user, and the generation keeps rising.
        let raised = s.raise(&[(device(1), user(n))], NOW).await.unwrap();
        assert_eq!(raised, [Generation(n)]);
        assert_eq!(s.get(device(1)).await.unwrap().unwrap().user, Some(user(n)));
    }
    assert_eq!(s.raise(&[], NOW).await.unwrap(), []);
}

pub(super) async fn a_device_named_twice_is_raised_twice(it: StoreFixture) {
    let s = &it.stores.device;
    for n in 1..=2 {
        s.register(device(n), &info(), NOW).await.unwrap();
    }
    let batch = [(2, 1), (1, 2), (2, 3), (2, 4), (1, 5)].map(|(d, u)| (device(d), user(u)));
    let raised = s.raise(&batch, NOW).await.unwrap();
    assert_eq!(raised, [1, 1, 2, 3, 2].map(Generation));
    let now = s.get(device(2)).await.unwrap().unwrap();
    assert_eq!((now.generation, now.user), (Generation(3), Some(user(4))));
}

/// gim lets a device sign in that was never registered.
pub(super) async fn an_unregistered_device_counts_too(it: StoreFixture) {
    let s = &it.stores.device;
    for n in 1..=3 {
        let raised = s.raise(&[(device(9), user(1))], NOW).await.unwrap();
        assert_eq!(raised, [Generation(n)]);
    }
    assert_eq!(
        s.get(device(9)).await.unwrap(),
        None,
        "it is still not registered"
    );
}

pub(super) async fn a_device_is_known_by_each_row_that_it_has(it: StoreFixture) {
    let s = &it.stores.device;
    let known = async |of, on| s.is_known(user(of), device(on)).await.unwrap();
    for n in 1..=3 {
        assert!(!known(1, n).await, "{n}");
    }
    s.register(device(1), &info(), NOW).await.unwrap();
    s.raise(&[(device(2), user(1))], NOW).await.unwrap();
    let ack = AckMark {
        user: user(1),
        device: device(3),
        upto: Seq::new(1),
    };
    s.ack(&[ack]).await.unwrap();
    for n in 1..=3 {
        assert!(known(1, n).await, "{n}");
    }
    // An ack is of one user only; a device passes from user to user.
    assert!(known(2, 1).await && known(2, 2).await && !known(2, 3).await);
    assert!(!known(1, 4).await);
}

/// Law 7: no generation is given twice, even if many devices sign in at once.
pub(super) async fn no_generation_is_given_twice(it: StoreFixture) {
    let s = it.stores;
    let raised = together(64, |i| {
        let s = s.clone();
        async move {
            // In both orders, so that an engine with row locks could deadlock.
            let mut batch = [(device(1), user(i + 1)), (device(2), user(i + 1))];
            if i % 2 == 0 {
                batch.reverse();
            }
            let raised = s.device.raise(&batch, NOW).await.unwrap();
            let of = |id: DeviceId| batch.iter().zip(&raised).find(|((it, _), _)| *it == id);
            (of(device(1)).unwrap().1.0, of(device(2)).unwrap().1.0)
        }
    })
    .await;
    let (mut first, mut second): (Vec<_>, Vec<_>) = raised.into_iter().unzip();
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!(first, (1..=64).collect::<Vec<_>>());
    assert_eq!(second, first);
}

fn mark(who: u64, on: u64, upto: u64) -> AckMark {
    AckMark {
        user: user(who),
        device: device(on),
        upto: Seq::new(upto),
    }
}

/// M-8: in gim an ack can go back.
pub(super) async fn acks_only_go_forward(it: StoreFixture) {
    let s = &it.stores.device;
    assert_eq!(s.acked(user(1)).await.unwrap(), []);
    s.ack(&[]).await.unwrap();
    for (upto, now) in [(5, 5), (3, 5), (0, 5), (9, 9), (9, 9)] {
        s.ack(&[mark(1, 4, upto)]).await.unwrap();
        assert_eq!(
            s.acked(user(1)).await.unwrap(),
            [(device(4), Seq::new(now))]
        );
    }
    s.ack(&[mark(1, 4, 11), mark(1, 4, 20), mark(1, 4, 15)])
        .await
        .unwrap();
    assert_eq!(s.acked(user(1)).await.unwrap(), [(device(4), Seq::new(20))]);
}

/// M-11: an ack of one device does not count for another device or another user.
pub(super) async fn each_device_acks_for_itself(it: StoreFixture) {
    let s = &it.stores.device;
    let acks = [
        mark(1, 30, 3),
        mark(1, 4, 7),
        mark(2, 4, 1),
        mark(1, 200, 2),
    ];
    s.ack(&acks).await.unwrap();
    let want = [(4, 7), (30, 3), (200, 2)].map(|(on, upto)| (device(on), Seq::new(upto)));
    assert_eq!(s.acked(user(1)).await.unwrap(), want);
    assert_eq!(s.acked(user(2)).await.unwrap(), [(device(4), Seq::new(1))]);
}

pub(super) async fn acks_at_once_leave_the_largest(it: StoreFixture) {
    let s = it.stores;
    together(64, |i| {
        let s = s.clone();
        async move {
            let upto = 1 + (i * 37) % 64;
            s.device
                .ack(&[mark(1, 2, upto), mark(1, 1, upto)])
                .await
                .unwrap();
        }
    })
    .await;
    let want = [1, 2].map(|on| (device(on), Seq::new(64)));
    assert_eq!(s.device.acked(user(1)).await.unwrap(), want);
}
