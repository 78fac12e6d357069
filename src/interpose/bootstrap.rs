//! What needs a finished C library, done once when the shim is loaded: before the program's constructors and `main`. The heap does
//! not wait for it.

use super::{collecting, exec, exit, fork, python_allocators, stacks, threads};
use crate::audit::histogram;
use crate::audit::settings::Settings;

/// The entry in the list of functions that the dynamic loader calls when it has loaded us.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    // Without memory for either this early, the program will not get far; it must not be us who ends it.
    fork::install();
    exec::install();
    threads::install();
    exit::install();
    collecting::install();
    python_allocators::install();
    // Last: what we ourselves make the C library allocate is no business of the program's.
    histogram::start(Settings::get());
    stacks::install();
}
