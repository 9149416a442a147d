//! The trust layer under attack: each test is one way to get something past it, or one mishap that it must survive.

mod base;
mod beside;
mod bounds;
mod bytes;
mod delegating;
mod descending;
mod files;
mod handing_on;
mod kept;
mod kinds;
mod proposing;
mod publishing;
mod refreshing;
mod roots;
mod searching;
mod signatures;
mod surveying;
mod transport;
mod tree;
mod world;
