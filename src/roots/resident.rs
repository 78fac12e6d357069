//! Which pages of a range hold anything: a sparse mapping of many gigabytes is not to be read page by page, and a guard page not at all.

use core::cell::OnceCell;

use crate::sys::files::File;
use crate::sys::raw;

const PAGE: usize = 4096;
/// Of ranges below this all pages are read that can be, touched or not: it costs as little.
const WORTH_SKIPPING: usize = 64 << 10;
/// `/proc/PID/pagemap` (kernel, admin-guide/mm/pagemap): bit 63 present, bit 62 swapped. What is said to be swapped may also be a guard page (`MADV_GUARD_INSTALL`; so
/// glibc guards its stacks from 2.42 on), in a mapping that is readable otherwise.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

/// Answers which parts of a range were ever touched.
pub struct Resident {
    /// Opened when it is first needed: most sweeps of the heap never ask. `None` inside if the kernel will not say, or is not to be asked.
    pagemap: OnceCell<Option<File>>,
    /// Of ranges of fewer bytes untouched pages count as touched.
    worth_skipping_bytes: usize,
}

/// A page, as the kernel has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Untouched,
    Touched,
    Unreadable,
}

impl Resident {
    /// Asks the page map of this process; without it every page that can be read counts as touched.
    pub fn of_this_process() -> Resident {
        Resident { pagemap: OnceCell::new(), worth_skipping_bytes: WORTH_SKIPPING }
    }

    /// As [`Resident::of_this_process`], and never an untouched page: a page that is there can be read, also of a mapping whose file was cut short.
    pub fn strict() -> Resident {
        Resident { worth_skipping_bytes: 0, ..Resident::of_this_process() }
    }

    /// Takes every page for touched that can be read.
    pub fn unknown() -> Resident {
        Resident { pagemap: OnceCell::from(None), worth_skipping_bytes: 0 }
    }

    /// Calls `part` for each touched part of `start..end`, in order.
    pub fn for_each_part(&self, start: usize, end: usize, part: &mut dyn FnMut(usize, usize)) {
        let untouched_too = end - start < self.worth_skipping_bytes;
        let mut open: Option<usize> = None;
        self.for_each_page(start, end, &mut |page, what| {
            if what == Page::Touched || what == Page::Untouched && untouched_too {
                open.get_or_insert(page.max(start));
            } else if let Some(from) = open.take() {
                part(from, page);
            }
        });
        if let Some(from) = open {
            part(from, end);
        }
    }

    /// Calls `part` for each part of `start..end` that ends where the range does, or at a guard page, and begins behind one.
    pub fn for_each_guarded_part(&self, start: usize, end: usize, part: &mut dyn FnMut(usize, usize)) {
        let (mut guarded, mut open) = (false, None);
        self.for_each_page(start, end, &mut |page, what| {
            if what == Page::Unreadable {
                if let Some(from) = open.take() {
                    part(from, page);
                }
                guarded = true;
            } else if guarded {
                open.get_or_insert(page);
            }
        });
        if let Some(from) = open {
            part(from, end);
        }
    }

    fn pagemap(&self) -> Option<&File> {
        self.pagemap.get_or_init(|| File::open(c"/proc/self/pagemap")).as_ref()
    }

    fn for_each_page(&self, start: usize, end: usize, each: &mut dyn FnMut(usize, Page)) {
        let mut entries = [0u64; 512];
        let mut page = start & !(PAGE - 1);
        while page < end {
            let wanted = (end - page).div_ceil(PAGE).min(entries.len());
            let got = match (self.pagemap(), entries.get_mut(..wanted)) {
                (Some(pagemap), Some(slice)) => pagemap.read_words_at(slice, (page / PAGE) as u64 * 8),
                _ => 0,
            };
            for &entry in entries.iter().take(got) {
                let what = match entry & (PRESENT | SWAPPED) {
                    0 => Page::Untouched,
                    SWAPPED if !raw::is_readable(page) => Page::Unreadable,
                    _ => Page::Touched,
                };
                each(page, what);
                page += PAGE;
            }
            if got == 0 {
                // The kernel would not say.
                each(page, if raw::is_readable(page) { Page::Touched } else { Page::Unreadable });
                page += PAGE;
            }
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
        Resident::of_this_process().for_each_part(p, p + length, &mut |s, e| parts.push(((s - p) / PAGE, (e - p) / PAGE)));
        // SAFETY: the mapping above.
        unsafe { libc::munmap(p as *mut _, length) };
        assert_eq!(parts, [(5, 7), (63, 64)]);
    }

    #[test]
    fn guard_pages_are_told_from_the_mapping_they_are_in() {
        const MADV_GUARD_INSTALL: i32 = 102;
        let length = 16 * PAGE;
        // SAFETY: a fresh anonymous mapping, unmapped below; the advice and the write are inside it.
        let (p, refused) = unsafe {
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let p = libc::mmap(core::ptr::null_mut(), length, access, flags, -1, 0) as usize;
            let refused = libc::madvise((p + 4 * PAGE) as *mut _, 2 * PAGE, MADV_GUARD_INSTALL);
            *((p + 7 * PAGE) as *mut u8) = 1;
            (p, refused)
        };
        let parts = |resident: &Resident, guarded: bool| {
            let mut parts = Vec::new();
            let mut part = |s: usize, e: usize| parts.push(((s - p) / PAGE, (e - p) / PAGE));
            if guarded {
                resident.for_each_guarded_part(p, p + length, &mut part);
            } else {
                resident.for_each_part(p, p + length, &mut part);
            }
            parts
        };
        let strict = parts(&Resident::strict(), false);
        let all = Resident { worth_skipping_bytes: usize::MAX, ..Resident::of_this_process() };
        let found =
            [parts(&all, false), parts(&Resident::unknown(), false), parts(&all, true), parts(&Resident::unknown(), true)];
        // SAFETY: the mapping above.
        unsafe { libc::munmap(p as *mut _, length) };
        assert!(!raw::is_readable(p) && raw::is_readable(&raw const length as usize));
        assert_eq!(strict, [(7, 8)]);
        if refused == 0 {
            assert_eq!(found, [vec![(0, 4), (6, 16)], vec![(0, 4), (6, 16)], vec![(6, 16)], vec![(6, 16)]]);
        } else {
            assert_eq!(found, [vec![(0, 16)], vec![(0, 16)], vec![], vec![]]);
        }
    }
}
