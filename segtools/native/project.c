/* Voxels along a line of sight, by label and pixel: what the report's pictures are drawn from. */
#include "core.h"

void count_along(const uint8_t *array, int width, int64_t slices, int64_t rows, int64_t columns,
                 const int32_t *index_of, int64_t pixels, const int64_t *of_slice, const int64_t *of_row,
                 const int64_t *of_column, int64_t *counts)
{
    for (int64_t k = 0; k < slices; k++)
        for (int64_t j = 0; j < rows; j++) {
            const uint8_t *row = array + (k * rows + j) * columns * width;
            int64_t *at = counts + of_slice[k] + of_row[j];
            for (int64_t i = 0; i < columns;) {
                if (i + 8 / width <= columns && !load64(row + i * width)) {
                    i += 8 / width;
                    continue;
                }
                uint16_t label = row[i];
                if (width == 2)
                    memcpy(&label, row + 2 * i, 2);
                if (label)
                    at[index_of[label] * pixels + of_column[i]]++;
                i++;
            }
        }
}
