/* Packed frames into label maps: unpack, look for other segments, paint, in one pass over the bytes.
 *
 * A frame is a run of bits that starts at any bit of the file and belongs at any voxel of a label map.
 * 64 bits of it are one word; a table turns each byte of the word into eight voxels:
 *
 *     bits 0b00000101 (voxels 0 and 2)  →  mask 0x0000000000FF00FF  →  & 0x0707…07  →  label 7 twice
 *
 * A label map has eight voxels more than it needs, so that the last byte of a frame may be painted
 * like any other: bits that are not set leave what is there.
 */
#include "core.h"

#if defined(_WIN32)
typedef int64_t ssize_t;
static ssize_t pread(int descriptor, void *target, size_t count, int64_t offset)
{
    (void)descriptor, (void)target, (void)count, (void)offset;
    return -1; /* there, the bits are always in memory */
}
#else
#include <errno.h>
#include <sys/types.h>
#include <unistd.h>
#endif

static uint64_t masks8[256];
static uint64_t masks16[256][2];

void paint_init(void)
{
    for (int bits = 0; bits < 256; bits++)
        for (int voxel = 0; voxel < 8; voxel++)
            if (bits >> voxel & 1) {
                masks8[bits] |= UINT64_C(0xFF) << (8 * voxel);
                masks16[bits][voxel >> 2] |= UINT64_C(0xFFFF) << (16 * (voxel & 3));
            }
}

/* Whether any of the voxels that `word` sets is taken; `map` is at the first of the 64. */
static inline int is_taken(const uint8_t *map, uint64_t word, int width)
{
    uint64_t taken = 0;
    while (word) {
        int byte = lowest_byte(word);
        unsigned bits = (word >> (8 * byte)) & 0xFF;
        const uint8_t *group = map + 8 * width * byte;
        if (width == 1)
            taken |= load64(group) & masks8[bits];
        else
            taken |= (load64(group) & masks16[bits][0]) | (load64(group + 8) & masks16[bits][1]);
        word &= ~(UINT64_C(0xFF) << (8 * byte));
    }
    return taken != 0;
}

static inline void set_voxels(uint8_t *at, uint64_t mask, uint64_t label)
{
    store64(at, (load64(at) & ~mask) | (mask & label));
}

/* Set the voxels that `word` sets to `label`, repeated over a word. */
static inline void paint_word(uint8_t *map, uint64_t word, int width, uint64_t label)
{
    while (word) {
        int byte = lowest_byte(word);
        unsigned bits = (word >> (8 * byte)) & 0xFF;
        uint8_t *group = map + 8 * width * byte;
        if (width == 1) {
            set_voxels(group, masks8[bits], label);
        } else {
            set_voxels(group, masks16[bits][0], label);
            set_voxels(group + 8, masks16[bits][1], label);
        }
        word &= ~(UINT64_C(0xFF) << (8 * byte));
    }
}

/* Bytes of the file that are in the room. */
typedef struct {
    int64_t begin, end;
} Window;

/* The byte that holds bit `bit`, with `count` bits behind it; reads on to `end_bit` where there is room.
 * NULL: the file has become shorter. */
static const uint8_t *window_at(const Segment *s, Window *window, int64_t bit, int64_t count, int64_t end_bit)
{
    int64_t first = bit >> 3, last = (bit + count + 7) >> 3;
    if (first < window->begin || last > window->end) {
        int64_t end = (end_bit + 7) >> 3;
        if (end > first + s->room_bytes)
            end = first + s->room_bytes;
        if (s->descriptor < 0) {
            memcpy(s->room, s->bits + first, (size_t)(end - first));
        } else {
            int64_t done = 0;
            while (done < end - first) {
                ssize_t got = pread(s->descriptor, s->room + done, (size_t)(end - first - done),
                                    s->file_offset + first + done);
#if !defined(_WIN32)
                if (got < 0 && errno == EINTR)
                    continue;
#endif
                if (got <= 0)
                    return NULL;
                done += got;
            }
        }
        memset(s->room + (end - first), 0, 16);
        window->begin = first;
        window->end = end;
    }
    return s->room + (first - window->begin);
}

static inline int is_zero_256(const uint8_t *bytes)
{
    return !(load64(bytes) | load64(bytes + 8) | load64(bytes + 16) | load64(bytes + 24));
}

typedef enum { LOOK, PAINT, PAINT_IF_FREE, ERASE } Action;

/* A place where an action came to an end: a frame, the voxel of it, and the word there. */
typedef struct {
    int64_t frame, voxel;
    uint64_t word;
} Place;

enum { DONE, TAKEN, SHORTENED };

/* One action on all frames, up to `until` where that is not NULL. On TAKEN, `place` says where, and
 * all before it was painted, nothing of it. `*any` becomes 1 if a voxel is set. */
