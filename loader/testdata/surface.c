// What tracing programs lean on: a field that was renamed (task_struct.state, 5.14), one
// that stays, a kernel function, tracepoints of each form, functions to attach to.
// Built as loader/generate_test.go says.
#define SEC(name) __attribute__((section(name), used))
#define relocated __attribute__((preserve_access_index))

struct task_struct {
	volatile long state;
	int pid;
} relocated;

struct task_struct___new {
	unsigned int __state;
} relocated;

extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
extern int bpf_wq_set_callback_impl(void *wq, void *callback, unsigned int flags, void *aux__ign) __attribute__((section(".ksyms")));
extern void cgroup_rstat_flush(void *cgroup) __attribute__((section(".ksyms")));
extern unsigned long *bpf_session_cookie(void) __attribute__((section(".ksyms"), weak));

// Reads a field without asking whether it is there.
SEC("kprobe/finish_task_switch")
long reads(void *ctx)
{
	struct task_struct *task = *(void **)ctx;

	return task->state + task->pid;
}

// Asks first: it runs on either kind of kernel.
SEC("raw_tp/sched_switch")
long asks(unsigned long long *ctx)
{
	struct task_struct___new *new = (void *)ctx[1];
	struct task_struct *old = (void *)ctx[1];

	if (__builtin_preserve_field_info(new->__state, 2))
		return new->__state;
	return old->pid;
}

SEC("tp_btf/sched_switch")
long typed(unsigned long long *ctx)
{
	bpf_rcu_read_lock();
	cgroup_rstat_flush(0);
	return bpf_wq_set_callback_impl(0, 0, 0, 0) + (bpf_session_cookie ? *bpf_session_cookie() : 0);
}

SEC("tracepoint/sched/sched_switch")
long record(int *ctx) { return ctx[6]; }

SEC("kprobe.multi/tcp_*")
long many(void *ctx) { return 0; }

SEC("kretprobe/do_sys_openat2")
long returns(void *ctx) { return 0; }

SEC("fentry/tcp_connect")
long entry(void *ctx) { return 0; }

SEC("uprobe/libc.so.6:malloc")
long user(void *ctx) { return 0; }

SEC("tc")
long packet(void *ctx) { return 0; }

char _license[] SEC("license") = "GPL";
