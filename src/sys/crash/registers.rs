//! The processor's registers at the fault, as far as this machine's layout is known here.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::RawFd;

use crate::sys::raw_write::write_line;

/// Writes the registers that the kernel saved in a handler's third argument.
#[cfg(target_arch = "x86_64")]
pub(super) fn write(fd: RawFd, context: *mut c_void) {
    const ROWS: [[(&str, libc::c_int); 3]; 6] = [
        [("RAX", libc::REG_RAX), ("RBX", libc::REG_RBX), ("RCX", libc::REG_RCX)],
        [("RDX", libc::REG_RDX), ("RDI", libc::REG_RDI), ("RSI", libc::REG_RSI)],
        [("RBP", libc::REG_RBP), ("RSP", libc::REG_RSP), ("R8 ", libc::REG_R8)],
        [("R9 ", libc::REG_R9), ("R10", libc::REG_R10), ("R11", libc::REG_R11)],
        [("R12", libc::REG_R12), ("R13", libc::REG_R13), ("R14", libc::REG_R14)],
        [("R15", libc::REG_R15), ("RIP", libc::REG_RIP), ("EFL", libc::REG_EFL)],
    ];
    // SAFETY: the kernel passes a valid ucontext as third argument of an SA_SIGINFO handler.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let value = |index: libc::c_int| registers[index as usize];
    write_line(fd, format_args!("\n------ REGISTERS ------"));
    for [(a, at_a), (b, at_b), (c, at_c)] in ROWS {
        let (x, y, z) = (value(at_a), value(at_b), value(at_c));
        write_line(fd, format_args!("{a}:{x:016x} {b}:{y:016x} {c}:{z:016x}"));
    }
}

/// Writes the registers that the kernel saved in a handler's third argument.
#[cfg(target_arch = "aarch64")]
pub(super) fn write(fd: RawFd, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext as third argument of an SA_SIGINFO handler.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    write_line(fd, format_args!("\n------ REGISTERS ------"));
    for (number, value) in registers.regs.iter().enumerate() {
        write_line(fd, format_args!("X{number:02}:{value:016x}"));
    }
    write_line(fd, format_args!("SP :{:016x} PC :{:016x}", registers.sp, registers.pc));
}

/// Other machines: not known, so said.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn write(fd: RawFd, _context: *mut c_void) {
    write_line(fd, format_args!("\n------ REGISTERS ------\nnot known for this processor"));
}
