//! Asks for cache lines ahead of their use, without waiting for them.

/// Has the line at an address fetched for reading. Whatever the address: one that leads nowhere is ignored.
#[inline(always)]
pub fn to_read(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: fetching changes nothing that a program can see, and does not fault.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// Has the line at an address fetched for writing: taken from the processor that wrote it last, too. Whatever the address, as above.
#[inline(always)]
pub fn to_write(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above. Every x86-64 processor executes it, those without the feature (PRFCHW) as a nop: Intel's manual, volume 2, PREFETCHW.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(test)]
mod tests {
    /// The reason why they are safe for any address.
    #[test]
    fn any_address_will_do() {
        for address in [0, 1, 4095, 1 << 46, 1 << 63, usize::MAX, &0_u8 as *const u8 as usize] {
            super::to_read(address);
            super::to_write(address);
        }
    }
}
