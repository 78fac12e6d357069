//! Which pages of a range hold anything: a sparse mapping of many gigabytes is not to be read page by page.

use crate::sys::files::File;

const PAGE: usize = 4096;
/// Ranges below this are read whole: asking costs more than reading.
const WORTH_ASKING: usize = 64 << 10;
/// `/proc/PID/pagemap` (kernel, admin-guide/mm/pagemap): bit 63 present, bit 62 swapped.
const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;

/// Answers which parts of a range were ever touched.
pub struct Resident {
    pagemap: Option<File>,
    /// Ranges of fewer bytes are read whole.
    worth_asking_bytes: usize,
}

impl Resident {
    /// Opens the page map of this process; without it every page counts as touched.
    pub fn open() -> Resident {
        Resident { pagemap: File::open(c"/proc/self/pagemap"), worth_asking_bytes: WORTH_ASKING }
    }

    /// As [`Resident::open`], asking for every range: a page that is there can be read, also of a mapping whose file was cut short.
    pub fn strict() -> Resident {
        Resident { worth_asking_bytes: 0, ..Resident::open() }
    }

    /// Takes every page for touched.
    pub fn unknown() -> Resident {
        Resident { pagemap: None, worth_asking_bytes: 0 }
    }

    /// Calls `part` for each touched part of `start..end`, in order.
    pub fn for_each_part(&self, start: usize, end: usize, part: &mut dyn FnMut(usize, usize)) {
        let Some(pagemap) = &self.pagemap else { return part(start, end) };
        if end - start < self.worth_asking_bytes {
            return part(start, end);
        }
        let mut entries = [0u64; 512];
        let mut page = start & !(PAGE - 1);
        let mut open: Option<usize> = None;
        while page < end {
            let wanted = (end - page).div_ceil(PAGE).min(entries.len());
            let got = match entries.get_mut(..wanted) {
                Some(slice) => pagemap.read_words_at(slice, (page / PAGE) as u64 * 8),
                None => 0,
            };
            if got == 0 {
                // The kernel would not say: take the rest as touched.
                part(open.unwrap_or(page.max(start)), end);
                return;
            }
            for &entry in entries.iter().take(got) {
                if entry & PRESENT_OR_SWAPPED != 0 {
                    open.get_or_insert(page.max(start));
                } else if let Some(from) = open.take() {
                    part(from, page);
                }
                page += PAGE;
            }
        }
        if let Some(from) = open {
            part(from, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_touched_pages_are_named() {
        let length = 64 * PAGE;
        // SAFETY: a fresh anonymous mapping, unmapped below.
        let p = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        } as usize;
        // SAFETY: inside the mapping. Without huge pages, or the neighbours would be touched too.
        unsafe {
            libc::madvise(p as *mut _, length, libc::MADV_NOHUGEPAGE);
            *((p + 5 * PAGE) as *mut u8) = 1;
            *((p + 6 * PAGE) as *mut u8) = 1;
            *((p + 63 * PAGE) as *mut u8) = 1;
        }
        let mut parts = Vec::new();
        Resident::open().for_each_part(p, p + length, &mut |s, e| parts.push(((s - p) / PAGE, (e - p) / PAGE)));
        // SAFETY: the mapping above.
        unsafe { libc::munmap(p as *mut _, length) };
        assert_eq!(parts, [(5, 7), (63, 64)]);
    }
}
