//! Which system call a thread has made: what stands in no register once the call has failed, but in the code before it.
//!
//! Compilers load the number right before the instruction. From 2.41 on glibc makes the calls that may wait in one place, `__syscall_cancel_arch`, which is given the
//! number by `__internal_syscall_cancel`, which has it on its stack (sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S, nptl/cancellation.c).

use super::raw;

/// The number of the system call whose instruction ends at `behind`, made by a thread that stands at `instruction` (there, or before the call) with its stack
/// pointer at `stack`. `None` if the code does not say.
///
/// # Safety
/// The thread is the calling one, interrupted in that call, and the code before it is what it executed.
pub unsafe fn of(behind: usize, instruction: usize, stack: usize) -> Option<i64> {
    let code = code_before(behind, Some(instruction))?;
    let number = match source(&code)? {
        Source::Code(number) => return Some(number),
        // SAFETY: the code has read this word of its stack.
        Source::Stack(offset) => unsafe { ((stack + offset) as *const i64).read_volatile() },
        // SAFETY: a thread in a call has a stack.
        Source::Argument => unsafe { argument(behind, stack)? },
    };
    (0..1024).contains(&number).then_some(number)
}

/// Where the number of a call comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// It stands in the code.
    Code(i64),
    /// So far above the stack pointer.
    Stack(usize),
    /// It is the second argument of the function, which has pushed nothing.
    Argument,
}

/// The second argument of the function whose call instruction at `behind` ends: its caller has fetched it from its own stack. `None` if that is not so.
///
/// # Safety
/// `stack` is the stack pointer in the function.
unsafe fn argument(behind: usize, stack: usize) -> Option<i64> {
    /// As long as the function is, and more.
    const FUNCTION_BYTES_MAX: usize = 96;
    // SAFETY: the caller's.
    let back = unsafe { (stack as *const usize).read_volatile() };
    // Code that a thread will come back to stays; if it is something else, nothing is known of it.
    let (offset, distance) = fetched_for_call(&code_before(back, None)?)?;
    // It is where a call of this very function comes back to.
    let function = back.wrapping_add_signed(distance);
    if !(function..function.saturating_add(FUNCTION_BYTES_MAX)).contains(&behind) {
        return None;
    }
    // SAFETY: the caller has read it, with nothing on its stack yet of where to come back to.
    Some(unsafe { ((stack + 8 + offset) as *const i64).read_volatile() })
}

/// Of code that ends with a call: where on its stack the second argument was, and how far away the function is.
fn fetched_for_call(code: &[u8; CODE]) -> Option<(usize, isize)> {
    let (before, [0xe8, distance @ ..]) = code.split_at(CODE - 5) else { return None };
    let distance = i32::from_le_bytes(*distance.first_chunk()?) as isize;
    // mov rsi, [rsp + offset], and then moves between registers.
    let at = before.windows(5).rposition(|bytes| matches!(bytes, [0x48, 0x8b, 0x74, 0x24, 0..0x80]))?;
    let (offset, moves) = (before.get(at + 4)?, before.get(at + 5..)?);
    let harmless = |m: &[u8]| matches!(m, [prefix, 0x89, modrm] if prefix & 0xf8 == 0x48 && modrm >> 6 == 3 && (modrm & 7 != 6 || prefix & 1 != 0));
    (moves.len() % 3 == 0 && moves.chunks(3).all(harmless)).then_some((usize::from(*offset), distance))
}

/// Bytes before the end of an instruction in which the number, or its place, is looked for.
const CODE: usize = 40;

/// The bytes before an address. The thread may be anywhere, so no page is read unasked but that of its next instruction.
fn code_before(end: usize, instruction: Option<usize>) -> Option<[u8; CODE]> {
    let start = end.checked_sub(CODE)?;
    let can_be_read = |at: usize| instruction.is_some_and(|i| i >> 12 == at >> 12) || raw::is_readable(at & !7);
    // SAFETY: readable; not by a system call that copies memory, for which sandboxes end a program.
    (can_be_read(start) && can_be_read(end - 1)).then(|| unsafe { core::ptr::read_volatile(start as *const [u8; CODE]) })
}

