/* The Python side of the core, by the limited API of Python 3.11: one binary for all later versions.
 *
 * Every size, offset and index is checked here, against the buffers that are there: whatever Python
 * hands over, the functions below stay inside of them. The GIL is released while they work.
 */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "core.h"

enum { INTERFACE = 2 }; /* segtools/native/__init__.py wants the same */

typedef struct {
    Py_buffer *views;
    Py_ssize_t count;
} Buffers;

static void buffers_release(Buffers *all)
{
    for (Py_ssize_t n = 0; n < all->count; n++)
        PyBuffer_Release(all->views + n);
    PyMem_Free(all->views);
    all->views = NULL;
    all->count = 0;
}

/* The buffers of a list. */
static int buffers_get(PyObject *list, int flags, Buffers *all)
{
    Py_ssize_t count = PyList_Size(list);
    all->count = 0;
    all->views = NULL;
    if (count < 0)
        return -1;
    all->views = PyMem_Calloc(count ? (size_t)count : 1, sizeof(Py_buffer));
    if (!all->views) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t n = 0; n < count; n++) {
        if (PyObject_GetBuffer(PyList_GetItem(list, n), all->views + n, flags)) {
            buffers_release(all);
            return -1;
        }
        all->count = n + 1;
    }
    return 0;
}

static int64_t items_of(const Py_buffer *view) { return (int64_t)(view->len / 8); }

/* a * b, or -1 where that is more than a buffer can have. */
static int64_t product(int64_t a, int64_t b) { return a < 0 || b < 0 || (b && a > PY_SSIZE_T_MAX / 4 / b) ? -1 : a * b; }

static const char *paint_problem(const Segment *s, int64_t bit_count, int64_t slice_count, const Buffers *layers)
{
    int64_t voxels = product(s->pixels, slice_count);
    if (s->pixels < 1 || voxels < 0)
        return "the label map's size is impossible";
    if (s->width != 1 && s->width != 2)
        return "a voxel has 1 or 2 bytes";
    if (s->room_bytes < 64)
        return "the room is too small";
    for (Py_ssize_t n = 0; n < layers->count; n++)
        if (layers->views[n].len / s->width < voxels + 8)
            return "a layer is smaller than the label map and eight voxels";
    for (int64_t n = 0; n < s->frame_count; n++) {
        if (s->starts[n] < 0 || s->starts[n] > bit_count || bit_count - s->starts[n] < s->pixels)
            return "a frame lies outside of the bits";
        if (s->slices[n] < 0 || s->slices[n] >= slice_count)
            return "a frame lies outside of the label map";
    }
    return NULL;
}

static PyObject *paint(PyObject *module, PyObject *args)
{
    PyObject *list, *result = NULL;
    Py_buffer bits, starts, slices, room;
    Buffers layers;
    Segment s = {0};
    long long file_offset, pixels, slice_count, first;
    unsigned int label;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!LiLy*y*y*LLIiw*:paint", &PyList_Type, &list, &first, &s.descriptor, &file_offset,
                          &bits, &starts, &slices, &pixels, &slice_count, &label, &s.width, &room))
        return NULL;
    if (buffers_get(list, PyBUF_WRITABLE, &layers))
        goto release;
    s.file_offset = file_offset;
    s.bits = bits.buf;
    s.starts = starts.buf;
    s.slices = slices.buf;
    s.frame_count = items_of(&starts);
    s.pixels = pixels;
    s.room = room.buf;
    s.room_bytes = room.len - 16;
    s.label = s.width == 1 ? (label & 0xFF) * UINT64_C(0x0101010101010101)
                           : (label & 0xFFFF) * UINT64_C(0x0001000100010001);
    const char *problem;
    if (first < 0)
        problem = "the first layer is less than 0";
    else if (items_of(&slices) != s.frame_count)
        problem = "starts and slices have different lengths";
    else
        problem = paint_problem(&s, product(bits.len, 8), slice_count, &layers);
    if (problem) {
        PyErr_SetString(PyExc_ValueError, problem);
        goto release_all;
    }
    uint8_t **maps = PyMem_Calloc(layers.count ? (size_t)layers.count : 1, sizeof(uint8_t *));
    if (!maps) {
        PyErr_NoMemory();
        goto release_all;
    }
    for (Py_ssize_t n = 0; n < layers.count; n++)
        maps[n] = layers.views[n].buf;
    int64_t layer;
    Py_BEGIN_ALLOW_THREADS
    layer = paint_segment(&s, maps, layers.count, first);
    Py_END_ALLOW_THREADS
    PyMem_Free(maps);
    result = PyLong_FromLongLong(layer);
release_all:
    buffers_release(&layers);
release:
    PyBuffer_Release(&bits);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&slices);
    PyBuffer_Release(&room);
    return result;
}

static const char *measure_problem(const Py_buffer *array, int width, int64_t rows, int64_t columns,
                                   const Py_buffer *slices, const Py_buffer *measures)
{
    if (width != 1 && width != 2)
        return "a voxel has 1 or 2 bytes";
    int64_t plane = product(rows, columns);
    if (rows < 1 || columns < 1 || plane < 0 || product(plane, width) < 0)
        return "the label map's size is impossible";
    if (measures->len / (Py_ssize_t)sizeof(Measure) < (width == 1 ? 256 : 65536))
        return "there are fewer measures than labels";
    const int64_t *k = slices->buf, count = array->len / (plane * width);
    for (int64_t n = 0; n < items_of(slices); n++)
        if (k[n] < 0 || k[n] >= count || (n && k[n] <= k[n - 1]))
            return "slices must ascend within the label map";
    return NULL;
}

