//! The journal's two places, as a disk keeps them: what was written last may be torn when the power comes back.

use suture_core::retry::Tries;

use crate::machine::State;

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    written: u64,
    pub(super) state: State,
    pub(super) tries: Tries,
}

/// Both places; one that is torn holds nothing.
pub(super) struct Book {
    places: [Option<Record>; 2],
    at: usize,
    /// The place that was written last.
    last: usize,
    /// The control: one place, with nothing beside it.
    pub(super) single: bool,
}

impl Book {
    pub(super) fn new() -> Self {
        let record = Record { written: 0, state: State::rest(), tries: Tries::default() };
        Self { places: [Some(record.clone()), Some(record)], at: 0, last: 0, single: false }
    }

    /// The newest record that is whole. None where neither is.
    pub(super) fn newest(&mut self) -> Option<&Record> {
        let written = |place: usize| self.places[place].as_ref().map(|r| r.written);
        self.at = usize::from(written(1) > written(0));
        self.places[self.at].as_ref()
    }

    /// Writes a record, place by place; before each `line` may cut.
    pub(super) fn write<E>(
        &mut self,
        state: State,
        tries: Tries,
        mut line: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let written = self.places[self.at].as_ref().map_or(0, |r| r.written) + 1;
        let next = 1 - self.at;
        let twice = state.is_committed() && !self.single;
        let record = Record { written, state, tries };
        for place in std::iter::once(next).chain(twice.then_some(self.at)) {
            line()?;
            (self.places[place], self.last) = (Some(record.clone()), place);
        }
        self.at = next;
        line()
    }

    /// At a start, brings the record to both places where it belongs to both.
    pub(super) fn even_out<E>(&mut self, mut line: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let Some(record) = self.newest().cloned() else { return Ok(()) };
        let other = 1 - self.at;
        let is_even = self.places[other].as_ref().is_some_and(|r| r.written == record.written);
        if record.state.is_committed() && !self.single && !is_even {
            line()?;
            (self.places[other], self.last) = (Some(record), other);
            line()?;
        }
        Ok(())
    }

    /// What was written last is torn.
    pub(super) fn tear(&mut self) {
        self.places[self.last] = None;
    }
}
