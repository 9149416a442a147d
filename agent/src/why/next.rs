//! What follows of each kind of reason: by itself, and by a person.

use suture_core::phase::Code;

use crate::machine::{After, State};

/// What follows.
pub(super) struct Next {
    pub(super) by_itself: &'static str,
    pub(super) you_can: &'static str,
}

const WAITS_FOR_HOSPITAL: &str =
    "Nothing is begun until those who approve updates in your hospital have signed something else.";
const USABLE: &str = "Nothing needs to be done here; the device may be used as it is.";
const NOT_SETTLED: &str = "Keep the device out of use. See by `suture-agent doctor` what the installer says, and have what it asks put right by \
                           the maker's manual: its program, RAUC's service, the boot loader's disk. Nothing needs to be said to the agent again.";

/// What follows of that reason in that state.
pub(super) fn next(code: Code, state: &State) -> Next {
    let (by_itself, you_can) = match state {
        State::Held { attempt: None, .. } => (
            "Nothing more: what it was at is not known, and only a person can go on. What is installed goes on running.",
            "Look whether the device runs as it should, put it in order by the maker's manual, then run `suture-agent recover \
             --reason TEXT`.",
        ),
        State::Held { .. } => (
            "Nothing more: it could neither finish nor go back, and only a person can go on. Clinical use stays blocked where \
             the device's own software was told of the update.",
            "Look whether the device runs as it should, put it in order by the maker's manual, then run `suture-agent recover \
             --reason TEXT`. Until then keep it out of use.",
        ),
        State::Checking { .. } => (
            "Nothing more: it stays out of clinical use until a person says that it is checked.",
            "Check it as your hospital asks after an update, then `suture-agent release --checked --reason TEXT`; or have those \
             who approve run `suturectl device release DEVICE`. Where the check fails: the same with --unfit, and the old version \
             comes back.",
        ),
        State::Restarting { .. } | State::Reverting { trouble: Some(_), .. } if matches!(code, Code::PersonNeeded) => (
            "It waits until a person has said that the device is not in use; nothing goes down before that.",
            "Make sure that the device is not on a patient and stays so until this is over, then run `suture-agent confirm`. What \
             runs now has not proven itself: take the device out of clinical use as soon as that is safe.",
        ),
        State::Restarting { .. } | State::Reverting { trouble: Some(_), .. } => (
            "It asks again every 15 seconds, and goes on once the device is free. It is never forced.",
            "Take the device out of clinical use as soon as that is safe: what runs now has not proven itself.",
        ),
        State::Reverting { .. } => (
            "The old version is put back now. Where that fails several times, the device holds until a person comes.",
            "Wait, and leave the device switched on. After a power cut it takes this up by itself; where a person had to confirm, it \
             asks for that once more first.",
        ),
        State::Releasing { .. } if matches!(code, Code::InterlockUnknown) => (
            "The device's own software is told again, every 15 seconds, that the device may be used.",
            "Where the device still refuses clinical use, restart its own software by the maker's manual; the update itself is \
             over, and the agent needs no restart.",
        ),
        State::Releasing { after: After::Wait(..), trouble: Some(_) } if code != Code::DiskFull => (
            "Nothing was switched, and the update waits on. Clinical use stays blocked until the installer has made sure what the \
             device starts next; it is asked again every 15 seconds, and the rest follows by itself.",
            NOT_SETTLED,
        ),
        State::Releasing { trouble: Some(_), .. } if code != Code::DiskFull => (
            "What was begun is over. Clinical use stays blocked until the installer has made sure what the device starts next; it is \
             asked again every 15 seconds, and the rest follows by itself.",
            NOT_SETTLED,
        ),
        _ => by_code(code),
    };
    Next { by_itself, you_can }
}

