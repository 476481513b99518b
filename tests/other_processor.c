// Lets a program believe that it runs on an AMD EPYC (Zen 3: AVX2, no AVX-512), whatever the processor: a library for
// LD_PRELOAD. What libraries choose by the processor's name, features and caches, they choose as there; how an
// instruction rounds stays the true processor's.
//
// Linux can let the instruction CPUID fault (arch_prctl(2), ARCH_SET_CPUID) where the processor can; the handler below
// answers in its place. Children inherit LD_PRELOAD and so do the same.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

typedef int (*sigaction_function)(int, const struct sigaction *, struct sigaction *);

static struct sigaction program_action; // what the program itself wants to do at a segmentation fault

static sigaction_function real_sigaction(void) { return (sigaction_function)dlsym(RTLD_NEXT, "sigaction"); }

static long let_cpuid_fault(int fault) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !fault); }

static void set(uint32_t r[4], uint32_t a, uint32_t b, uint32_t c, uint32_t d) { r[0] = a, r[1] = b, r[2] = c, r[3] = d; }

// Fills r with EAX, EBX, ECX and EDX of an EPYC 7763 for `leaf`; AMD's manual "CPUID Specification" names the leaves.
static void answer(uint32_t leaf, uint32_t sub, uint32_t r[4]) {
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
    if (leaf == 0 || leaf == 0x80000000) // the highest leaf, and "AuthenticAMD"
        set(r, leaf ? 0x8000001f : 0x10, 0x68747541, 0x444d4163, 0x69746e65);
    else if (leaf == 1)
        r[0] = 0x00a00f11; // family 25, model 1
    else if (leaf == 2 || leaf == 4 || leaf == 0x14) // Intel's own
        set(r, 0, 0, 0, 0);
    else if (leaf == 7 && sub == 0) { // without AVX-512 and AMX
        r[1] &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 28 | 1u << 30 | 1u << 31);
        r[2] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        r[3] &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    } else if (leaf == 7 && sub == 1) // without AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA
        r[0] &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 22 | 1u << 23);
    else if (leaf == 0x80000005) // first-level caches of 32 KiB
        set(r, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140);
    else if (leaf == 0x80000006) // second level 512 KiB, third 32 MiB
        set(r, 0x48002200, 0x68004200, 0x02006140, 0x01009140);
    else if (leaf == 0x8000001d) { // the same, one by one
        static const uint32_t caches[4][4] = {
            {0x121, 0x01c0003f, 63, 0}, {0x122, 0x01c0003f, 63, 0}, {0x143, 0x01c0003f, 1023, 2}, {0x3c163, 0x03c0003f, 32767, 1}};
        memset(r, 0, 16);
        if (sub < 4)
            memcpy(r, caches[sub], 16);
    }
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (info->si_code == SI_KERNEL && instruction[0] == 0x0f && instruction[1] == 0xa2) { // CPUID
        uint32_t r[4];
        let_cpuid_fault(0);
        answer(registers[REG_RAX], registers[REG_RCX], r);
        let_cpuid_fault(1);
        registers[REG_RAX] = r[0], registers[REG_RBX] = r[1], registers[REG_RCX] = r[2], registers[REG_RDX] = r[3];
        registers[REG_RIP] += 2;
    } else if (program_action.sa_flags & SA_SIGINFO)
        program_action.sa_sigaction(number, info, context);
    else if (program_action.sa_handler != SIG_DFL && program_action.sa_handler != SIG_IGN)
        program_action.sa_handler(number);
    else
        signal(number, SIG_DFL);
}

// Keeps the handler above in place when the program installs one of its own.
int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (number != SIGSEGV)
        return real_sigaction()(number, action, old);
    if (old)
        *old = program_action;
    if (action)
        program_action = *action;
    return 0;
}

__attribute__((constructor(101))) static void begin(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    real_sigaction()(SIGSEGV, &action, 0);
    let_cpuid_fault(1);
}