/// Where the number of the system call at the end of `code` comes from, if that is loaded as compilers do: one of the three moves to `eax` or `rax`, at most a few
/// moves into other places, `syscall`.
fn source(code: &[u8; CODE]) -> Option<Source> {
    let (before, [0x0f, 0x05]) = code.split_at(CODE - 2) else { return None };
    (3..before.len()).find_map(|back| {
        let (prefix, load) = before.split_at(before.len() - back);
        // With a prefix it would load another register.
        let plain = prefix.last().is_some_and(|b| b & 0xf0 != 0x40);
        match load {
            [0xb8, n0, n1, 0, 0, moves @ ..] if plain && are_moves_beside_eax(moves) => {
                Some(Source::Code(i64::from(u16::from_le_bytes([*n0, *n1]))))
            }
            // mov rax, [rsp + offset]: nothing between may store there.
            [0x48, 0x8b, 0x44, 0x24, offset @ 0..0x80] => Some(Source::Stack(usize::from(*offset))),
            // mov rax, rsi
            [0x48, 0x89, 0xf0, moves @ ..] if are_moves_beside_eax(moves) => Some(Source::Argument),
            _ => None,
        }
    })
}

/// Whether the bytes are whole instructions of the forms `mov register, ...` and `xor register, register` that leave RAX alone (Intel SDM volume 2,
/// 2.1: prefix, opcode, ModRM, SIB, displacement).
fn are_moves_beside_eax(mut code: &[u8]) -> bool {
    while let Some((&first, rest)) = code.split_first() {
        let (prefix, rest) = if first & 0xf0 == 0x40 { (first, rest) } else { (0, code) };
        let [opcode, tail @ ..] = rest else { return false };
        if opcode & 0xf8 == 0xb8 {
            // mov register, number: 8 bytes of it with REX.W.
            let length = if prefix & 8 != 0 { 8 } else { 4 };
            if opcode & 7 == 0 && prefix & 1 == 0 || tail.len() < length {
                return false;
            }
            code = &tail[length..];
            continue;
        }
        let [modrm, tail @ ..] = tail else { return false };
        let (mode, register, memory) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        let written_is_rax = match opcode {
            0x8b | 0x8d => register == 0 && prefix & 4 == 0,
            0x89 | 0x31 => mode == 3 && memory == 0 && prefix & 1 == 0,
            _ => return false,
        };
        let sib = usize::from(mode != 3 && memory == 4);
        let displacement = match mode {
            1 => 1,
            2 => 4,
            0 if memory == 5 => 4,
            _ => 0,
        };
        // A SIB byte without a base brings 4 more; no compiler passes arguments so.
        if written_is_rax || tail.len() < sib + displacement || sib == 1 && mode == 0 && tail[0] & 7 == 5 {
            return false;
        }
        code = &tail[sib + displacement..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending_with(code: &[u8]) -> [u8; CODE] {
        let mut bytes = [0x90; CODE];
        bytes[CODE - code.len()..].copy_from_slice(code);
        bytes
    }

    #[test]
    fn a_number_is_believed_only_if_the_code_says_it() {
        let number = |code: &[u8]| match source(&ending_with(code)) {
            Some(Source::Code(number)) => Some(number),
            None => None,
            Some(other) => panic!("{other:?}"),
        };
        // mov eax, 7; syscall
        assert_eq!(number(&[0xb8, 7, 0, 0, 0, 0x0f, 0x05]), Some(7));
        // mov eax, 270; mov r8, [rsp+8]; syscall: glibc's pselect
        assert_eq!(number(&[0xb8, 0x0e, 1, 0, 0, 0x4c, 0x8b, 0x44, 0x24, 8, 0x0f, 0x05]), Some(270));
        // mov eax, 70; mov r10, r12; mov edi, ebx; syscall
        assert_eq!(number(&[0xb8, 70, 0, 0, 0, 0x4d, 0x89, 0xe2, 0x89, 0xdf, 0x0f, 0x05]), Some(70));
        // mov eax, 1; mov r8d, 8; xor r9d, r9d; syscall
        assert_eq!(number(&[0xb8, 1, 0, 0, 0, 0x41, 0xb8, 8, 0, 0, 0, 0x45, 0x31, 0xc9, 0x0f, 0x05]), Some(1));
        // mov r8d, 8; syscall
        assert_eq!(number(&[0x41, 0xb8, 8, 0, 0, 0, 0x0f, 0x05]), None);
        // mov eax, 7; mov eax, ebx; syscall
        assert_eq!(number(&[0xb8, 7, 0, 0, 0, 0x89, 0xd8, 0x0f, 0x05]), None);
        // mov eax, 7; mov rax, [rsp]; syscall
        assert_eq!(number(&[0xb8, 7, 0, 0, 0, 0x48, 0x8b, 0x04, 0x24, 0x0f, 0x05]), None);
        // mov eax, 7; call ...; syscall
        assert_eq!(number(&[0xb8, 7, 0, 0, 0, 0xe8, 1, 2, 3, 4, 0x0f, 0x05]), None);
        // mov eax, 7; int 0x80
        assert_eq!(number(&[0xb8, 7, 0, 0, 0, 0xcd, 0x80]), None);
        // mov rax, rdi; ...; syscall: syscall(2)
        assert_eq!(number(&[0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05]), None);
    }

    /// glibc 2.41, x86-64, as Debian 13 has it: the end of `__syscall_cancel_arch`, and the call of it in `__internal_syscall_cancel`.
    const CANCEL_ARCH: &[u8] = &[
        0x49, 0x89, 0xfb, 0x48, 0x89, 0xf0, 0x48, 0x89, 0xd7, 0x48, 0x89, 0xce, 0x4c, 0x89, 0xc2, 0x4d, 0x89, 0xca, 0x4c, 0x8b,
        0x44, 0x24, 0x08, 0x4c, 0x8b, 0x4c, 0x24, 0x10, 0x4c, 0x89, 0x5c, 0x24, 0x08, 0x0f, 0x05,
    ];
    const CALL: &[u8] = &[
        0x41, 0x50, 0x48, 0x8b, 0x74, 0x24, 0x20, 0x49, 0x89, 0xd0, 0x48, 0x89, 0xfa, 0x4c, 0x89, 0xdf, 0xe8, 0x78, 0xb3, 0x00,
        0x00,
    ];

    #[test]
    fn a_number_that_was_handed_over_is_found_where_the_caller_had_it() {
        assert_eq!(source(&ending_with(CANCEL_ARCH)), Some(Source::Argument));
        assert_eq!(fetched_for_call(&ending_with(CALL)), Some((0x20, 0xb378)));
        // mov rax, [rsp + 16]; syscall
        assert_eq!(source(&ending_with(&[0x48, 0x8b, 0x44, 0x24, 0x10, 0x0f, 0x05])), Some(Source::Stack(0x10)));
        // mov rax, [rsp + 16]; mov [rsp + 16], r11; syscall
        assert_eq!(source(&ending_with(&[0x48, 0x8b, 0x44, 0x24, 0x10, 0x4c, 0x89, 0x5c, 0x24, 0x10, 0x0f, 0x05])), None);
        // mov r8, rsi; syscall
        assert_eq!(source(&ending_with(&[0x49, 0x89, 0xf0, 0x0f, 0x05])), None);
        // mov rsi, [rsp + 32]; mov rsi, rax; call; and with an instruction of another kind between
        assert_eq!(fetched_for_call(&ending_with(&[0x48, 0x8b, 0x74, 0x24, 0x20, 0x48, 0x89, 0xc6, 0xe8, 1, 0, 0, 0])), None);
        assert_eq!(fetched_for_call(&ending_with(&[0x48, 0x8b, 0x74, 0x24, 0x20, 0x48, 0x31, 0xf6, 0xe8, 1, 0, 0, 0])), None);
    }

    #[test]
    fn the_argument_is_believed_only_of_a_function_that_its_caller_calls() {
        // The caller's code, and behind it the function, as far away as the call says; a stack as it is in the function.
        let mut code = vec![0x90u8; CODE];
        code[CODE - CALL.len()..].copy_from_slice(CALL);
        code[CODE - 4..].copy_from_slice(&16i32.to_le_bytes());
        code.extend([0xcc; 16]);
        code.extend(CANCEL_ARCH);
        let back = code.as_ptr() as usize + CODE;
        let behind = code.as_ptr() as usize + code.len();
        let mut stack = [0usize; 16];
        stack[0] = back;
        stack[1 + 4] = 271;
        let at = stack.as_ptr() as usize;
        // SAFETY: the arrays are what the function wants.
        unsafe {
            assert_eq!(of(behind, behind, at), Some(271));
            stack[1 + 4] = 5000;
            assert_eq!(of(behind, behind, stack.as_ptr() as usize), None);
            stack[1 + 4] = 271;
            // Not what a call comes back to; nothing at all; and a call of something else.
            stack[0] = back + 1;
            assert_eq!(of(behind, behind, stack.as_ptr() as usize), None);
            stack[0] = 4096;
            assert_eq!(of(behind, behind, stack.as_ptr() as usize), None);
            stack[0] = back;
            code[CODE - 4] = 17;
            code[CODE - 3] = 1;
            assert_eq!(of(behind, behind, stack.as_ptr() as usize), None);
        }
    }
}
