//! A few things whose order means nothing: two states that differ only in it are one.

/// At most `N` things, kept in order so that equal bags are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bag<T, const N: usize> {
    items: [Option<T>; N],
}

impl<T: Copy + Ord, const N: usize> Bag<T, N> {
    /// Nothing.
    pub const EMPTY: Self = Self { items: [None; N] };

    /// What is in it.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items.iter().map_while(|item| *item)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one; `false` where there is no room.
    #[must_use]
    pub fn add(&mut self, item: T) -> bool {
        match self.items.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(item);
                true
            }
            None => false,
        }
    }

    /// The one at a place.
    pub fn get(&self, at: usize) -> Option<T> {
        self.items.get(at).copied().flatten()
    }

    /// Takes the one at a place out.
    pub fn take(&mut self, at: usize) -> Option<T> {
        let taken = self.items.get_mut(at).and_then(Option::take);
        self.settle();
        taken
    }

    /// Changes each, or drops it where nothing is left of it.
    pub fn change(&mut self, f: impl Fn(T) -> Option<T>) {
        for slot in &mut self.items {
            *slot = slot.and_then(&f);
        }
        self.settle();
    }

    /// Keeps one of those that are the same, where that is all right.
    pub fn merge(&mut self, may: impl Fn(T) -> bool) {
        for at in 1..N {
            if self.items[at].is_some_and(&may) && self.items[at] == self.items[at - 1] {
                self.items[at - 1] = None;
            }
        }
        self.settle();
    }

    /// Puts things in order.
    pub fn settle(&mut self) {
        // Nothing comes last, and insertion suits so few.
        for end in 1..N {
            let mut at = end;
            while at > 0 && precedes(&self.items[at], &self.items[at - 1]) {
                self.items.swap(at, at - 1);
                at -= 1;
            }
        }
    }
}

fn precedes<T: Ord>(this: &Option<T>, that: &Option<T>) -> bool {
    match (this, that) {
        (Some(this), Some(that)) => this < that,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
