//! One child process, and the signals that are meant for it.
//!
//! Signals are taken with `sigwaitinfo`, not with handlers: nothing runs asynchronously, and the dispositions that the child
//! inherits (an ignored SIGINT under `nohup` or in a background job) stay what they were.

use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// Signals that are passed on when a process sends them to gcshim.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// How the child ended.
pub struct Ending {
    /// Its process id.
    pub pid: u32,
    /// Its status.
    pub status: ExitStatus,
}

/// Starts the command and waits for its end. The error is that of the start: not found, not executable.
pub fn run(command: &mut Command) -> std::io::Result<Ending> {
    let wanted = set(&[&PASSED_ON[..], &[libc::SIGCHLD]].concat());
    // SAFETY: sigset_t is plain data; pthread_sigmask fills it before it is read.
    let mut before = unsafe { MaybeUninit::<libc::sigset_t>::zeroed().assume_init() };
    // SAFETY: both sets are initialised. SIGCHLD's default action keeps the child's status for waitpid, which an inherited "ignore"
    // would throw away; signal() only takes constants here.
    let chld = unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &wanted, &mut before);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL)
    };
    // SAFETY: the closure runs between fork and exec and makes two async-signal-safe calls on values it owns.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGCHLD, chld);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            Ok(())
        });
    }
    // Not waited for through std: the status is collected below, in step with the signals.
    let child = command.spawn()?;
    let pid = child.id();
    loop {
        // SAFETY: siginfo_t is plain data; `wanted` is initialised and blocked.
        let (signal, info) = unsafe {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed().assume_init();
            (libc::sigwaitinfo(&wanted, &mut info), info)
        };
        if let Some(status) = ended(pid)? {
            return Ok(Ending { pid, status });
        }
        // What the terminal sends goes to the whole foreground group: the child has it already.
        if PASSED_ON.contains(&signal) && info.si_code != libc::SI_KERNEL {
            // SAFETY: the child has not been waited for, so its id is still its own.
            unsafe { libc::kill(pid as i32, signal) };
        }
    }
}

/// The status, if the child has ended.
fn ended(pid: u32) -> std::io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: status is a valid place for the result.
    match unsafe { libc::waitpid(pid as i32, &mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(Some(ExitStatus::from_raw(status))),
    }
}

fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set, and sigaddset takes any signal number.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}
