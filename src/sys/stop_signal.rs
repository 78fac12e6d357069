//! The signal that stops a thread, and its handler's installation.
//!
//! It is glibc's own `SIGSETXID` (33), by which `setuid` reaches every thread. glibc keeps programs from blocking it, waiting for it, and
//! handling it, so it gets through where a thread has filled its mask, and no `sigwait` or `signalfd` of the program sees it. Ours carry
//! a value that tells them apart; all others go on to glibc's handler. Installed only while the world is being stopped.
//!
//! glibc's `sigaction` refuses this signal, so the kernel is asked directly.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::raw::syscall6;

/// The signal.
pub const STOP_SIGNAL: i32 = 33;

/// The kernel's `struct sigaction` (include/linux/signal_types.h; the same on x86-64 and aarch64).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Bytes of the kernel's `sigset_t`.
const MASK_BYTES: usize = 8;
/// The kernel's flag that `restorer` is set; not in the C library's headers.
const SA_RESTORER: usize = 0x0400_0000;

/// What the signal did before, while ours is installed: 0 for the default.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    /// Returns from a signal handler.
    fn gcshim_signal_return();
}

// Debuggers and unwinders know a signal frame by exactly these bytes (glibc sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c).
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl gcshim_signal_return",
    ".hidden gcshim_signal_return",
    ".balign 16",
    "nop",
    "gcshim_signal_return:",
    "mov rax, 15",
    "syscall",
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl gcshim_signal_return",
    ".hidden gcshim_signal_return",
    "gcshim_signal_return:",
    "mov x8, #139",
    "svc #0",
);

/// A handler with `SA_SIGINFO`.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// What a signal does now; `None` if the kernel refuses to say.
pub fn action_of(signal: i32) -> Option<Action> {
    let mut old = MaybeUninit::<Action>::uninit();
    // SAFETY: with no new action the kernel only fills in the old one.
    let refused = unsafe { syscall6(libc::SYS_rt_sigaction, signal as usize, 0, old.as_mut_ptr() as usize, MASK_BYTES, 0, 0) };
    // SAFETY: filled.
    (refused == 0).then(|| unsafe { old.assume_init() })
}

impl Action {
    /// Whether the program's own code runs when the signal comes.
    pub fn is_handled(&self) -> bool {
        self.handler != libc::SIG_DFL && self.handler != libc::SIG_IGN
    }

    /// Whether system calls go on after the handler.
    pub fn restarts(&self) -> bool {
        self.flags & libc::SA_RESTART as usize != 0
    }
}

fn set_action(action: &Action) -> bool {
    // SAFETY: the structure is the kernel's, and valid.
    unsafe { syscall6(libc::SYS_rt_sigaction, STOP_SIGNAL as usize, action as *const _ as usize, 0, MASK_BYTES, 0, 0) == 0 }
}

/// Installs the handler. Answers what was there before, for [`restore`].
pub fn install(handler: Handler) -> Option<Action> {
    let before = action_of(STOP_SIGNAL)?;
    if before.handler == handler as *const () as usize {
        // Left from the last time, because a thread had not taken its signal yet.
        return Some(before);
    }
    BEFORE.store(if before.is_handled() { before.handler } else { 0 }, Ordering::Release);
    let ours = Action {
        handler: handler as *const () as usize,
        flags: (libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK) as usize | SA_RESTORER,
        restorer: gcshim_signal_return as *const () as usize,
        // While a thread stands in our handler it shall not run the program's handlers.
        mask: u64::MAX,
    };
    set_action(&ours).then_some(before)
}

/// Puts back what [`install`] found.
pub fn restore(before: &Action) {
    set_action(before);
}

/// Passes on a signal that is not ours.
pub fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.load(Ordering::Acquire);
    if before != 0 {
        // SAFETY: glibc's handler, which is of this type (nptl/nptl_setxid.c).
        unsafe { core::mem::transmute::<usize, Handler>(before)(signal, info, context) };
    }
}

/// The kernel's `siginfo_t` of a queued signal.
#[repr(C)]
struct Queued {
    signal: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}
const _: () = assert!(size_of::<Queued>() == 128);

/// In the upper half of the value: ours.
const MAGIC: u64 = 0x6763_7368 << 32;

/// Sends the signal to one thread with a number; `false` if there is no such thread or the queue is full.
pub fn send(pid: i32, tid: i32, number: u32) -> bool {
    let info = Queued {
        signal: STOP_SIGNAL,
        errno: 0,
        code: libc::SI_QUEUE,
        pad: 0,
        pid,
        uid: 0,
        value: MAGIC | u64::from(number),
        rest: [0; 12],
    };
    // SAFETY: the structure is the kernel's.
    unsafe {
        let info = &raw const info as usize;
        syscall6(libc::SYS_rt_tgsigqueueinfo, pid as usize, tid as usize, STOP_SIGNAL as usize, info, 0, 0) == 0
    }
}

/// The number that [`send`] sent; `None` for somebody else's signal.
///
/// # Safety
/// `info` is what the kernel gave the handler.
pub unsafe fn number(info: *const libc::siginfo_t) -> Option<u32> {
    // SAFETY: the caller's; the kernel passes 128 bytes.
    let info = unsafe { &*info.cast::<Queued>() };
    (info.code == libc::SI_QUEUE && info.value >> 32 << 32 == MAGIC).then_some(info.value as u32)
}
