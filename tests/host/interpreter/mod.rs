//! Runs a kernel on the CPU and finds what a GPU would not report: races, accesses outside of arrays, barriers that not all
//! threads of a workgroup meet, and reads of what nobody has written.
//!
//! `compile` turns naga's form of the kernel into a program, `machine` runs it thread by thread. All that may differ between
//! devices is refused, and not tried: two accesses race if nothing orders them, whatever the order in which they run here.

mod arithmetic;
mod compile;
mod layout;
mod machine;
mod memory;
mod program;
mod tests;

pub use compile::compile;
pub use machine::{Machine, Order, Subgroups};
pub use memory::{Bound, Buffer};
