//! The end of a thread: its cache is given up.
//!
//! A thread-specific data key with a destructor tells. Destructors of other keys may allocate after ours has run: that makes a new cache
//! and sets the key again, so that ours runs in the C library's next round.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering::*};

use crate::heap::cache;

/// The key, plus one; 0 while there is none.
static KEY: AtomicU32 = AtomicU32::new(0);

extern "C" fn at_end(_: *mut c_void) {
    cache::release_mine();
}

fn on_new_cache() {
    let key = KEY.load(Acquire);
    if key != 0 {
        // SAFETY: the key exists. The value only has to be something other than null. For a high key this allocates; the cache is in place.
        unsafe { libc::pthread_setspecific(key - 1, core::ptr::dangling()) };
    }
}

/// Makes the key and marks the calling thread, which may have a cache already. `false` when there is no key left; then caches of threads that
/// end are not reused.
pub fn install() -> bool {
    let mut key = 0;
    // SAFETY: key is writable, the destructor lives as long as the library.
    if unsafe { libc::pthread_key_create(&mut key, Some(at_end)) } != 0 {
        return false;
    }
    KEY.store(key + 1, Release);
    cache::set_on_new_cache(on_new_cache);
    if cache::have_one() {
        on_new_cache();
    }
    true
}
