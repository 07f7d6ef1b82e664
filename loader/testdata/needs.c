// What an object may reach for in the kernel: fields, types, values, functions; some of
// it only after it asked. Built as loader/generate_test.go says.
#define SEC(name) __attribute__((section(name), used))
#define relocated __attribute__((preserve_access_index))

enum kind { KIND_FILE, KIND_LINK };

struct iattrs { int mode; } relocated;

struct kernfs_node {
	struct kernfs_node *parent;
	struct iattrs attrs;
	int optional;
	int renamed;
} relocated;

struct kernfs_node___old { int former; } relocated;
struct gone_type { int x; } relocated;

extern int bpf_test_kfunc(void) __attribute__((section(".ksyms")));

SEC("fentry/kernfs_dop_revalidate")
long reads(unsigned long long *ctx)
{
	struct kernfs_node *n = (void *)ctx[0];
	long sum = (long)n->parent + n->attrs.mode;

	if (__builtin_preserve_field_info(n->optional, 2))
		sum += n->optional;
	return sum;
}

SEC("tc")
long types(void *ctx)
{
	struct kernfs_node___old *old = ctx;

	return __builtin_preserve_type_info(*(struct gone_type *)0, 1) +
	       __builtin_preserve_enum_value(*(enum kind *)KIND_LINK, 1) +
	       bpf_test_kfunc() + (old ? __builtin_preserve_field_info(old->former, 0) : 0);
}

char _license[] SEC("license") = "GPL";
