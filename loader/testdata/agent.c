// An agent's programs: one that every kernel takes, and one whose two functions need 272
// bytes of stack each, which kprobes may have since 6.13 (private stacks, a76ab5731e32)
// and nobody had before. Built as loader/generate_test.go says.
#define SEC(name) __attribute__((section(name), used))
#define BUFFER 264
#define INDEX 255

static long (*bpf_get_current_comm)(void *buf, unsigned int size) = (void *)16;

static __attribute__((noinline)) long inner(long seed)
{
	char name[BUFFER];

	name[seed & INDEX] = 1;
	bpf_get_current_comm(name, sizeof(name));
	return name[seed & INDEX] + seed;
}

SEC("kprobe/do_sys_openat2")
long deep_stack(void *ctx)
{
	char name[BUFFER];

	if (bpf_get_current_comm(name, sizeof(name)))
		return 0;
	return inner(name[3]) + name[5];
}

SEC("tc")
int plain(unsigned int *skb)
{
	unsigned int len = *skb, sum = 0;

	for (int i = 0; i < 64; i++)
		sum += len & i;
	return sum == 3;
}

char _license[] SEC("license") = "GPL";
