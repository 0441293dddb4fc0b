/* Counts, boxes, sums and 26-connected components of every label, in one pass over a label map.
 *
 * The map is read row by row into runs of one label. Runs of two slices exist at a time: those of the
 * slice before carry the component they belong to, a component is closed as soon as a slice has no run
 * of it. So memory is that of two slices' runs, however large the map and however noisy.
 */
#include "core.h"

#include <stdlib.h>

typedef struct {
    int64_t begin, end; /* along i, half open */
    int64_t node;
    uint16_t label;
} Run;

typedef struct {
    Run *runs;
    int64_t *rows; /* rows + 1: index of the first run of each row */
    int64_t capacity;
} Slice;

/* Components of the slice before, then runs of this one; a root's size is that of its component. */
typedef struct {
    int64_t *parent, *size, *moved;
    uint16_t *label;
    int64_t capacity;
} Nodes;

static int grow(void **array, int64_t count, size_t item)
{
    void *larger = realloc(*array, (size_t)count * item);
    if (!larger)
        return -1;
    *array = larger;
    return 0;
}

static int slice_reserve(Slice *slice, int64_t count)
{
    if (count <= slice->capacity)
        return 0;
    int64_t capacity = count + count / 2 + 1024;
    if (grow((void **)&slice->runs, capacity, sizeof(Run)))
        return -1;
    slice->capacity = capacity;
    return 0;
}

static int nodes_reserve(Nodes *nodes, int64_t count)
{
    if (count <= nodes->capacity)
        return 0;
    int64_t capacity = count + count / 2 + 1024;
    if (grow((void **)&nodes->parent, capacity, sizeof(int64_t)) ||
        grow((void **)&nodes->size, capacity, sizeof(int64_t)) ||
        grow((void **)&nodes->moved, capacity, sizeof(int64_t)) ||
        grow((void **)&nodes->label, capacity, sizeof(uint16_t)))
        return -1;
    nodes->capacity = capacity;
    return 0;
}

static inline unsigned voxel(const uint8_t *row, int64_t at, const int width)
{
    uint16_t value;
    if (width == 1)
        return row[at];
    memcpy(&value, row + 2 * at, 2);
    return value;
}

/* First voxel from `at` on that is not `label`; `count` if there is none. */
static inline int64_t run_end(const uint8_t *row, int64_t at, int64_t count, unsigned label, const int width)
{
    const uint64_t same = width == 1 ? label * UINT64_C(0x0101010101010101) : label * UINT64_C(0x0001000100010001);
    const int step = 8 / width;
    while (at + step <= count) {
        uint64_t differs = load64(row + at * width) ^ same;
        if (differs)
            return at + lowest_byte(differs) / width;
        at += step;
    }
    while (at < count && voxel(row, at, width) == label)
        at++;
    return at;
}

/* Runs of one row behind `out`; how many. There is room for one per voxel. */
static inline int64_t row_runs(const uint8_t *row, int64_t count, const int width, Run *out)
{
    int64_t found = 0;
    for (int64_t at = run_end(row, 0, count, 0, width); at < count;) {
        unsigned label = voxel(row, at, width);
        int64_t end = run_end(row, at, count, label, width);
        out[found].begin = at;
        out[found].end = end;
        out[found++].label = (uint16_t)label;
        at = end < count && voxel(row, end, width) ? end : run_end(row, end, count, 0, width);
    }
    return found;
}

static int64_t row_runs_8(const uint8_t *row, int64_t count, Run *out) { return row_runs(row, count, 1, out); }
static int64_t row_runs_16(const uint8_t *row, int64_t count, Run *out) { return row_runs(row, count, 2, out); }

static inline int64_t root_of(int64_t *parent, int64_t node)
{
    while (parent[node] != node) {
        parent[node] = parent[parent[node]];
        node = parent[node];
    }
    return node;
}

