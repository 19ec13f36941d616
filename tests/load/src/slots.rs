//! Numbers for requests that wait for their answers. A number is free again when its request is
//! answered, so numbers stay small in a run of any length. Serves the flows and the simulated
//! users.

/// Items in flight, by number.
#[derive(Debug)]
pub(crate) struct RequestSlots<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> RequestSlots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Returns the number of items in flight.
    pub(crate) const fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Adds an item; returns its number.
    pub(crate) fn put(&mut self, it: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.items.get_mut(slot as usize) {
            *place = Some(it);
        }
        slot
    }

    /// Returns true if an item with this number is in flight.
    pub(crate) fn has(&self, slot: u32) -> bool {
        matches!(self.items.get(slot as usize), Some(Some(_)))
    }

    /// Removes an item; returns `None` if it was not in flight.
    pub(crate) fn take(&mut self, slot: u32) -> Option<T> {
        let it = self.items.get_mut(slot as usize).and_then(Option::take)?;
        self.free.push(slot);
        Some(it)
    }
}

/// Returns the request id of a slot on the wire, where 0 means no request.
pub(crate) fn request_of(slot: u32) -> i64 {
    i64::from(slot) + 1
}

/// Returns the slot of a request id; a slot that is never used if the id is not one of ours.
pub(crate) fn slot_of(request: i64) -> u32 {
    u32::try_from(request.saturating_sub(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_it_is_free() {
        let mut slots = RequestSlots::new();
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