fn by_code(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::NothingApproved => {
            ("It asks again within minutes, and begins once something is approved for it.", USABLE)
        }
        Code::UpToDate => ("It goes on asking whether something newer is approved.", USABLE),
        Code::NotForThisDevice => (
            "It asks again within minutes, and begins once an approval names it.",
            "Where this device should be updated, tell those who approve updates: it is not in what they have signed.",
        ),
        Code::WrongHospital => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates. Where the device has come from another hospital, it must be enrolled anew.",
        ),
        Code::NotInCatalog => (
            "It asks again within minutes, and goes on once the manufacturer lists the version.",
            "Tell those who approve updates: the manufacturer does not list what they have approved.",
        ),
        Code::Withdrawn => (
            WAITS_FOR_HOSPITAL,
            "Nothing needs to be done here: the manufacturer has taken that version back, and it is not installed.",
        ),
        Code::WrongHardware | Code::WrongProduct => (
            WAITS_FOR_HOSPITAL,
            "Compare the type plate with `product` and `hardware` in the agent's configuration, and tell those who approve updates.",
        ),
        Code::Downgrade | Code::BelowFloor => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates: what they have approved is older than this device may go back to.",
        ),
        Code::TooOldToStart | Code::TooManySteps => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates: this device needs a release between, which they must plan first.",
        ),
        Code::KnownRisk => (
            "It is never installed from the version that runs now.",
            "Tell those who approve updates; the manufacturer's warning, quoted above, says why.",
        ),
        Code::DataFormat => (
            "It is never installed over the data that are on this device now.",
            "Tell those who approve updates, and ask the manufacturer which version reads these data.",
        ),
        Code::WrongInstaller => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates, and ask the manufacturer for a bundle that is made for this device's installer.",
        ),
        Code::RunningUnknown | Code::OtherRelease => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates what `suture-agent status` says that this device runs.",
        ),
        Code::ConflictingApprovals => (
            WAITS_FOR_HOSPITAL,
            "Tell those who approve updates: two approvals name this device and contradict one another.",
        ),
        Code::AttemptsSpent => (
            "It is not tried again by the same approval.",
            "Read in `suture-agent log` why it failed, put that right, and tell those who approve updates that it may be planned again.",
        ),
        Code::RetryWait => (
            "The next try begins by itself in a slot after that time.",
            "Read in `suture-agent log` why the last try failed, and put it right before the next.",
        ),
        Code::NoCalendar | Code::NoOpening | Code::PastDeadline => {
            (WAITS_FOR_HOSPITAL, "Tell those who plan updates: the calendar has no time for this device.")
        }
        Code::BeforeSlot => (
            "It begins at that time, where the device is not in use then.",
            "Nothing needs to be done, and the device may be used until then. To keep it from beginning: `suture-agent hold \
             --reason TEXT`.",
        ),
        Code::SlotsOver => (
            "It does not begin any more by this approval.",
            "Where it should still be updated, tell those who plan updates: this device needs a new slot.",
        ),
        Code::SlotTooShort => (
            "It begins in its next slot, where it has one.",
            "Nothing in this slot: too little of it is left to finish or to go back. See `suture-agent log` for what took the time.",
        ),
        Code::Paused => (
            "It begins once the rollout is resumed, in a slot that is open then.",
            "Ask those who run the rollout; `suturectl rollout why` tells them what it waits for.",
        ),
        Code::Aborted => {
            (WAITS_FOR_HOSPITAL, "Nothing needs to be done here: those who run the rollout have ended it.")
        }
        Code::StopOrder => (
            "Nothing is begun by it until as many as approve have signed a lift.",
            "Ask those who approve updates why they stopped it.",
        ),
        Code::Superseded => (
            "It goes on by the approval that took its place, where that one names it; else nothing is begun.",
            "Where this device should still be updated, ask those who approve updates whether the newer approval names it.",
        ),
        Code::WaveClosed => (
            "It begins once its turn has come, in a slot that is open then.",
            "Nothing needs to be done here; other devices of the hospital come first.",
        ),
        Code::SignatureNeeded => (
            "It begins once those who approve have signed its wave open, in a slot that is open then.",
            "Tell those who approve updates that this device waits for their signature: `suturectl rollout open`.",
        ),
        Code::ServerUnreachable => (
            "It tries again within minutes, for as long as it takes. What is installed goes on running.",
            "Run `suture-agent doctor`: it says whether cable, name, proxy, certificate or clock is at fault.",
        ),
        Code::WardBusy => (
            "It asks again within a minute, and begins once one of the ward's other devices is back, while its slot is open.",
            "Bring back the device that is named, or have those who run the rollout say that it is back: `suturectl device return`.",
        ),
        Code::PersonNeeded => (
            "Nothing is begun in this slot without a person's word; the next slot asks anew.",
            "Make sure that the device is not on a patient and stays so, then run `suture-agent confirm`. The word counts for ten \
             minutes.",
        ),
        Code::InUse => (
            "It asks again every 15 seconds while the slot is open, and in the next slot after that. It is never forced.",
            "Take the device out of clinical use where that is possible, or leave it: it waits.",
        ),
        Code::InterlockUnknown => (
            "It asks again every 15 seconds while the slot is open. Without an answer nothing is begun, and never forced.",
            "Look whether the device's own software runs; what it answered, or that it did not, stands above.",
        ),
        Code::Deferred => (
            "It goes on asking in every slot, and never forces anything. Those who run the rollout have been told.",
            "Take the device out of clinical use for its next slot, or ask for a slot in which it is free. Where its own software \
             does not answer, see to that first.",
        ),
        Code::ClockUnproven => (
            "Nothing is begun and nothing is put back until the clock is right.",
            "Set the device's clock to the present time in UTC, and look why it was wrong: often an empty battery on the board.",
        ),
        Code::MetadataExpired => (
            "It goes on once the server has newer signatures. What is installed goes on running.",
            "Where the network is down, see `suture-agent doctor`, or bring a stick: `suture-agent import`. Else tell those who \
             approve updates.",
        ),
        Code::Rollback | Code::MixAndMatch | Code::BadSignature | Code::BadMetadata | Code::EndlessData => (
            "It asks again within minutes, and takes nothing of it. What is installed goes on running.",
            "Tell those who run the update server, at once: either it is faulty, or somebody interferes with it or with the line.",
        ),
        Code::UnusableBundle => {
            ("It is not tried again.", "Tell those who approve updates: the manufacturer must build that version anew.")
        }
        Code::WrongBytes => (
            "What was wrong is fetched again, and nothing of it is installed.",
            "Nothing needs to be done once. Where it comes again and again, have the device's disk and the update server looked at.",
        ),
        Code::Power => (
            "It begins once there is enough power, while its slot is open.",
            "Plug in the mains, and leave it plugged in until the update is over.",
        ),
        Code::DiskFull => (
            "It goes on from where it was once there is room.",
            "Free some space on the disk that is named; nothing that belongs to the agent or to the slots may be deleted.",
        ),
        Code::Transfer => (
            "It goes on from the last piece that has come, within minutes.",
            "Run `suture-agent doctor` where it does not get on for an hour.",
        ),
        Code::InLine => {
            ("It fetches once the devices before it are done.", "Nothing needs to be done; the device may be used.")
        }
        Code::QuietHours => ("It fetches from that time on.", "Nothing needs to be done; the device may be used."),
        Code::InstallFailed => (
            "The device runs what it ran before. It is tried again in a later slot, where the approval allows it.",
            "Have the disk and the slots' directory looked at: the reason above names what failed.",
        ),
        Code::RestartFailed | Code::StartFailed | Code::HealthFailed => (
            "The device runs the old version. It is not tried again by the same approval.",
            "The device may be used as before. Tell those who run the rollout what stands above.",
        ),
        Code::ReturnToService => {
            ("Nothing more.", "Check the device, then `suture-agent release --checked --reason TEXT`.")
        }
        Code::Departed => (
            "Nothing more: it has left its hospital, and its keys are wiped. What is installed goes on running.",
            "To join another hospital, run `suture-agent enroll` with a token from there.",
        ),
        Code::Unfit => (
            "The device runs the old version. The one that was found unfit is not tried again by the same approval.",
            "The device may be used as before. Tell those who run the rollout, and the maker, what was found.",
        ),
        Code::Returned => ("It goes on asking whether something newer is approved.", USABLE),
        Code::HeldHere => (
            "Nothing is begun until somebody at the device ends the hold; a restart does not end it.",
            "Ask who holds it whether it may go on, then run `suture-agent release --reason TEXT`.",
        ),
        Code::Pending => (
            "It asks again within minutes, and takes part once it is confirmed.",
            "Read the fingerprint from `suture-agent status` to those who enrol devices; they compare it and run `suturectl device \
             confirm`.",
        ),
        Code::Drift => (
            "It is looked at again on schedule, and reported. Nothing is repaired by itself.",
            "Take the device out of use as your hospital's rules for altered software say, and call its maker.",
        ),
        Code::RecordRewritten => (
            "It is kept with what was seen before, and told to the hospital; updates go on, for they are signed by others.",
            "Tell those who run the rollout. Was the server set back by its own people: stop the agent, then `suture-agent record \
             --forget`.",
        ),
        Code::StateDamaged => (
            "Nothing is begun until it can be read and written. What is installed goes on running.",
            "Do what the sentence says; where it names no command, have the device's disk looked at.",
        ),
        Code::TimedOut | Code::FailureCeiling | Code::Operator => (
            "It goes on once those who run the rollout let it.",
            "Ask those who run the rollout; `suturectl rollout why` tells them what it waits for.",
        ),
        Code::Unknown => (
            "It asks again within minutes.",
            "Tell those who run the rollout what stands above; this agent is older than what told it that.",
        ),
    }
}
