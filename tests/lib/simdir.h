/* SPDX-License-Identifier: MPL-2.0 */
/*
 * simdir - the names of a simulated disk (simdisk.h): a tree of directories,
 * each as processes see it and as a power cut would leave it.
 *
 * Errors:   -errno.
 */
#ifndef CAIRN_TESTS_SIMDIR_H
#define CAIRN_TESTS_SIMDIR_H

#include "lib/rng.h"

#define SIM_NAME_MAX 64u
#define SIM_PATH_MAX 256u

struct simfile;
struct simnode;

struct simname {
    char text[SIM_NAME_MAX];
    struct simnode *node;
};

struct simnames {
    struct simname *names; /* in no order */
    size_t count, capacity;
};

/* What has been done to a directory since its last sync. */
struct simchange {
    char from[SIM_NAME_MAX]; /* "": comes into being; else goes from here */
    char to[SIM_NAME_MAX];   /* "": goes for good */
    struct simnode *node;
};

/* A file or a directory. */
struct simnode {
    struct simfile *file; /* NULL: a directory */
    bool memory;          /* gone with the power, like all in it */
    bool reached;         /* by simtree_sweep() */
    bool is_saved;        /* simtree_save() has seen it */
    struct simnames now, durable, saved;
    struct simchange *changes;
    size_t change_count, change_capacity;
};

struct simtree {
    struct simnode *root;
    struct simnode **nodes; /* all of them, named or not, in order of age */
    size_t count, capacity;
};

void simtree_init(struct simtree *tree);
void simtree_free(struct simtree *tree);

/* What a path names; NULL if nothing. */
struct simnode *simtree_find(const struct simtree *tree, const char *path);

/* Whether any name leads to a node, as processes see it. */
bool simtree_is_named(const struct simtree *tree, const struct simnode *node);

/* Makes a file that is not there; NULL if its directory is not. */
struct simnode *simtree_make_file(struct simtree *tree, const char *path);

int simtree_make_dir(struct simtree *tree, const char *path, bool memory);
int simtree_move(struct simtree *tree, const char *from, const char *to);
int simtree_remove(struct simtree *tree, const char *path);
int simtree_sync(struct simtree *tree, const char *path);
void simtree_sync_all(struct simtree *tree);

/* Chooses what is left after a power cut; and makes it what processes see,
 * with all files as their platters have them. */
void simtree_cut(struct simtree *tree, struct rng *rng);
void simtree_power_on(struct simtree *tree);

void simtree_save(struct simtree *tree);
void simtree_restore(struct simtree *tree);

/* A copy of its own. */
struct simnames simnames_copy(const struct simnames *names);
void simnames_free(struct simnames *names);

#endif
