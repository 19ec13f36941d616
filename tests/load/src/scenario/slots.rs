//! Numbers for what waits for its answer. A number is free again when it is answered, so that they
//! stay small however long a run is. Serves `flow` and `crew`.

/// Things under way, by their numbers.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// How many are under way.
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// One more is under way; gives its number.
    pub(super) fn put(&mut self, it: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.places.get_mut(slot as usize) {
            *place = Some(it);
        }
        slot
    }

    /// Whether something of this number is under way.
    pub(super) fn has(&self, slot: u32) -> bool {
        matches!(self.places.get(slot as usize), Some(Some(_)))
    }

    /// It ends; `None` if nothing of this number was under way.
    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        let it = self.places.get_mut(slot as usize).and_then(Option::take)?;
        self.free.push(slot);
        Some(it)
    }
}

/// The number of a slot's request on the wire, where 0 is none.
pub(super) fn request_of(slot: u32) -> i64 {
    i64::from(slot) + 1
}

/// The slot that an answer is for; one that is never taken if the wire's number is none of ours.
pub(super) fn slot_of(request: i64) -> u32 {
    u32::try_from(request.saturating_sub(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_it_is_free() {
        let mut slots = Slots::new();
        assert_eq!([slots.put('a'), slots.put('b')], [0, 1]);
        assert!(slots.has(0));
        assert_eq!(slots.take(0), Some('a'));
        assert!(!slots.has(0) && slots.has(1));
        assert_eq!(slots.take(0), None, "it has ended");
        assert_eq!((slots.put('c'), slots.len()), (0, 2));
        assert_eq!(slots.take(7), None, "it was never given");
    }

    #[test]
    fn an_answer_finds_the_slot_of_its_request() {
        for slot in [0, 1, u32::MAX - 1] {
            assert_eq!(slot_of(request_of(slot)), slot);
        }
        for none in [0, i64::MIN, i64::MAX] {
            assert_eq!(slot_of(none), u32::MAX);
        }
    }
}