static inline void unite(int64_t *parent, int64_t a, int64_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* Unite the runs of two rows that touch, across corners too: [0, 3) touches [3, 5) of another row. */
static void join_rows(int64_t *parent, const Run *a, const Run *a_end, const Run *b, const Run *b_end)
{
    for (; a < a_end; a++) {
        while (b < b_end && b->end < a->begin)
            b++;
        for (const Run *other = b; other < b_end && other->begin <= a->end; other++)
            if (other->label == a->label)
                unite(parent, a->node, other->node);
    }
}

static inline void add_run(Measure *m, const Run *run, int64_t j, int64_t k)
{
    const int64_t length = run->end - run->begin;
    if (!m->voxels) {
        m->min_i = run->begin;
        m->min_j = m->max_j = j;
        m->min_k = k;
        m->last_k = -1;
    }
    m->voxels += length;
    m->sum_i += (run->begin + run->end - 1) * length / 2;
    m->sum_j += j * length;
    m->sum_k += k * length;
    if (run->begin < m->min_i)
        m->min_i = run->begin;
    if (run->end - 1 > m->max_i)
        m->max_i = run->end - 1;
    if (j < m->min_j)
        m->min_j = j;
    if (j > m->max_j)
        m->max_j = j;
    m->max_k = k;
    if (m->last_k != k) {
        m->last_k = k;
        m->slices++;
    }
}

static void close_component(Measure *measures, const Nodes *nodes, int64_t node)
{
    Measure *m = measures + nodes->label[node];
    m->components++;
    if (nodes->size[node] > m->largest)
        m->largest = nodes->size[node];
}

/* Nodes of a slice's runs become components, numbered from 0; those without a run here are closed. */
static int64_t settle(Measure *measures, Nodes *nodes, int64_t before, Run *runs, int64_t run_count)
{
    const int64_t node_count = before + run_count;
    for (int64_t node = 0; node < node_count; node++) {
        int64_t root = root_of(nodes->parent, node);
        if (root != node)
            nodes->size[root] += nodes->size[node];
        nodes->moved[node] = -1;
    }
    int64_t components = 0;
    for (int64_t n = 0; n < run_count; n++) {
        int64_t root = root_of(nodes->parent, runs[n].node);
        if (nodes->moved[root] < 0)
            nodes->moved[root] = components++;
        runs[n].node = nodes->moved[root];
    }
    for (int64_t node = 0; node < before; node++)
        if (nodes->parent[node] == node && nodes->moved[node] < 0)
            close_component(measures, nodes, node);
    return components;
}

/* Sizes and labels of the components, in the order of their numbers: `settle` gives them in the order
 * of their runs, which is not that of their roots, so they pass through `parent`, free by now. */
static void renumber(Nodes *nodes, const Run *runs, int64_t run_count, int64_t before, int64_t components)
{
    const int64_t node_count = before + run_count;
    for (int64_t node = 0; node < node_count; node++)
        if (nodes->moved[node] >= 0)
            nodes->parent[nodes->moved[node]] = nodes->size[node];
    for (int64_t n = 0; n < components; n++)
        nodes->size[n] = nodes->parent[n];
    for (int64_t n = 0; n < run_count; n++)
        nodes->label[runs[n].node] = runs[n].label;
}

int measure_map(const uint8_t *array, int width, int64_t rows, int64_t columns, const int64_t *slices,
                int64_t slice_count, Measure *measures)
{
    Slice now = {NULL, NULL, 0}, last = {NULL, NULL, 0};
    Nodes nodes = {NULL, NULL, NULL, NULL, 0};
    int64_t before = 0, last_k = -2;
    int status = -1;
    now.rows = malloc((size_t)(rows + 1) * sizeof(int64_t));
    last.rows = malloc((size_t)(rows + 1) * sizeof(int64_t));
    if (!now.rows || !last.rows)
        goto end;
    for (int64_t s = 0; s < slice_count; s++) {
        const int64_t k = slices[s];
        if (k != last_k + 1) { /* nothing touches across slices that hold nothing */
            for (int64_t node = 0; node < before; node++)
                close_component(measures, &nodes, node);
            before = 0;
        }
        if (nodes_reserve(&nodes, before))
            goto end;
        for (int64_t node = 0; node < before; node++)
            nodes.parent[node] = node;
        int64_t count = 0;
        for (int64_t j = 0; j < rows; j++) {
            const uint8_t *row = array + ((k * rows + j) * columns) * width;
            now.rows[j] = count;
            if (slice_reserve(&now, count + columns))
                goto end;
            int64_t found = (width == 1 ? row_runs_8 : row_runs_16)(row, columns, now.runs + count);
            if (!found)
                continue;
            if (nodes_reserve(&nodes, before + count + found))
                goto end;
            Run *runs = now.runs + count;
            for (int64_t n = 0; n < found; n++) {
                const int64_t node = before + count + n;
                runs[n].node = node;
                nodes.parent[node] = node;
                nodes.size[node] = runs[n].end - runs[n].begin;
                nodes.label[node] = runs[n].label;
                add_run(measures + runs[n].label, runs + n, j, k);
            }
            if (j)
                join_rows(nodes.parent, runs, runs + found, now.runs + now.rows[j - 1], runs);
            if (before)
                for (int64_t other = j ? j - 1 : 0; other <= j + 1 && other < rows; other++)
                    join_rows(nodes.parent, runs, runs + found, last.runs + last.rows[other],
                              last.runs + last.rows[other + 1]);
            count += found;
        }
        now.rows[rows] = count;
        const int64_t components = settle(measures, &nodes, before, now.runs, count);
        renumber(&nodes, now.runs, count, before, components);
        before = components;
        last_k = k;
        Slice swap = now;
        now = last;
        last = swap;
    }
    for (int64_t node = 0; node < before; node++)
        close_component(measures, &nodes, node);
    status = 0;
end:
    free(now.runs);
    free(now.rows);
    free(last.runs);
    free(last.rows);
    free(nodes.parent);
    free(nodes.size);
    free(nodes.moved);
    free(nodes.label);
    return status;
}

enum { BLOCK = 4096 };

/* Whether any of some bytes is set. */
static int any_set(const uint8_t *bytes, int64_t count)
{
    uint64_t some = 0;
    int64_t n = 0;
    for (; n + 8 <= count; n += 8)
        some |= load64(bytes + n);
    for (; n < count; n++)
        some |= bytes[n];
    return some != 0;
}

/* Note the voxels of a plane that are set; those that were set before are shared. */
static inline void note_set(const uint8_t *plane, const int width, int64_t count, uint8_t *seen, uint8_t *shared)
{
    for (int64_t n = 0; n < count; n++) {
        const uint8_t set = (width == 1 ? plane[n] : plane[2 * n] | plane[2 * n + 1]) != 0;
        shared[n] |= seen[n] & set;
        seen[n] |= set;
    }
}

void count_shared(const uint8_t *const *planes, const uint8_t *widths, int64_t *const *counts,
                  int64_t plane_count, int64_t voxels)
{
    uint8_t seen[BLOCK], shared[BLOCK];
    for (int64_t begin = 0; begin < voxels; begin += BLOCK) {
        const int64_t count = voxels - begin < BLOCK ? voxels - begin : BLOCK;
        memset(seen, 0, sizeof seen);
        memset(shared, 0, sizeof shared);
        for (int64_t p = 0; p < plane_count; p++) {
            const uint8_t *plane = planes[p] + begin * widths[p];
            if (!any_set(plane, count * widths[p]))
                continue;
            if (widths[p] == 1)
                note_set(plane, 1, count, seen, shared);
            else
                note_set(plane, 2, count, seen, shared);
        }
        if (!any_set(shared, count))
            continue;
        for (int64_t p = 0; p < plane_count; p++)
            for (int64_t n = 0; n < count; n++)
                if (shared[n])
                    counts[p][voxel(planes[p] + begin * widths[p], n, widths[p])]++;
    }
}
