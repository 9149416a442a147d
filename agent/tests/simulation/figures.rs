//! What cases came to.

/// What a case came to, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cases: u64,
    pub(crate) events: u64,
    pub(crate) days: i64,
    pub(crate) devices: u64,
    pub(crate) approvals: u64,
    pub(crate) planned: u64,
    pub(crate) begun: u64,
    pub(crate) confirmed: u64,
    pub(crate) fell_back: u64,
    pub(crate) most_down: u64,
    pub(crate) waves_opened: u64,
    pub(crate) paused: u64,
    pub(crate) complete: u64,
    pub(crate) ended_otherwise: u64,
    /// Installs on the way to another.
    pub(crate) steps: u64,
    /// Leases that a person has given back for a device.
    pub(crate) returned: u64,
    /// Steps of which a lift has given tries back.
    pub(crate) lifted: u64,
}

impl Figures {
    /// Those of one more case.
    pub(crate) fn add(&mut self, one: Self) {
        self.cases += one.cases;
        self.events += one.events;
        self.days += one.days;
        self.devices += one.devices;
        self.approvals += one.approvals;
        self.planned += one.planned;
        self.begun += one.begun;
        self.confirmed += one.confirmed;
        self.fell_back += one.fell_back;
        self.most_down = self.most_down.max(one.most_down);
        self.waves_opened += one.waves_opened;
        self.paused += one.paused;
        self.complete += one.complete;
        self.ended_otherwise += one.ended_otherwise;
        self.steps += one.steps;
        self.returned += one.returned;
        self.lifted += one.lifted;
    }
}
