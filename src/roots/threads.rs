//! A thread as the roots see it: where its stack, its saved registers and its control block lie.

use core::mem::MaybeUninit;

use crate::sys::stop::{Stopped, Unstopped};

/// The x86-64 red zone: leaf functions use 128 bytes below the stack pointer (System V ABI 3.2.2). Harmless elsewhere.
pub const RED_ZONE: usize = 128;

/// One thread.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Live stack from here up, the red zone included; 0 if not known (a thread that did not stop).
    pub stack_low: usize,
    /// Thread pointer; 0 if not known.
    pub thread_pointer: usize,
    /// Where saved registers lie in the signal frame, up to two ranges (general, vector); empty for the auditing thread, whose are on its stack.
    pub registers: [(usize, usize); 2],
    /// Words in the shim's own memory that the kernel holds for the thread: arguments of the system call it is in.
    pub held: (usize, usize),
    /// Its alternate signal stack, if it has one.
    pub alternate: Option<(usize, usize)>,
    /// The lowest byte of its signal frame that matters; 0 for the auditing thread, which goes on using its stack.
    pub frame: usize,
}

impl Thread {
    /// The auditing thread: its callee-saved registers were pushed at `stack_pointer`.
    pub fn own(stack_pointer: usize, thread_pointer: usize) -> Thread {
        let mut stack = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: with no new stack, sigaltstack only fills in the old one.
        let alternate = unsafe {
            match libc::sigaltstack(core::ptr::null(), stack.as_mut_ptr()) {
                0 => alternate(&stack.assume_init()),
                _ => None,
            }
        };
        Thread { stack_low: stack_pointer, thread_pointer, registers: [(0, 0); 2], held: (0, 0), alternate, frame: 0 }
    }

    /// A stopped thread, from its signal frame.
    pub fn from_stopped(stopped: Stopped) -> Thread {
        // SAFETY: the frame lies on the stopped thread's stack, which stands still (or is the child's frozen copy).
        let context = unsafe { &*(stopped.context as *const libc::ucontext_t) };
        let (stack_pointer, registers) = saved_registers(context);
        Thread {
            stack_low: stack_pointer.saturating_sub(RED_ZONE) & !7,
            thread_pointer: stopped.thread_pointer,
            registers,
            held: (0, 0),
            alternate: alternate(&context.uc_stack),
            frame: stopped.context,
        }
    }

    /// A thread that did not stop: all that is known are the words that the kernel holds for it.
    pub fn from_unstopped(unstopped: Unstopped) -> Thread {
        Thread { stack_low: 0, thread_pointer: 0, registers: [(0, 0); 2], held: unstopped.words, alternate: None, frame: 0 }
    }

    /// Whether it stands on its alternate signal stack.
    pub fn on_alternate(&self) -> bool {
        self.alternate.is_some_and(|(low, high)| low <= self.stack_low && self.stack_low < high)
    }
}

/// The alternate stack as it is set up, whether or not the thread stands on it.
fn alternate(stack: &libc::stack_t) -> Option<(usize, usize)> {
    let low = stack.ss_sp as usize;
    (stack.ss_flags & libc::SS_DISABLE == 0 && low != 0 && stack.ss_size > 0).then_some((low, low.saturating_add(stack.ss_size)))
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
    // R8 up to RCX, 15 registers; the stack pointer is the stack's business, RIP, flags and the rest are no data.
    (stack_pointer, [(general, general + 15 * 8), (vector, vector + vector_bytes)])
}

#[cfg(target_arch = "aarch64")]
fn saved_registers(context: &libc::ucontext_t) -> (usize, [(usize, usize); 2]) {
    let general = context.uc_mcontext.regs.as_ptr() as usize;
    // The FP/SIMD record stands first in __reserved, which follows regs, sp, pc and pstate at the next multiple of 16 (kernel asm/sigcontext.h):
    // 8 bytes of header, fpsr, fpcr, 32 vector registers.
    let vector = (general + 34 * 8).next_multiple_of(16);
    (context.uc_mcontext.sp as usize, [(general, general + 31 * 8), (vector, vector + 528)])
}
