/* SPDX-License-Identifier: MPL-2.0 */
#include "lib/simdir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/simfile.h"

/* ---- names of one directory -------------------------------------------- */

static struct simname *
names_find(const struct simnames *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i].text, text) == 0)
            return &names->names[i];
    return NULL;
}

static void
names_set(struct simnames *names, const char *text, struct simnode *node)
{
    struct simname *name = names_find(names, text);

    if (name != NULL) {
        name->node = node;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity * 2 + 8;
        names->names =
            reallocarray(names->names, names->capacity, sizeof *names->names);
        if (names->names == NULL)
            abort();
    }
    name = &names->names[names->count++];
    (void)snprintf(name->text, sizeof name->text, "%s", text);
    name->node = node;
}

static void
names_drop(struct simnames *names, const char *text)
{
    struct simname *name = names_find(names, text);

    if (name != NULL)
        *name = names->names[--names->count];
}

struct simnames
simnames_copy(const struct simnames *names)
{
    struct simnames copy = { .capacity = names->count, .count = names->count };

    copy.names = calloc(names->count + 1, sizeof *copy.names);
    if (copy.names == NULL)
        abort();
    if (names->count > 0)
        memcpy(copy.names, names->names, names->count * sizeof *copy.names);
    return copy;
}

void
simnames_free(struct simnames *names)
{
    free(names->names);
    *names = (struct simnames){ 0 };
}

static void
names_replace(struct simnames *names, const struct simnames *by)
{
    struct simnames copy = simnames_copy(by);

    simnames_free(names);
    *names = copy;
}

/* ---- nodes ------------------------------------------------------------- */

static struct simnode *
node_make(struct simtree *tree, bool memory)
{
    struct simnode *node = calloc(1, sizeof *node);

    if (tree->count == tree->capacity) {
        tree->capacity = tree->capacity * 2 + 16;
        tree->nodes =
            reallocarray(tree->nodes, tree->capacity, sizeof(struct simnode *));
    }
    if (node == NULL || tree->nodes == NULL)
        abort();
    node->memory = memory;
    tree->nodes[tree->count++] = node;
    return node;
}

static void
node_free(struct simnode *node)
{
    if (node->file != NULL)
        simfile_free(&node->file);
    simnames_free(&node->now);
    simnames_free(&node->durable);
    simnames_free(&node->saved);
    free(node->changes);
    free(node);
}

void
simtree_init(struct simtree *tree)
{
    *tree = (struct simtree){ 0 };
    tree->root = node_make(tree, false);
}

void
simtree_free(struct simtree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        node_free(tree->nodes[i]);
    free(tree->nodes);
    *tree = (struct simtree){ 0 };
}

struct simnode *
simtree_find(const struct simtree *tree, const char *path)
{
    struct simnode *node = tree->root;
    char copy[SIM_PATH_MAX], *rest = NULL;

    (void)snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, "/", &rest); part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        struct simname *name = names_find(&node->now, part);

        if (name == NULL)
            return NULL;
        node = name->node;
    }
    return node;
}

bool
simtree_is_named(const struct simtree *tree, const struct simnode *node)
{
    for (size_t i = 0; i < tree->count; i++)
        for (size_t n = 0; n < tree->nodes[i]->now.count; n++)
            if (tree->nodes[i]->now.names[n].node == node)
                return true;
    return false;
}

