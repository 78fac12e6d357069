//! The Python frames of the calling thread, for the stacks of allocations and frees: file, line and function of each.
//!
//! Only of a thread that holds the GIL, whose frames nobody else changes. It may stand anywhere in the interpreter all the same, amid an allocation, so nothing is taken for
//! a pointer that is none: what is read lies in a block of ours or in memory that the kernel says can be read, and what is taken for code or a string is of that type.
//! Nothing of the interpreter's is kept: texts are copied, since code and strings may be gone when the report is written. The line comes from
//! `PyCode_Addr2Line`, which only reads the code's table; what was asked once is remembered in a small cache.

use core::sync::atomic::{AtomicBool, Ordering::*};

use super::layout::{self, Position, Walking};
use super::runtime::Runtime;
use super::types::{OB_TYPE, read};
use crate::heap::stacks::{self, PYTHON_FRAME};
use crate::heap::view;
use crate::sys::memory::{GRANULE, PAGE};
use crate::sys::raw;

/// Frames looked at, those without code among them.
const STEPS_MAX: usize = 64;

/// Bytes of a text that are kept, the last ones.
const TEXT_MAX: usize = (stacks::depot::WORDS_MAX - 1) * 8;

/// Fills `words` with the calling thread's Python frames, innermost first; answers how many. None if it does not hold the GIL.
pub fn walk(words: &mut [u64]) -> usize {
    let Some(runtime) = Runtime::get() else { return 0 };
    let Some(layout) = layout::walking(runtime.minor) else { return 0 };
    let state = my_state(runtime);
    if state == 0 {
        return 0;
    }
    let mut memory = Memory { page: 0 };
    // SAFETY: the interpreter's own state of this thread; what is read behind it is made sure of.
    unsafe {
        let mut frame = read(state + layout.current);
        if let Some(offset) = layout.through {
            if !memory.has(frame, offset + 8) {
                return 0;
            }
            frame = read(frame + offset);
        }
        let mut count = 0;
        for _ in 0..STEPS_MAX {
            if frame == 0 || count == words.len() || !memory.has(frame, layout.frame_bytes) {
                break;
            }
            let entry =
                layout.owner.is_some_and(|at| usize::from(((frame + at) as *const u8).read()) == layout::FRAME_OWNED_BY_CSTACK);
            if !entry
                && let Some(number) = number_of(runtime, &layout, &mut memory, frame)
                && let Some(word) = words.get_mut(count)
            {
                *word = PYTHON_FRAME | u64::from(number);
                count += 1;
            }
            frame = read(frame + layout.back);
        }
        count
    }
}

/// The calling thread's state, if it holds the GIL; else 0.
fn my_state(runtime: &Runtime) -> usize {
    if !runtime.initialized() {
        return 0;
    }
    let current = runtime.current_thread();
    // Until 3.11 the current state is that of whoever holds the GIL. (PyGILState_Check would say 1 throughout where there are sub-interpreters.)
    // SAFETY: may be called by any thread while the interpreter is initialized.
    let mine = runtime.minor >= 12 || runtime.symbols.gil_this_thread.is_some_and(|f| unsafe { f() } as usize == current);
    if mine { current } else { 0 }
}

/// What has been found to be readable.
struct Memory {
    /// The page looked at last, outside of our heap: frames lie side by side.
    page: usize,
}

impl Memory {
    /// Whether so many bytes can be read at an address that is a multiple of 8.
    fn has(&mut self, at: usize, bytes: usize) -> bool {
        if at & 7 != 0 || at < PAGE || at >> 47 != 0 || bytes > GRANULE {
            return false;
        }
        if let Some((_, end)) = view::block_around(at) {
            // Larger blocks' memory goes back to the system when they are freed.
            return at + bytes <= end && view::block_around(end - 1).is_some_and(|(start, end)| end - start <= GRANULE);
        }
        let (first, last) = (at & !(PAGE - 1), (at + bytes - 1) & !(PAGE - 1));
        (first..=last).step_by(PAGE).all(|page| {
            if page != self.page {
                if raw::readable(page) != Some(true) {
                    return false;
                }
                self.page = page;
            }
            true
        })
    }
}

/// What is remembered of a place in code: what it was found by, and the frame's number.
#[derive(Clone, Copy)]
struct Seen {
    found_by: [usize; 6],
    number: u32,
}

const CACHED: usize = 4096;
static mut CACHE: [Seen; CACHED] = [const { Seen { found_by: [0; 6], number: 0 } }; CACHED];
/// Held while the cache is looked at. Interpreters may have a GIL each, so it is not enough to hold one; who finds it held does without.
static HELD: AtomicBool = AtomicBool::new(false);