static inline int run(const Segment *s, uint8_t *map, const int width, const Action action, const Place *until,
                      Place *place, int *any)
{
    const int64_t piece = (s->room_bytes - 8) * 8 / 64 * 64;
    Window window = {0, 0};
    uint64_t found = 0;
    int64_t adjoining = 0; /* frames up to here lie one behind the other */
    for (int64_t frame = 0; frame < s->frame_count; frame++) {
        if (until && frame > until->frame)
            break;
        if (adjoining <= frame)
            adjoining = frame + 1;
        while (adjoining < s->frame_count && s->starts[adjoining] == s->starts[adjoining - 1] + s->pixels &&
               (adjoining - frame) * s->pixels < s->room_bytes * 8)
            adjoining++;
        const int64_t end_bit = s->starts[adjoining - 1] + s->pixels;
        uint8_t *slice = map + s->slices[frame] * s->pixels * width;
        for (int64_t begin = 0; begin < s->pixels; begin += piece) {
            const int64_t bit = s->starts[frame] + begin;
            const int64_t count = s->pixels - begin < piece ? s->pixels - begin : piece;
            const uint8_t *bytes = window_at(s, &window, bit, count, end_bit);
            if (!bytes)
                return SHORTENED;
            const int shift = bit & 7;
            for (int64_t at = 0; at < count; at += 64) {
                /* Most of a frame is 0: 256 voxels at a time, and the byte that a shift brings in. */
                while (at + 256 <= count && is_zero_256(bytes + at / 8) && !bytes[at / 8 + 32])
                    at += 256;
                if (at >= count)
                    break;
                uint64_t word = load64(bytes + at / 8);
                if (shift)
                    word = word >> shift | (uint64_t)bytes[at / 8 + 8] << (64 - shift);
                if (count - at < 64)
                    word &= (UINT64_C(1) << (count - at)) - 1;
                if (!word)
                    continue;
                if (until && frame == until->frame && begin + at >= until->voxel)
                    return DONE;
                found |= word;
                uint8_t *voxels = slice + (begin + at) * width;
                if ((action == LOOK || action == PAINT_IF_FREE) && is_taken(voxels, word, width)) {
                    place->frame = frame;
                    place->voxel = begin + at;
                    place->word = word;
                    *any = 1;
                    return TAKEN;
                }
                if (action != LOOK)
                    paint_word(voxels, word, width, action == ERASE ? 0 : s->label);
            }
        }
    }
    *any = found != 0;
    return DONE;
}

/* So that each width and action has a loop of its own. */
static int run_8(const Segment *s, uint8_t *map, Action action, const Place *until, Place *place, int *any)
{
    switch (action) {
    case LOOK:
        return run(s, map, 1, LOOK, until, place, any);
    case PAINT:
        return run(s, map, 1, PAINT, until, place, any);
    case ERASE:
        return run(s, map, 1, ERASE, until, place, any);
    default:
        return run(s, map, 1, PAINT_IF_FREE, until, place, any);
    }
}

static int run_16(const Segment *s, uint8_t *map, Action action, const Place *until, Place *place, int *any)
{
    return run(s, map, 2, action, until, place, any);
}

enum { REMEMBERED = 8 };

int64_t paint_segment(const Segment *s, uint8_t *const *layers, int64_t layer_count, int64_t first)
{
    int (*act)(const Segment *, uint8_t *, Action, const Place *, Place *, int *) = s->width == 1 ? run_8 : run_16;
    Place place, clashes[REMEMBERED];
    int clash_count = 0, any = 0;
    for (int64_t layer = first; layer < layer_count; layer++) {
        /* Segments that share voxels tend to share them at one place: look there first. */
        int known = 0;
        for (int n = 0; n < clash_count && !known; n++)
            known = is_taken(layers[layer] + (s->slices[clashes[n].frame] * s->pixels + clashes[n].voxel) * s->width,
                             clashes[n].word, s->width);
        if (known)
            continue;
        /* Most segments are free in layer 0: look and paint at once, and undo it for those that are not. */
        const int at_once = layer == 0;
        int end = act(s, layers[layer], at_once ? PAINT_IF_FREE : LOOK, NULL, &place, &any);
        if (end == SHORTENED)
            return FILE_SHORTENED;
        if (end == TAKEN) {
            memmove(clashes + 1, clashes, sizeof clashes - sizeof clashes[0]);
            clashes[0] = place;
            clash_count += clash_count < REMEMBERED;
            if (at_once && act(s, layers[layer], ERASE, &place, NULL, &any) == SHORTENED)
                return FILE_SHORTENED;
            continue;
        }
        if (!any)
            return NOTHING_SET;
        if (!at_once && act(s, layers[layer], PAINT, NULL, &place, &any) == SHORTENED)
            return FILE_SHORTENED;
        return layer;
    }
    return NO_LAYER;
}