/* The directory that a path lies in, and the name there. */
static struct simnode *
parent_of(const struct simtree *tree, const char *path, char name[SIM_NAME_MAX])
{
    char dir[SIM_PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct simnode *node;

    if (slash == NULL || strlen(slash + 1) >= SIM_NAME_MAX)
        abort(); /* tests use whole and short paths */
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    (void)snprintf(name, SIM_NAME_MAX, "%s", slash + 1);
    node = simtree_find(tree, dir);
    return node != NULL && node->file == NULL ? node : NULL;
}

/* ---- changes ----------------------------------------------------------- */

static void
apply(struct simnames *names, const struct simchange *change)
{
    struct simname *there;

    if (change->from[0] != '\0') {
        there = names_find(names, change->from);
        if (there != NULL && there->node == change->node)
            names_drop(names, change->from);
    }
    if (change->to[0] != '\0')
        names_set(names, change->to, change->node);
}

static void
change_dir(struct simnode *dir, const char *from, const char *to,
           struct simnode *node)
{
    struct simchange change = { .node = node };

    (void)snprintf(change.from, sizeof change.from, "%s", from);
    (void)snprintf(change.to, sizeof change.to, "%s", to);
    apply(&dir->now, &change);
    if (dir->change_count == dir->change_capacity) {
        dir->change_capacity = dir->change_capacity * 2 + 8;
        dir->changes = reallocarray(dir->changes, dir->change_capacity,
                                    sizeof *dir->changes);
        if (dir->changes == NULL)
            abort();
    }
    dir->changes[dir->change_count++] = change;
}

struct simnode *
simtree_make_file(struct simtree *tree, const char *path)
{
    char name[SIM_NAME_MAX];
    struct simnode *dir = parent_of(tree, path, name), *node;

    if (dir == NULL)
        return NULL;
    node = node_make(tree, dir->memory);
    node->file = simfile_make();
    change_dir(dir, "", name, node);
    return node;
}

int
simtree_make_dir(struct simtree *tree, const char *path, bool memory)
{
    char name[SIM_NAME_MAX];
    struct simnode *dir = parent_of(tree, path, name);

    if (dir == NULL)
        return -ENOENT;
    if (names_find(&dir->now, name) != NULL)
        return -EEXIST;
    change_dir(dir, "", name, node_make(tree, memory || dir->memory));
    return 0;
}

int
simtree_move(struct simtree *tree, const char *from, const char *to)
{
    char from_name[SIM_NAME_MAX], to_name[SIM_NAME_MAX];
    struct simnode *from_dir = parent_of(tree, from, from_name);
    struct simnode *to_dir = parent_of(tree, to, to_name);
    struct simname *name;

    if (from_dir == NULL || to_dir == NULL)
        return -ENOENT;
    if (from_dir != to_dir)
        return -EXDEV; /* the store never does it */
    name = names_find(&from_dir->now, from_name);
    if (name == NULL)
        return -ENOENT;
    change_dir(from_dir, from_name, to_name, name->node);
    return 0;
}

int
simtree_remove(struct simtree *tree, const char *path)
{
    char text[SIM_NAME_MAX];
    struct simnode *dir = parent_of(tree, path, text);
    struct simname *name = dir == NULL ? NULL : names_find(&dir->now, text);

    if (name == NULL)
        return -ENOENT;
    if (name->node->file == NULL)
        return -EISDIR;
    change_dir(dir, text, "", name->node);
    return 0;
}

static void
dir_sync(struct simnode *dir)
{
    names_replace(&dir->durable, &dir->now);
    dir->change_count = 0;
}

int
simtree_sync(struct simtree *tree, const char *path)
{
    struct simnode *dir = simtree_find(tree, path);

    if (dir == NULL || dir->file != NULL)
        return dir == NULL ? -ENOENT : -ENOTDIR;
    dir_sync(dir);
    return 0;
}

void
simtree_sync_all(struct simtree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i]->file == NULL)
            dir_sync(tree->nodes[i]);
}

/* ---- power ------------------------------------------------------------- */

void
simtree_cut(struct simtree *tree, struct rng *rng)
{
    for (size_t i = 0; i < tree->count; i++) {
        struct simnode *dir = tree->nodes[i];
        bool in_order = rng_one_in(rng, 2);
        size_t first_lost = rng_below(rng, dir->change_count + 1);

        if (dir->memory) { /* it stays, for the system makes it again */
            simnames_free(&dir->durable);
            continue;
        }
        for (size_t c = 0; c < dir->change_count; c++)
            if (in_order ? c < first_lost : rng_one_in(rng, 2))
                apply(&dir->durable, &dir->changes[c]);
    }
}

static void
reach(struct simnode *node)
{
    if (node->reached)
        return;
    node->reached = true;
    for (size_t i = 0; i < node->now.count; i++)
        reach(node->now.names[i].node);
    for (size_t i = 0; i < node->saved.count; i++)
        reach(node->saved.names[i].node);
}

/* Gives back what no name leads to. */
static void
sweep(struct simtree *tree)
{
    size_t kept = 0;

    reach(tree->root);
    for (size_t i = 0; i < tree->count; i++) {
        struct simnode *node = tree->nodes[i];

        if (node->reached)
            tree->nodes[kept++] = node;
        else
            node_free(node);
    }
    tree->count = kept;
    for (size_t i = 0; i < kept; i++)
        tree->nodes[i]->reached = false;
}

void
simtree_power_on(struct simtree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        struct simnode *node = tree->nodes[i];

        if (node->file != NULL) {
            simfile_power_on(node->file);
        } else {
            names_replace(&node->now, &node->durable);
            node->change_count = 0;
        }
    }
    sweep(tree);
}

/* ---- saving ------------------------------------------------------------ */

void
simtree_save(struct simtree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        struct simnode *node = tree->nodes[i];

        if (node->file != NULL)
            simfile_save(node->file);
        else
            names_replace(&node->saved, &node->now);
        node->is_saved = true;
    }
}

void
simtree_restore(struct simtree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        struct simnode *node = tree->nodes[i];

        if (!node->is_saved) {
            continue; /* made since: nothing will lead to it */
        } else if (node->file != NULL) {
            simfile_restore(node->file);
        } else {
            names_replace(&node->now, &node->saved);
            names_replace(&node->durable, &node->saved);
            node->change_count = 0;
        }
    }
    sweep(tree);
}
