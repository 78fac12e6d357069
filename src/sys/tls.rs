//! Thread-local words with the initial-exec model: three instructions, no call.
//!
//! `thread_local!` in a shared library calls `__tls_get_addr`, which may call `malloc`. These words live in the static TLS block, of
//! which a dlopened library gets only a few hundred bytes: so there are two of them and there will be no array.
//!
//! They start as zero, also in the window in which the dynamic loader already calls `malloc` but has not yet copied the initial
//! TLS image. Whoever stores something here chooses an encoding in which zero is the first state.

core::arch::global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".balign 8",
    ".globl gcshim_tls_cache",
    ".hidden gcshim_tls_cache",
    ".type gcshim_tls_cache,@object",
    ".size gcshim_tls_cache,8",
    "gcshim_tls_cache:",
    ".zero 8",
    ".globl gcshim_tls_ranks",
    ".hidden gcshim_tls_ranks",
    ".type gcshim_tls_ranks,@object",
    ".size gcshim_tls_ranks,8",
    "gcshim_tls_ranks:",
    ".zero 8",
    ".popsection",
);

macro_rules! word {
    ($get:ident, $set:ident, $symbol:literal, $what:literal) => {
        #[doc = concat!("Reads ", $what, " of the calling thread.")]
        #[inline(always)]
        pub fn $get() -> usize {
            let value: usize;
            // SAFETY: the symbol is a word in our TLS block, defined above; reading it touches nothing else.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    concat!("mov {0}, qword ptr [rip + ", $symbol, "@gottpoff]"),
                    "mov {0}, qword ptr fs:[{0}]",
                    out(reg) value, options(pure, readonly, nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    "mrs {1}, tpidr_el0",
                    concat!("adrp {0}, :gottprel:", $symbol),
                    concat!("ldr {0}, [{0}, :gottprel_lo12:", $symbol, "]"),
                    "ldr {0}, [{1}, {0}]",
                    out(reg) value, out(reg) _, options(pure, readonly, nostack, preserves_flags)
                );
            }
            value
        }

        #[doc = concat!("Sets ", $what, " of the calling thread.")]
        #[inline(always)]
        pub fn $set(value: usize) {
            // SAFETY: the symbol is a word in our TLS block, which only the calling thread uses.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                core::arch::asm!(
                    concat!("mov {0}, qword ptr [rip + ", $symbol, "@gottpoff]"),
                    "mov qword ptr fs:[{0}], {1}",
                    out(reg) _, in(reg) value, options(nostack, preserves_flags)
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                core::arch::asm!(
                    "mrs {1}, tpidr_el0",
                    concat!("adrp {0}, :gottprel:", $symbol),
                    concat!("ldr {0}, [{0}, :gottprel_lo12:", $symbol, "]"),
                    "str {2}, [{1}, {0}]",
                    out(reg) _, out(reg) _, in(reg) value, options(nostack, preserves_flags)
                );
            }
        }
    };
}

word!(cache_word, set_cache_word, "gcshim_tls_cache", "the word that names the thread cache");
word!(rank_word, set_rank_word, "gcshim_tls_ranks", "the set of lock ranks held (debug builds only)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_words_and_they_start_as_zero() {
        std::thread::spawn(|| {
            assert_eq!((cache_word(), rank_word()), (0, 0));
            set_rank_word(7);
            std::thread::spawn(|| assert_eq!(rank_word(), 0)).join().unwrap();
            assert_eq!((cache_word(), rank_word()), (0, 7));
            set_rank_word(0);
        })
        .join()
        .unwrap();
    }
}