static PyObject *measure(PyObject *module, PyObject *args)
{
    Py_buffer array, slices, measures;
    long long rows, columns;
    int width, status;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*iLLy*w*:measure", &array, &width, &rows, &columns, &slices, &measures))
        return NULL;
    const char *problem = measure_problem(&array, width, rows, columns, &slices, &measures);
    if (problem) {
        PyErr_SetString(PyExc_ValueError, problem);
    } else {
        Py_BEGIN_ALLOW_THREADS
        status = measure_map(array.buf, width, rows, columns, slices.buf, items_of(&slices), measures.buf);
        Py_END_ALLOW_THREADS
        if (status)
            PyErr_NoMemory();
        else
            result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&array);
    PyBuffer_Release(&slices);
    PyBuffer_Release(&measures);
    return result;
}

static PyObject *shared(PyObject *module, PyObject *args)
{
    PyObject *plane_list, *count_list, *result = NULL;
    Buffers planes, counts;
    long long voxels;
    uint8_t *widths = NULL;
    void **pointers = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!L:shared", &PyList_Type, &plane_list, &PyList_Type, &count_list, &voxels))
        return NULL;
    if (buffers_get(plane_list, PyBUF_SIMPLE, &planes))
        return NULL;
    if (buffers_get(count_list, PyBUF_WRITABLE, &counts))
        goto release_planes;
    if (planes.count != counts.count || voxels < 1) {
        PyErr_SetString(PyExc_ValueError, "planes and counts must be as many, of at least one voxel");
        goto release;
    }
    widths = PyMem_Calloc(planes.count ? (size_t)planes.count : 1, 1);
    pointers = PyMem_Calloc(planes.count ? (size_t)planes.count : 1, 2 * sizeof(void *));
    if (!widths || !pointers) {
        PyErr_NoMemory();
        goto release;
    }
    for (Py_ssize_t n = 0; n < planes.count; n++) {
        widths[n] = planes.views[n].len == voxels ? 1 : planes.views[n].len == product(voxels, 2) ? 2 : 0;
        if (!widths[n] || counts.views[n].len < (widths[n] == 1 ? 256 : 65536) * 8) {
            PyErr_SetString(PyExc_ValueError, "a plane has another number of voxels, or too few counts");
            goto release;
        }
        pointers[n] = planes.views[n].buf;
        pointers[planes.count + n] = counts.views[n].buf;
    }
    Py_BEGIN_ALLOW_THREADS
    count_shared((const uint8_t *const *)pointers, widths, (int64_t *const *)(pointers + planes.count), planes.count,
                 voxels);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
release:
    PyMem_Free(widths);
    PyMem_Free(pointers);
    buffers_release(&counts);
release_planes:
    buffers_release(&planes);
    return result;
}

/* The largest entry, or -1 where one is negative or not less than `limit`. */
static int64_t largest(const int64_t *values, int64_t count, int64_t limit)
{
    int64_t most = 0;
    for (int64_t n = 0; n < count; n++) {
        if (values[n] < 0 || values[n] >= limit)
            return -1;
        if (values[n] > most)
            most = values[n];
    }
    return most;
}

static const char *project_problem(const Py_buffer *array, int width, const Py_buffer *index_of, int64_t pixels,
                                   const Py_buffer *places, const Py_buffer *counts)
{
    if (width != 1 && width != 2)
        return "a voxel has 1 or 2 bytes";
    const int64_t slices = items_of(places), rows = items_of(places + 1), columns = items_of(places + 2);
    if (product(product(product(slices, rows), columns), width) != array->len)
        return "the array has another size";
    if (index_of->len != 65536 * 4)
        return "there must be an index for each of 65536 labels";
    const int64_t room = items_of(counts);
    int64_t most = 0;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t there = largest(places[axis].buf, items_of(places + axis), pixels);
        if (there < 0)
            return "a place lies outside of the picture";
        most += there;
    }
    if (pixels < 1 || pixels > room || most >= pixels)
        return "a place lies outside of the picture";
    const int32_t *index = index_of->buf;
    for (int n = 0; n < 65536; n++)
        if (index[n] < 0 || index[n] >= room / pixels)
            return "an index lies outside of the counts";
    return NULL;
}

static PyObject *project(PyObject *module, PyObject *args)
{
    Py_buffer array, index_of, places[3], counts;
    long long pixels;
    int width;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*iy*Ly*y*y*w*:project", &array, &width, &index_of, &pixels, places, places + 1,
                          places + 2, &counts))
        return NULL;
    const char *problem = project_problem(&array, width, &index_of, pixels, places, &counts);
    if (problem) {
        PyErr_SetString(PyExc_ValueError, problem);
    } else {
        Py_BEGIN_ALLOW_THREADS
        count_along(array.buf, width, items_of(places), items_of(places + 1), items_of(places + 2), index_of.buf, pixels,
                    places[0].buf, places[1].buf, places[2].buf, counts.buf);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&array);
    PyBuffer_Release(&index_of);
    for (int axis = 0; axis < 3; axis++)
        PyBuffer_Release(places + axis);
    PyBuffer_Release(&counts);
    return result;
}

static PyMethodDef methods[] = {
    {"paint", paint, METH_VARARGS, "Put a segment's frames into the first layer where they are free."},
    {"measure", measure, METH_VARARGS, "Measure every label of a label map."},
    {"project", project, METH_VARARGS, "Count the voxels of each label along a line of sight."},
    {"shared", shared, METH_VARARGS, "Count the voxels of each label that another plane has too."},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module)
{
    paint_init();
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "segtools.native._core", "The native core of segtools.decode.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
