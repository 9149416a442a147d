//! Rules bent on purpose: each must be caught by the property that it breaks, or that property could not fail.

/// What is bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Nothing.
    None,
    /// The plan counts no slots against the ward's cap.
    CapIsIgnored,
    /// The plan counts no slots of approvals that are replaced.
    ReplacedAreForgotten,
    /// The plan is made without the calendars' freezes.
    FreezesAreIgnored,
    /// The device begins whenever it likes.
    SlotsAreIgnored,
    /// The device leaves no time for install and way back at the end of a slot.
    WayBackIsForgotten,
    /// The device believes a clock that signatures prove to be behind.
    ClockIsBelieved,
    /// The device asks for no signature on its wave.
    SignaturesAreIgnored,
    /// The device obeys no stop order.
    StopsAreIgnored,
    /// The device installs what was withdrawn.
    WithdrawalsAreIgnored,
    /// The device goes to lower releases without a permit.
    DowngradesArePermitted,
    /// The device forgets its security floor.
    FloorIsForgotten,
    /// The device takes the last step of its approval at once.
    StepsAreSkipped,
    /// The device tries for ever.
    TriesAreForgotten,
    /// The device goes on while it is in use.
    UseIsIgnored,
    /// The device tries again what failed for good.
    FailuresForGoodAreForgotten,
    /// The device tries again at once.
    WaitsAreForgotten,
    /// The device asks for no lease.
    LeasesAreIgnored,
    /// The server grants a lease to whoever asks.
    LeasesAreNotCounted,
    /// The server counts a device as down that a person has said to be back.
    ReturnsAreForgotten,
    /// The device begins whatever the server says.
    WordsAreIgnored,
    /// The server opens each wave as soon as the one before is open.
    WavesOpenEarly,
    /// The server counts what lies on a device as proven.
    StagedCounts,
    /// The server watches no wave before it opens the next.
    SoakIsForgotten,
    /// The server lets any number of devices fail.
    CeilingIsForgotten,
    /// The server never ends a rollout whose approval has ended.
    RolloutsNeverEnd,
    /// The server pauses and does not say why.
    ReasonsAreLost,
}
