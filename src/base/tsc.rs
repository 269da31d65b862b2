//! The processor's time stamp counter: reading it, and whether it may serve as a clock.
//!
//! It may when it is invariant: it then runs at one rate in every power state and on every core (AMD and
//! Intel name the bit in CPUID leaf 8000_0007). Reading takes about 10 ns and no system call.

#![allow(unsafe_code)]

/// Whether the counter exists and runs at a constant rate.
#[cfg(target_arch = "x86_64")]
pub fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;
    /// CPUID leaf that names the highest extended leaf.
    const HIGHEST_EXTENDED: u32 = 0x8000_0000;
    /// CPUID leaf of power management; bit 8 of EDX is the invariant counter.
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    __cpuid(HIGHEST_EXTENDED).eax >= POWER_MANAGEMENT && __cpuid(POWER_MANAGEMENT).edx & (1 << 8) != 0
}

/// The counter. Not ordered with the instructions around it: good for stretches of 100 ns and more.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn read() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor. A kernel may forbid it to processes (prctl
    // PR_SET_TSC); nothing here does, and the C library's clocks would fail then too.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Other processors: none, so the clock uses `Instant`.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_invariant() -> bool {
    false
}

/// Never called where [`is_invariant`] is false.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn read() -> u64 {
    0
}
