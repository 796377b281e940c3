//! The command of sandboxes that are to stay: says one byte, waits until its input ends, and exits 0. Without libc, so
//! that what is measured beside it is nsl's.

#![no_std]
#![no_main]

use core::arch::naked_asm;

#[panic_handler]
fn never(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// # Safety
/// The kernel alone jumps here; nothing calls it.
// SAFETY: write(1) and read(0) of one byte at the stack pointer, where argc is, until read gives none; exit_group(0).
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mov eax, 1",
        "mov edi, 1",
        "mov rsi, rsp",
        "mov edx, 1",
        "syscall",
        "2:",
        "xor eax, eax",
        "xor edi, edi",
        "mov rsi, rsp",
        "mov edx, 1",
        "syscall",
        "test rax, rax",
        "jg 2b",
        "mov eax, 231",
        "xor edi, edi",
        "syscall",
        "ud2",
    )
}

/// # Safety
/// The kernel alone jumps here; nothing calls it.
// SAFETY: as above.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mov x8, #64",
        "mov x0, #1",
        "mov x1, sp",
        "mov x2, #1",
        "svc #0",
        "2:",
        "mov x8, #63",
        "mov x0, #0",
        "mov x1, sp",
        "mov x2, #1",
        "svc #0",
        "cmp x0, #0",
        "b.gt 2b",
        "mov x8, #94",
        "mov x0, #0",
        "svc #0",
        "brk #1",
    )
}
