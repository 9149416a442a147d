//! Recovery without a truck: nobody walks to a device for what time, clocks, shelves or a lost database have done to it; and
//! the way back weakens nothing.

mod certificate;
mod clock;
mod expiry;
mod shelf;
