// Programs for the loader's tests: every kind of reference an object can have.
// Rebuild with `go generate ./loader`.

typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define KSYM __attribute__((section(".ksyms")))
#define KCONFIG __attribute__((section(".kconfig")))
#define CORE __attribute__((preserve_access_index))
#define UINT(name, val) int(*name)[val]
#define TYPE(name, val) typeof(val) *name

static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	UINT(type, 1 /* hash */);
	UINT(max_entries, 16);
	TYPE(key, u32);
	TYPE(value, u64);
	UINT(pinning, 1 /* by name */);
} counters SEC(".maps");

const volatile u32 threshold = 7;

static NOINLINE u64 twice(u64 v) { return v * 2 + (u32)v; }

NOINLINE int check(u32 v) { return v > threshold ? 1 : 0; }

// Global and static functions, a map and read-only data.
SEC("socket")
int functions(void *ctx)
{
	u32 key = 3;
	u64 *v = map_lookup_elem(&counters, &key);

	if (!v)
		return 0;
	return check(*v) + (twice(*v) & 1);
}

struct task_struct {
	int pid;
} CORE;

struct task_struct___lost {
	int no_such_member_here;
} CORE;

static struct task_struct *(*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;

// A CO-RE relocation that finds its target.
SEC("kprobe/none")
int core(void *ctx)
{
	int pid = 0;

	probe_read_kernel(&pid, sizeof(pid), &get_current_task()->pid);
	return pid > 0;
}

// A CO-RE relocation that finds none.
SEC("kprobe/none")
int core_lost(void *ctx)
{
	struct task_struct___lost *t = (void *)get_current_task();
	int v = 0;

	probe_read_kernel(&v, sizeof(v), &t->no_such_member_here);
	return v;
}

extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;
extern void bpf_no_such_kfunc(void) KSYM;

SEC("tc")
int kfunc(void *ctx)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return 0;
}

SEC("tc")
int kfunc_lost(void *ctx)
{
	bpf_no_such_kfunc();
	return 0;
}

extern void bpf_no_such_weak_kfunc(void) __attribute__((weak)) KSYM;

// Poisoned, but never reached.
SEC("tc")
int kfunc_weak(void *ctx)
{
	if (bpf_no_such_weak_kfunc)
		bpf_no_such_weak_kfunc();
	return 0;
}

extern void init_task __attribute__((weak)) KSYM;

extern void lastgood_no_such_symbol KSYM;

SEC("tc")
int ksym_lost(void *ctx) { return (u64)&lastgood_no_such_symbol >> 4; }

SEC("tc")
int ksym(void *ctx) { return &init_task != 0; }

extern unsigned int LINUX_KERNEL_VERSION KCONFIG;

SEC("tc")
int kconfig(void *ctx) { return LINUX_KERNEL_VERSION > 0; }

// Accepted only if the verifier knows what ctx is, so the target must be resolved.
SEC("fentry/bpf_fentry_test1")
int fentry(u64 *ctx) { return ctx[0] == 0; }

SEC("fentry/lastgood_no_such_function")
int fentry_lost(u64 *ctx) { return 0; }
