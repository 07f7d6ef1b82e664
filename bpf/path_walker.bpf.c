//go:build ignore

/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Makes the path of a file out of directory entries, as security agents do: from
 * the entry upwards, over mount points, to the root of the process. Names are put
 * into a buffer from its end, each at an offset that depends on all names before.
 * Then the path is compared with those that are watched, directory by directory.
 */
#include "headers/tracing.h"

char announced[] SEC("license") = "Dual BSD/GPL";

#ifndef WALKER_SIZE
#error "compile with -DWALKER_SIZE=1, 2 or 3"
#endif

#if WALKER_SIZE == 1
#define COMPONENTS 8   /* names of a path, mount points among them */
#define MATCH_BYTES 24 /* of a path compared with those that are watched */
#define MATCH_DIRS 0   /* whether each directory is looked up, or the whole path only */
#elif WALKER_SIZE == 2
#define COMPONENTS 16
#define MATCH_BYTES 12
#define MATCH_DIRS 1
#else
#define COMPONENTS 32
#define MATCH_BYTES 24
#define MATCH_DIRS 1
#endif

#define PATH_BYTES 4096 /* a power of two */
#define NAME_BYTES 256  /* of one component and its slash; a power of two */
#define PATH_MASK (PATH_BYTES - 1)

/*
 * Directory entries and mounts in a layout of our own: no type of the running
 * kernel is asked for, so that the program is the same on every one.
 */
struct entry {
	u64 parent; /* itself for a root */
	u64 name;
	u32 hash;
	u32 len;
	u64 inode;
};

struct mount {
	u64 parent; /* itself for the first */
	u64 root;   /* entry that is mounted */
	u64 at;     /* entry of the parent that it is mounted at */
	u32 id;
	u32 flags;
};

struct place {
	u64 mount;
	u64 entry;
};

enum path_flag { PATH_CUT = 1, PATH_UNREADABLE = 2, PATH_UNREACHABLE = 4, PATH_WATCHED = 8, PATH_MOUNTS = 16 };

struct path {
	u32 begin; /* of the text in bytes */
	u32 components;
	u32 flags;
	u32 rule;
	u8 bytes[PATH_BYTES + NAME_BYTES];
};

struct watch {
	u32 rule;
	u32 deep; /* also what lies below */
};

MAP(paths, PERCPU_ARRAY, u32, struct path, 1, 0);
MAP(watches, HASH, u32, struct watch, 64, 0);
MAP(rules, ARRAY, u32, u64, 16, 0);

/* What is carried upwards. */
struct walk {
	struct place at;
	struct place root;
	struct entry entry;
	struct mount mount;
	u32 off; /* where the text begins */
	u32 flags;
};

/* Puts a name and the slash before it in front of the text. Returns 0 if it fits. */
SUBPROG int prepend(struct path *p, struct walk *w, u64 name, u32 len)
{
	u32 off = w->off, size = len;

	if (size > NAME_BYTES - 1) {
		size = NAME_BYTES - 1;
		w->flags |= PATH_CUT;
	}
	if (size + 1 > off) {
		w->flags |= PATH_CUT;
		return -1;
	}
	off -= size;
	size &= NAME_BYTES - 1;
	if (read_kernel(&p->bytes[off & PATH_MASK], size, (const void *)name)) {
		w->flags |= PATH_UNREADABLE;
		return -1;
	}
	off -= 1;
	p->bytes[off & PATH_MASK] = '/';
	w->off = off;
	return 0;
}

/* Leaves a mount for the entry that it is mounted at; 0 if there was none to leave. */
SUBPROG int leave_mount(struct walk *w)
{
	u64 parent = w->mount.parent;

	if (w->at.entry != w->mount.root)
		return 0;
	if (parent == w->at.mount || !parent)
		return -1; /* the first one: this is the root of all */
	w->at.entry = w->mount.at;
	w->at.mount = parent;
	w->flags |= PATH_MOUNTS;
	if (read_kernel(&w->mount, sizeof(w->mount), (const void *)parent)) {
		w->flags |= PATH_UNREADABLE;
		return -1;
	}
	return 1;
}

/* One step upwards. Returns 0 to go on. */
SUBPROG int ascend(struct path *p, struct walk *w)
{
	int left;

	if (w->at.entry == w->root.entry && w->at.mount == w->root.mount)
		return 1;
	left = leave_mount(w);
	if (left)
		return left < 0;
	if (read_kernel(&w->entry, sizeof(w->entry), (const void *)w->at.entry)) {
		w->flags |= PATH_UNREADABLE;
		return 1;
	}
	if (w->entry.parent == w->at.entry) { /* a root that no mount shows */
		w->flags |= PATH_UNREACHABLE;
		return 1;
	}
	if (prepend(p, w, w->entry.name, w->entry.len))
		return 1;
	p->components++;
	w->at.entry = w->entry.parent;
	return 0;
}

/* The rule for a path whose hash this is. */
INLINE u32 watched(u32 hash, int whole)
{
	const struct watch *found = map_lookup(&watches, &hash);

	return found && (whole || found->deep) ? found->rule : 0;
}

/* Looks the path up, and the directories that it lies in. */
SUBPROG u32 match(struct path *p, u32 off)
{
	u32 hash = 5381, rule = 0;

	LOOP
	for (u32 i = 0; i < MATCH_BYTES; i++) {
		u32 at = off + i;
		u8 c;

		if (at >= PATH_BYTES)
			return watched(hash, 1) ?: rule;
		opaque(at); /* or the mask is taken for superfluous */
		c = p->bytes[at & PATH_MASK];
#if MATCH_DIRS
		if (c == '/' && i) {
			u32 found = watched(hash, 0);

			if (found)
				rule = found;
		}
#endif
		hash = hash * 33 ^ c;
	}
	return rule;
}

SEC("raw_tp") int walk_path(struct raw_args *ctx)
{
	struct walk w = { .off = PATH_BYTES };
	u32 zero = 0, rule, i;
	struct path *p = map_lookup(&paths, &zero);
	u64 *count;

	if (!p)
		return 0;
	p->components = 0;
	if (read_kernel(&w.at, sizeof(w.at), (const void *)ctx->arg[0]) ||
	    read_kernel(&w.root, sizeof(w.root), (const void *)ctx->arg[1]) ||
	    read_kernel(&w.mount, sizeof(w.mount), (const void *)w.at.mount)) {
		p->flags = PATH_UNREADABLE;
		return 0;
	}
	LOOP
	for (i = 0; i < COMPONENTS; i++) {
		if (ascend(p, &w))
			break;
	}
	if (i == COMPONENTS)
		w.flags |= PATH_CUT;
	if (w.off == PATH_BYTES) { /* the root itself */
		w.off--;
		p->bytes[w.off & PATH_MASK] = '/';
	}
	rule = match(p, w.off);
	count = map_lookup(&rules, &rule);
	if (rule && count) {
		*count += 1;
		w.flags |= PATH_WATCHED;
	}
	p->begin = w.off;
	p->flags = w.flags;
	p->rule = rule;
	return PATH_BYTES - w.off;
}
