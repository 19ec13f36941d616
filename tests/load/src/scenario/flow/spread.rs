//! Spread of messages: the answer to each, and the number of its deliveries that are still to come.
//! Knows no connection and no clock.

use std::collections::VecDeque;

use crate::judge::StreamId;

/// Message that has not reached all its receivers.
#[derive(Clone, Copy, Debug)]
struct SpreadingMessage {
    /// Index of the sender.
    member: u32,
    left: u32,
    answered: bool,
}

impl SpreadingMessage {
    const fn has_ended(self) -> bool {
        self.answered && self.left == 0
    }
}

/// Spreading messages of a stream, from number `first` on.
#[derive(Debug, Default)]
struct StreamSpread {
    first: u32,
    messages: VecDeque<SpreadingMessage>,
}

impl StreamSpread {
    fn get_mut(&mut self, number: u32) -> Option<&mut SpreadingMessage> {
        let at = number.checked_sub(self.first)?;
        self.messages.get_mut(at as usize)
    }

    /// Removes the ended messages at the front.
    fn forget(&mut self) {
        while self.messages.front().is_some_and(|it| it.has_ended()) {
            self.messages.pop_front();
            self.first += 1;
        }
    }
}

/// Effect of one delivery of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryEffect {
    /// True for the last delivery.
    pub(super) last: bool,
    /// Sender of the message, if this delivery ended it.
    pub(super) ended: Option<u32>,
}

/// Spreading messages of all streams.
#[derive(Debug, Default)]
pub(super) struct MessageSpread(Vec<StreamSpread>);

impl MessageSpread {
    fn get_mut(&mut self, stream: StreamId) -> Option<&mut StreamSpread> {
        self.0.get_mut(stream as usize)
    }

    /// Begins to wait for the deliveries of the stream's next message.
    pub(super) fn begin(&mut self, stream: StreamId, member: u32, listeners: u32) {
        let at = stream as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, StreamSpread::default);
        }
        if let Some(wave) = self.get_mut(stream) {
            wave.messages.push_back(SpreadingMessage {
                member,
                left: listeners,
                answered: false,
            });
        }
    }

    /// Records the answer to a message. Returns true if that ended the message.
    pub(super) fn answered(&mut self, stream: StreamId, number: u32) -> bool {
        let Some(wave) = self.get_mut(stream) else {
            return false;
        };
        let Some(it) = wave.get_mut(number) else {
            return false;
        };
        it.answered = true;
        let ended = it.has_ended();
        wave.forget();
        ended
    }

    /// Records one delivery of a message.
    pub(super) fn reached(&mut self, stream: StreamId, number: u32) -> DeliveryEffect {
        let Some(wave) = self.get_mut(stream) else {
            return DeliveryEffect::default();
        };
        let Some(it) = wave.get_mut(number) else {
            return DeliveryEffect::default();
        };
        let last = it.left == 1;
        // A message that was given up has ended already.
        let ended_before = it.has_ended();
        it.left = it.left.saturating_sub(1);
        let ended = (!ended_before && it.has_ended()).then_some(it.member);
        wave.forget();
        DeliveryEffect { last, ended }
    }

    /// Gives up a failed message: its deliveries are not awaited.
    pub(super) fn give_up(&mut self, stream: StreamId, number: u32) {
        if let Some(it) = self.get_mut(stream).and_then(|wave| wave.get_mut(number)) {
            (it.left, it.answered) = (0, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(last: bool, ended: Option<u32>) -> DeliveryEffect {
        DeliveryEffect { last, ended }
    }

    #[test]
    fn a_message_ends_with_its_answer_or_its_last_delivery() {
        let mut waves = MessageSpread::default();
        waves.begin(3, 9, 2);
        assert_eq!(waves.reached(3, 0), reach(false, None));
        assert!(!waves.answered(3, 0));
        assert_eq!(waves.reached(3, 0), reach(true, Some(9)));
        waves.begin(3, 9, 1);
        assert_eq!(waves.reached(3, 1), reach(true, None));
        assert!(waves.answered(3, 1));
    }

    #[test]
    fn messages_end_in_any_order() {
        let mut waves = MessageSpread::default();
        waves.begin(0, 4, 1);
        waves.begin(0, 5, 1);
        assert!(!waves.answered(0, 1));
        assert_eq!(waves.reached(0, 1), reach(true, Some(5)));
        waves.give_up(0, 0);
        waves.begin(0, 4, 1);
        assert!(!waves.answered(0, 2));
        assert_eq!(waves.reached(0, 2), reach(true, Some(4)));
        assert_eq!(
            waves.reached(0, 2),
            DeliveryEffect::default(),
            "it is forgotten"
        );
    }

    #[test]
    fn a_message_given_up_that_comes_has_ended_before() {
        let mut waves = MessageSpread::default();
        waves.begin(0, 4, 2);
        waves.begin(0, 5, 2);
        waves.give_up(0, 1);
        assert_eq!(waves.reached(0, 1), reach(false, None));
        assert_eq!(waves.reached(0, 1), reach(false, None));
    }
}