/// The number under which file, line and function of a frame are kept.
///
/// # Safety
/// The frame is readable.
unsafe fn number_of(runtime: &Runtime, layout: &Walking, memory: &mut Memory, frame: usize) -> Option<u32> {
    // SAFETY: the caller's; code is looked at once it is known to be code.
    unsafe {
        let code = read(frame + layout.code);
        if !memory.has(code, layout.code_bytes) || read(code + OB_TYPE) != runtime.symbols.code_type?.get() {
            return None;
        }
        let position = match layout.position {
            Position::Bytes(at) => i64::from(((frame + at) as *const i32).read()),
            Position::Instructions(at) => 2 * i64::from(((frame + at) as *const i32).read()),
            Position::Pointer(at, start) => read(frame + at).wrapping_sub(code + start) as i64,
        };
        let position = i32::try_from(position).ok()?.max(-1);
        let (file, name) = (read(code + layout.file), read(code + layout.name));
        let first_line = ((code + layout.first_line) as *const i32).read();
        let found_by = [code, file, name, read(code + layout.table), first_line as usize, position as usize];
        if let Some(number) = remembered(&found_by) {
            return Some(number);
        }
        let line = runtime.symbols.line_of.map_or(first_line, |f| f(code as *mut _, position));
        let entry = [line.max(0) as u64, keep_text(runtime, memory, file)?.into(), keep_text(runtime, memory, name)?.into()];
        let number = stacks::keep(&entry);
        (number != 0).then(|| {
            remember(&found_by, number);
            number
        })
    }
}

fn place(found_by: &[usize; 6]) -> usize {
    let [code, .., position] = *found_by;
    ((code >> 4) ^ position.wrapping_mul(0x9e37_79b9)) % CACHED
}

fn remembered(found_by: &[usize; 6]) -> Option<u32> {
    if HELD.swap(true, Acquire) {
        return None;
    }
    // SAFETY: held.
    let seen = unsafe { (*(&raw const CACHE)).get(place(found_by)).copied() };
    HELD.store(false, Release);
    seen.filter(|seen| seen.found_by == *found_by && seen.number != 0).map(|seen| seen.number)
}

fn remember(found_by: &[usize; 6], number: u32) {
    if HELD.swap(true, Acquire) {
        return;
    }
    // SAFETY: held.
    if let Some(slot) = unsafe { (*(&raw mut CACHE)).get_mut(place(found_by)) } {
        *slot = Seen { found_by: *found_by, number };
    }
    HELD.store(false, Release);
}

/// Keeps the text of a str object; `None` if it is none that can be read.
unsafe fn keep_text(runtime: &Runtime, memory: &mut Memory, object: usize) -> Option<u32> {
    // SAFETY: each part is made sure of before it is read.
    unsafe {
        if !memory.has(object, layout::STRING_BYTES_MIN) || read(object + OB_TYPE) != runtime.symbols.str_type?.get() {
            return None;
        }
        let state = ((object + layout::STRING_STATE) as *const u32).read();
        let (kind, compact) = ((state >> 2 & 7) as usize, state >> 5 & 1 == 1);
        let length = read(object + layout::STRING_LENGTH);
        if !compact || !matches!(kind, 1 | 2 | 4) || length > GRANULE / 8 {
            return None;
        }
        let start = object + layout::string_pointers(runtime.minor, state).1;
        if length > 0 && !memory.has(object, start - object + length * kind) {
            return None;
        }
        let mut text = [0u8; TEXT_MAX];
        let mut bytes = 0;
        // From the end: of a path that is too long the file's name is kept.
        for i in (0..length).rev() {
            let character = match kind {
                1 => u32::from(((start + i) as *const u8).read()),
                2 => u32::from(((start + 2 * i) as *const u16).read()),
                _ => ((start + 4 * i) as *const u32).read(),
            };
            let mut encoded = [0; 4];
            let encoded = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut encoded).as_bytes();
            let Some(room) = text.len().checked_sub(bytes + encoded.len()) else { break };
            text.get_mut(room..room + encoded.len())?.copy_from_slice(encoded);
            bytes += encoded.len();
        }
        let number = stacks::keep_text(text.get(TEXT_MAX - bytes..)?);
        (number != 0).then_some(number)
    }
}

/// File, line and function of a kept frame.
pub fn described(word: u64) -> Option<(&'static [u8], u64, &'static [u8])> {
    let [line, file, name] = *stacks::kept((word & !PYTHON_FRAME) as u32) else { return None };
    Some((stacks::kept_text(file as u32), line, stacks::kept_text(name as u32)))
}
