//! The judge of events: compares the events that a program received with the inboxes.
//!
//! The inboxes are the truth: an event is stored in the same step as its message, so every stored message
//! has an event, answered or not. Repeats are allowed, gaps are not: the first arrivals of a receiver's
//! events must be in the order of its inbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// An event that a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedEvent {
    /// Id of the event.
    pub(crate) id: String,
    /// Its receiver, for example `user7`.
    pub(crate) receiver: String,
    /// Text of its message.
    pub(crate) text: String,
}

/// Everything that a program printed, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventLog {
    /// The events of genuine requests.
    pub(crate) events: Vec<ReceivedEvent>,
    /// Number of requests whose signature was wrong.
    pub(crate) forged: usize,
}

/// The stored messages: the texts of each receiver, in the order of its inbox.
pub(crate) type StoredMessages = BTreeMap<String, Vec<String>>;

/// Broken promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventFindings {
    /// Messages without an event, and answered sends without a message.
    pub(crate) lost: usize,
    /// Events that came before an earlier event of their receiver.
    pub(crate) disordered: usize,
    /// Events of messages that are not stored.
    pub(crate) unknown: usize,
    /// Messages with several ids of events, and ids with several messages.
    pub(crate) confused: usize,
    /// Requests with a wrong signature.
    pub(crate) forged: usize,
    /// The first examples.
    pub(crate) examples: Vec<String>,
}

/// Largest number of examples that are kept.
const MAX_EXAMPLES: usize = 10;

impl EventFindings {
    /// Judges the events of one program. `answered` has the texts of all sends that were answered.
    pub(crate) fn judge(
        stored: &StoredMessages,
        answered: &BTreeSet<String>,
        log: &EventLog,
    ) -> Self {
        let mut findings = Self {
            forged: log.forged,
            ..Self::default()
        };
        let mut positions = HashMap::new();
        for (receiver, texts) in stored {
            for (at, text) in texts.iter().enumerate() {
                positions.insert((receiver.as_str(), text.as_str()), at);
            }
        }
        let present: BTreeSet<&String> = stored.values().flatten().collect();
        for text in answered.iter().filter(|text| !present.contains(text)) {
            findings.lost += 1;
            findings.example(format!("the answered message {text} is in no inbox"));
        }
        let mut next: BTreeMap<&str, usize> = BTreeMap::new();
        let mut arrived = BTreeSet::new();
        let mut ids: HashMap<&str, &str> = HashMap::new();
        let mut texts: HashMap<&str, &str> = HashMap::new();
        for event in &log.events {
            let key = (event.receiver.as_str(), event.text.as_str());
            let Some(&at) = positions.get(&key) else {
                findings.unknown += 1;
                findings.example(format!("{event:?} is of no stored message"));
                continue;
            };
            let same_id = *ids.entry(key.1).or_insert(&event.id) == event.id;
            let same_text = *texts.entry(&event.id).or_insert(key.1) == key.1;
            if !(same_id && same_text) {
                findings.confused += 1;
                findings.example(format!("{event:?} came with another id before"));
            }
            let next = next.entry(key.0).or_default();
            if at > *next {
                findings.disordered += 1;
                let expected = stored.get(key.0).and_then(|all| all.get(*next));
                findings.example(format!("{event:?} came before {expected:?}"));
            }
            *next = (*next).max(at + 1);
            arrived.insert(key);
        }
        for (receiver, texts) in stored {
            for text in texts {
                if !arrived.contains(&(receiver.as_str(), text.as_str())) {
                    findings.lost += 1;
                    findings.example(format!("the event of {text} to {receiver} never came"));
                }
            }
        }
        findings
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(text);
        }
    }

    /// Returns whether every promise was kept.
    pub(crate) const fn is_clean(&self) -> bool {
        let kinds = [self.lost, self.disordered, self.unknown, self.confused];
        matches!(kinds, [0, 0, 0, 0]) && self.forged == 0
    }
}

impl fmt::Display for EventFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} out of order, {} of no message, {} with several ids, {} forged",
            self.lost, self.disordered, self.unknown, self.confused, self.forged
        )?;
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}

/// Plants each fault in a history without one: the judge finds it, and nothing else.
pub(crate) fn find_planted_faults() {
    let texts = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    let stored = StoredMessages::from([
        ("user1".to_owned(), texts(0..5)),
        ("group1".to_owned(), texts(5..10)),
    ]);
    let answered: BTreeSet<_> = texts(0..9).into_iter().collect();
    let event = |receiver: &str, text: &str| ReceivedEvent {
        id: format!("id of {text}"),
        receiver: receiver.to_owned(),
        text: text.to_owned(),
    };
    let mut clean = EventLog::default();
    for (first, second) in texts(0..5).iter().zip(&texts(5..10)) {
        let pair = [event("user1", first), event("group1", second)];
        // Repeats of a whole request are allowed.
        clean.events.extend(pair.clone());
        clean.events.extend(pair);
    }
    let judge = |log: &EventLog| EventFindings::judge(&stored, &answered, log);
    let counts = |found: &EventFindings| {
        let EventFindings {
            lost,
            disordered,
            unknown,
            confused,
            forged,
            ..
        } = *found;
        [lost, disordered, unknown, confused, forged]
    };
    assert!(judge(&clean).is_clean(), "{}", judge(&clean));
    let planted = |change: &dyn Fn(&mut EventLog)| {
        let mut log = clean.clone();
        change(&mut log);
        counts(&judge(&log))
    };
    // The last event of a receiver is lost: nothing else shows it.
    let loss = planted(&|log| log.events.retain(|it| it.text != "4"));
    assert_eq!(loss, [1, 0, 0, 0, 0]);
    // A lost event in the middle is a gap as well.
    let gap = planted(&|log| log.events.retain(|it| it.text != "2"));
    assert_eq!(gap, [1, 1, 0, 0, 0]);
    let disorder = planted(&|log| {
        log.events.retain(|it| it.text != "2");
        log.events.push(event("user1", "2"));
    });
    assert_eq!(disorder, [0, 1, 0, 0, 0]);
    let unknown = planted(&|log| log.events.push(event("user1", "17")));
    assert_eq!(unknown, [0, 0, 1, 0, 0]);
    let misdirected = planted(&|log| log.events.push(event("user1", "7")));
    assert_eq!(misdirected, [0, 0, 1, 0, 0]);
    let confused = planted(&|log| {
        let id = "another".to_owned();
        let repeat = event("user1", "1");
        log.events.push(ReceivedEvent { id, ..repeat });
    });
    assert_eq!(confused, [0, 0, 0, 1, 0]);
    let forged = planted(&|log| log.forged = 1);
    assert_eq!(forged, [0, 0, 0, 0, 1]);
    let mut unstored = answered.clone();
    unstored.insert("18".to_owned());
    let found = EventFindings::judge(&stored, &unstored, &clean);
    assert_eq!(counts(&found), [1, 0, 0, 0, 0]);
}
