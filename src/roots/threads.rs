//! What lies where in a thread: its stack pointer, registers, thread control block and dynamic thread vector.

use core::ffi::CStr;

use crate::sys::stop::Stopped;

/// The x86-64 red zone: leaf functions use 128 bytes below the stack pointer (System V ABI 3.2.2). Harmless elsewhere.
pub const RED_ZONE: usize = 128;

/// Where glibc keeps things in `struct pthread`, from the constants it exports for debuggers (`nptl_db/structs.def`).
#[derive(Clone, Copy)]
pub struct ControlBlock {
    /// `sizeof (struct pthread)`, bytes.
    pub bytes: usize,
    /// `specific_1stblock` (the first 32 keys' data) up to and with `specific` (the second-level pointers): offset and length.
    pub specific: (usize, usize),
}

impl ControlBlock {
    /// Looks the constants up. On a C library without them the control block counts as small, and is scanned as part of its mapping.
    pub fn look_up() -> ControlBlock {
        let bytes = constant(c"_thread_db_sizeof_pthread", 0).unwrap_or(0);
        // A field descriptor is three words: bits per element, elements, offset.
        let specific = match (constant(c"_thread_db_pthread_specific", 1), constant(c"_thread_db_pthread_specific", 2)) {
            // specific_1stblock (32 pairs of words) stands right before specific (nptl/descr.h).
            (Some(count), Some(offset)) if offset >= 512 && offset + 8 * count <= bytes => (offset - 512, 512 + 8 * count),
            _ => (0, 0),
        };
        ControlBlock { bytes, specific }
    }
}

fn constant(name: &CStr, at: usize) -> Option<usize> {
    // SAFETY: name is a C string.
    let p = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast::<u32>();
    // SAFETY: glibc's symbol is a uint32_t, or an array of three of them.
    (!p.is_null()).then(|| unsafe { p.add(at).read() } as usize)
}

/// One thread as the roots see it.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Live stack from here up, the red zone included.
    pub stack_low: usize,
    /// Thread pointer.
    pub thread_pointer: usize,
    /// Where saved registers lie, up to two ranges (general, vector); empty for the auditing thread, whose are on its stack.
    pub registers: [(usize, usize); 2],
    /// The alternate signal stack the thread stands on, if it does.
    pub alternate: Option<(usize, usize)>,
}

impl Thread {
    /// The auditing thread: its callee-saved registers were pushed at `stack_pointer`.
    pub fn own(stack_pointer: usize, thread_pointer: usize) -> Thread {
        Thread { stack_low: stack_pointer, thread_pointer, registers: [(0, 0); 2], alternate: None }
    }

    /// A stopped thread, from its signal frame.
    pub fn from_stopped(stopped: Stopped) -> Thread {
        // SAFETY: the frame lies on the stopped thread's stack, which stands still (or is the child's frozen copy).
        let context = unsafe { &*(stopped.context as *const libc::ucontext_t) };
        let (stack_pointer, registers) = saved_registers(context);
        let low = context.uc_stack.ss_sp as usize;
        let high = low + context.uc_stack.ss_size;
        // uc_stack is the alternate stack as it is set up; the interrupted code ran on it only if the stack pointer lies inside.
        let on_alternate = context.uc_stack.ss_flags & libc::SS_DISABLE == 0 && low <= stack_pointer && stack_pointer < high;
        Thread {
            stack_low: stack_pointer.saturating_sub(RED_ZONE) & !7,
            thread_pointer: stopped.thread_pointer,
            registers,
            alternate: on_alternate.then_some((low, high)),
        }
    }

    /// The dynamic thread vector: `tcbhead_t.dtv` (glibc sysdeps/x86_64/nptl/tls.h) is the second word of the control block; entry -1 has
    /// the number of entries, each 16 bytes.
    pub fn dynamic_vector(&self) -> Option<(usize, usize)> {
        if cfg!(not(target_arch = "x86_64")) || self.thread_pointer == 0 {
            return None;
        }
        // SAFETY: the control block of a live thread is readable.
        let vector = unsafe { *((self.thread_pointer + 8) as *const usize) };
        if vector < 4096 || vector % 8 != 0 {
            return None;
        }
        // SAFETY: glibc keeps the entry count right before the vector.
        let entries = unsafe { *((vector - 16) as *const usize) };
        (entries < 1 << 20).then_some((vector - 16, vector + 16 * (entries + 1)))
    }
}

#[cfg(target_arch = "x86_64")]
fn saved_registers(context: &libc::ucontext_t) -> (usize, [(usize, usize); 2]) {
    let general = context.uc_mcontext.gregs.as_ptr() as usize;
    let vector = context.uc_mcontext.fpregs as usize;
    let vector_bytes = if vector == 0 {
        0
    } else {
        // struct _fpx_sw_bytes at byte 464 of the FXSAVE area (kernel asm/sigcontext.h): magic1, extended_size.
        // SAFETY: the frame has at least the 512 bytes of FXSAVE.
        let (magic, extended) = unsafe { (*((vector + 464) as *const u32), *((vector + 468) as *const u32)) };
        if magic == 0x4650_5853 && (512..16384).contains(&extended) { extended as usize & !7 } else { 512 }
    };
    let stack_pointer = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    // R8 up to RCX, 15 registers, and RSP; RIP, flags and the rest are no data.
    (stack_pointer, [(general, general + 15 * 8), (vector, vector + vector_bytes)])
}

#[cfg(target_arch = "aarch64")]
fn saved_registers(context: &libc::ucontext_t) -> (usize, [(usize, usize); 2]) {
    let general = context.uc_mcontext.regs.as_ptr() as usize;
    // The FP/SIMD record stands first in __reserved: 8 bytes of header, fpsr, fpcr, 32 vector registers.
    let vector = &raw const context.uc_mcontext as usize + 288;
    (context.uc_mcontext.sp as usize, [(general, general + 31 * 8), (vector, vector + 528)])
}
