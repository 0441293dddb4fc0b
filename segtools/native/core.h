/* The native core: what the files share. Plain C11, no SIMD by hand.
 *
 * Words of 64 bits do eight voxels at a time on any processor; compilers vectorise the rest for the
 * baseline of the platform (SSE2, NEON). Measured, AVX2 by hand gained 2 % of decoding: what is left
 * is memory. So x86-64 and arm64 run the same source, and nothing has to be chosen at run time.
 *
 * Words are read little endian: voxel n of a word is its bits 8 n to 8 n + 7.
 */
#ifndef SEGTOOLS_CORE_H
#define SEGTOOLS_CORE_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The native core reads words little endian; use the NumPy path on this machine."
#endif

static inline uint64_t load64(const void *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline void store64(void *at, uint64_t word) { memcpy(at, &word, 8); }

/* Index of the lowest byte of a word that is not 0. */
static inline int lowest_byte(uint64_t word)
{
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(word) >> 3;
#else
    int byte = 0;
    while (!(word & 0xFF)) {
        word >>= 8;
        byte++;
    }
    return byte;
#endif
}

/* --- paint.c ------------------------------------------------------------------------------------- */

enum { NO_LAYER = -1, NOTHING_SET = -2, FILE_SHORTENED = -3 };

/* Frames of one segment, and the label maps it may go to. Everything was checked by the caller. */
typedef struct {
    int descriptor;          /* of the file, or -1: the bits are in memory */
    int64_t file_offset;     /* of the bits in the file */
    const uint8_t *bits;     /* in memory */
    int64_t frame_count;
    const int64_t *starts;   /* first bit of each frame */
    const int64_t *slices;   /* slice of each frame; no two are the same */
    int64_t pixels;          /* of a frame */
    uint8_t *room;           /* for `room_bytes` of the file and 16 bytes more */
    int64_t room_bytes;
    int width;               /* bytes per voxel of the label maps: 1 or 2 */
    uint64_t label;
} Segment;

void paint_init(void);
/* Index of the layer that was painted, from `first` on; or one of the above. */
int64_t paint_segment(const Segment *segment, uint8_t *const *layers, int64_t layer_count, int64_t first);

/* --- measure.c ----------------------------------------------------------------------------------- */

/* All zero where the label does not occur; the order is that of MEASURES in segtools/decode/native_shapes.py. */
typedef struct {
    int64_t voxels, sum_i, sum_j, sum_k, min_i, max_i, min_j, max_j, min_k, max_k;
    int64_t slices, components, largest, last_k;
} Measure;

/* 0, or -1: no memory. `measures` has one entry per value that a voxel may have. */
int measure_map(const uint8_t *array, int width, int64_t rows, int64_t columns, const int64_t *slices,
                int64_t slice_count, Measure *measures);

/* Voxels of each label of each plane that another plane has too, added to `counts`. */
void count_shared(const uint8_t *const *planes, const uint8_t *widths, int64_t *const *counts,
                  int64_t plane_count, int64_t voxels);

/* --- project.c ----------------------------------------------------------------------------------- */

/* Add each voxel of label n to counts[index_of[n] * pixels + of_slice[k] + of_row[j] + of_column[i]]. */
void count_along(const uint8_t *array, int width, int64_t slices, int64_t rows, int64_t columns,
                 const int32_t *index_of, int64_t pixels, const int64_t *of_slice, const int64_t *of_row,
                 const int64_t *of_column, int64_t *counts);

#endif
